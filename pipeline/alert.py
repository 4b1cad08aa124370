"""The text that a person reads when Zeta has something to say. Sending it is the notifier's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Formatter

from pipeline.figures import figure, lasted, moment
from pipeline.slices import Better, Slice, worst_first
from pipeline.trouble import Kind, Trouble


@dataclass(frozen=True)
class Outcome:
    """All that a text may say of one run. What is None or empty is not known and is left out."""

    model: str
    at: datetime
    """The logical time of the run, with its zone."""
    owner: str | None = None
    version: str | None = None
    """The version that serves now that the run has ended."""
    challenger: str | None = None
    """The challenger's version."""
    reasons: tuple[str, ...] = ()
    score_name: str = "score"
    better: Better = "higher"
    score: float | None = None
    """The champion's on the evaluation window; ``interval`` is its 95 % interval."""
    interval: tuple[float, float] | None = None
    reference: float | None = None
    """The champion's at deployment."""
    challenger_score: float | None = None
    difference: float | None = None
    """The challenger's gain on the same rows, in units of the score: above 0 the challenger is better."""
    lower_bound: float | None = None
    """The one-sided bound of that gain."""
    slices: tuple[Slice, ...] = ()
    step: str | None = None
    """The step that failed; ``error`` is what it said."""
    error: str | None = None
    labels_in: timedelta | None = None
    """How long the labels of the newest rows are still to come."""
    links: tuple[tuple[str, str], ...] = ()
    """(label, URL), such as ("Airflow run", "http://...")."""


@dataclass(frozen=True)
class Alert:
    """One message. The title alone must do on a locked phone."""

    kind: Kind
    title: str
    body: str
    links: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The body and below it the links."""
        return "\n".join([self.body, *(f"{label}: {url}" for label, url in self.links)])


@dataclass(frozen=True)
class _Words:
    title: str
    happened: str
    did: tuple[str, ...]
    next: str


_UNTOUCHED = ("Production was not touched.", "Version {version} goes on serving.")
_PROMOTED = ("It was promoted.", "Version {version} serves now.")
_WORDS = {
    Kind.GATE_REJECTED: _Words(
        "the challenger did not pass the gate",
        "The gate did not pass {challenger}.",
        _UNTOUCHED,
        "open the report to see where the challenger loses, change models/{model} and try it with "
        "`zeta check {model}`; the next run trains again.",
    ),
    Kind.DATA_BAD: _Words(
        "the data is bad",
        "Fresh rows did not pass the data checks, so nothing was scored and nothing was retrained.",
        _UNTOUCHED,
        "tell whoever loads the data what is named below; once it is mended, run `{run}`.",
    ),
    Kind.INSUFFICIENT: _Words(
        "too few labelled rows",
        "There are too few labelled rows to say how good the model is.",
        _UNTOUCHED,
        "find out why labels are late or missing; `zeta status {model}` shows the last score there is.",
    ),
    Kind.WARNING: _Words(
        "early warning: the newest rows are unlike those at the gate",
        "The newest rows, whose labels are still to come, are unlike those on which the champion passed the gate.",
        ("Labels come in {labels_in}.", "Nothing was done.", "Version {version} goes on serving."),
        "see below what has changed, and whether it was meant to; when the labels are there the score decides, and "
        "`zeta status {model}` shows it.",
    ),
    Kind.ROLLED_BACK: _Words(
        "the new version was rolled back",
        "The canary of {challenger} failed.",
        ("The canary was removed.", "Version {version} goes on serving."),
        "find out why it failed before it is tried again; `zeta status {model}` shows what is served.",
    ),
    Kind.HELD: _Words(
        "the roll-out is on hold",
        "The roll-out of {challenger} stopped half-way: it was neither promoted nor rolled back.",
        ("The champion was left in place.", "Version {version} goes on serving."),
        "clear up what is named below, then finish the roll-out with `{run}`.",
    ),
    Kind.FAILED: _Words(
        "{failure}",
        "The run stopped because {failure}.",
        ("Steps after it were not done.", "Version {version} serves."),
        "mend what the error names, then run `{run}`; what is done already is not done twice.",
    ),
    Kind.CONFIG_BROKEN: _Words(
        "model.yaml is broken, the model is not watched",
        "models/{model}/model.yaml cannot be used, so there was no run.",
        _UNTOUCHED,
        "mend the lines named below and try them with `zeta check {model}`.",
    ),
    Kind.PROMOTED_NOT_RECOVERED: _Words(
        "promoted, but not recovered",
        "The gate found {challenger} better than the old champion, but still below the score at deployment.",
        _PROMOTED,
        "see in the report which slices stay low; `zeta rollback {model}` brings back the old version.",
    ),
    Kind.PROMOTED: _Words(
        "a new version was promoted",
        "The gate passed {challenger}.",
        _PROMOTED,
        "nothing; `zeta rollback {model}` brings back the old version.",
    ),
    Kind.PROMOTED_BY_HAND: _Words(
        "a version was promoted by hand",
        "Somebody promoted {challenger}, whatever the gate had said.",
        ("Version {version} serves now.",),
        "nothing; `zeta rollback {model}` brings back the old version.",
    ),
    Kind.OVER: _Words(
        "over after {lasted}: {trouble}",
        "This was the trouble since {since}: {trouble}. It is over.",
        ("Version {version} serves.",),
        "nothing; `zeta status {model}` shows the score now.",
    ),
}
TITLES = {kind: words.title for kind, words in _WORDS.items()}
"""How a title ends, before its facts are filled in."""
_NUMBERS = (
    "Champion now: {score_name} {score}.",
    "At deployment: {reference}.",
    "Challenger: {challenger_score}.",
    "Gain on the same rows: {difference}.",
)
_MOST_REASONS, _MOST_SLICES = 6, 3


def build(kind: Kind, outcome: Outcome) -> Alert:
    """Return the alert of a run that ended as ``kind``; of a trouble's end: over()."""
    return _build(kind, outcome, _facts(outcome))


def over(trouble: Trouble, outcome: Outcome) -> Alert:
    """Return the alert that ``trouble`` is over: what it was and how long it lasted."""
    facts = _facts(outcome)
    facts |= {
        "trouble": _WORDS[trouble.kind].title.format(**facts),
        "lasted": lasted(outcome.at - trouble.since),
        "since": moment(trouble.since),
    }
    return _build(Kind.OVER, outcome, facts)


def _build(kind: Kind, outcome: Outcome, facts: dict[str, str | None]) -> Alert:
    words = _WORDS[kind]
    parts = [
        _say((words.happened, *words.did), facts),
        "Next: " + _say((words.next,), facts),
        _list("Why:", [line(reason, 300) for reason in outcome.reasons], _MOST_REASONS),
        _ends(outcome.error or ""),
        "\n".join(said for sentence in _NUMBERS if (said := _say((sentence,), facts))),
        _list("Worst slices:", _slices(outcome), _MOST_SLICES),
        _say(("Model: {model}.", "Owner: {owner}.", "Run of {at}."), facts),
    ]
    title = f"{outcome.model}: " + _say((words.title,), facts)
    body = "\n\n".join(part for part in parts if part)
    return Alert(kind, title, body, outcome.links)


def _facts(outcome: Outcome) -> dict[str, str | None]:
    version = outcome.challenger
    score = figure(outcome.score)
    gain, bound = figure(outcome.difference, "+"), figure(outcome.lower_bound, "+")
    if score and outcome.interval:
        score += " (95 % interval {} to {})".format(*map(figure, outcome.interval))
    if gain and bound:
        gain += f" (lower bound {bound}; it must be above 0)"
    return {
        "model": outcome.model,
        "owner": outcome.owner,
        "version": outcome.version,
        "at": moment(outcome.at),
        "run": f"zeta run {outcome.model} --at {outcome.at.isoformat()}",
        "challenger": f"the challenger (version {version})" if version else "the challenger",
        "failure": f"step {outcome.step} failed" if outcome.step else "a step failed",
        "labels_in": lasted(outcome.labels_in) if outcome.labels_in else None,
        "score_name": outcome.score_name,
        "score": score,
        "reference": figure(outcome.reference),
        "challenger_score": figure(outcome.challenger_score),
        "difference": gain,
    }


def _say(sentences: Iterable[str], facts: dict[str, str | None]) -> str:
    """Fill in the sentences; one that names a fact which is not known is not said."""
    known = {key: value for key, value in facts.items() if value is not None}
    needs = {text: {key for _, key, _, _ in Formatter().parse(text) if key} for text in sentences}
    return " ".join(text.format(**known) for text, keys in needs.items() if keys <= known.keys())


def _slices(outcome: Outcome) -> list[str]:
    return [
        f"{line(one.column, 40)} = {line(one.value, 40)}: champion {figure(one.champion) or 'no score'}"
        + (f", challenger {figure(one.challenger) or 'no score'}" if one.challenger is not None else "")
        + f", {one.rows:,} rows"
        + (", outside the margin" if one.outside else "")
        for one in worst_first(outcome.slices, outcome.better)
    ]


def _list(heading: str, items: list[str], most: int) -> str:
    more = [f"... and {len(items) - most} more"] if len(items) > most else []
    return "\n".join([heading, *(f"- {item}" for item in items[:most] + more)]) if items else ""


def line(text: str, most: int) -> str:
    """Return a text on one line, cut when it is longer than ``most``."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _ends(text: str, most: int = 800) -> str:
    """Cut the middle out: an error's first line names the thing, its last lines say what went wrong."""
    text = text.strip()
    return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"
