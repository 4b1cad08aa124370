"""`zeta check`: all that a first run would use of a model, tried on a few rows, without a trace left anywhere."""

import functools
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import httpx
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline import config, data, fingerprint, power, sample, settings, training, trial, workspace
from pipeline.adapters.registry import CHAMPION
from pipeline.config import ModelConfig
from pipeline.data import Window, as_date
from pipeline.errors import ConfigError, DataError, ZetaError
from pipeline.figures import figure
from pipeline.findings import Findings
from pipeline.sample import Sample
from pipeline.trial import Trial
from pipeline.workspace import Workspace

Read = Callable[[Window], Sample]
_REGISTRY_SECONDS = 2.0
_SHOWN_LABELS = 4
_SMALLEST_SHARE = 0.001


def check(names: list[str], at: datetime) -> bool:
    """Inspect the named models, or all, as of the time ``at``; print a report; return whether none has a fault.

    ConfigError when there is no model at all.
    """
    found = settings.load()
    names = names or [path.parent.name for path in config.paths(found.models)]
    if not names:
        raise ConfigError(f"no model in {found.models}; make one with `zeta new NAME --task TASK`")
    findings, registry = Findings(), _answers(found.tracking_uri)
    for name in dict.fromkeys(names):
        findings.section(name)
        if loaded := findings.attempt("config", partial(workspace.load, name)):
            _inspect(loaded[0], at, findings, registry)
    findings.end()
    return not any(findings.faults.values())


def _answers(tracking_uri: str) -> bool:
    """Tell whether a registry is up, sooner than MLflow's client gives up on it."""
    try:
        return httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=_REGISTRY_SECONDS).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _inspect(work: Workspace, at: datetime, findings: Findings, registry: bool) -> None:
    """Try one part after the other; what needs a part that failed is left out."""
    rules = work.config
    findings.good("config", f'{rules.task}, at "{rules.schedule}" {rules.timezone}, owner {rules.owner}')
    sound = _code(work, findings)
    _alerts(rules, findings)
    findings.doing("reading its rows")
    if not findings.attempt("source", lambda: work.source):
        return
    read = functools.cache(partial(sample.read, work.source, rules, findings.doing))
    end = data.matured_end(at, rules)
    if shown := findings.attempt("data", lambda: _newest(work, read, end)):
        _rows(rules, shown[0], end, findings)
        if sound:
            _model(work, read, shown[0], findings)
        _first_run(work, read, end, findings, registry)


def _code(work: Workspace, findings: Findings) -> bool:
    rules = work.config

    def build() -> None:
        if not callable(getattr(work.own, "build", None)):
            file = rules.folder / rules.code
            raise ConfigError(f"{file}: no build(); expected build(params) that returns an unfitted estimator")

    findings.doing("importing its code")
    found = findings.attempt(
        "code",
        build,
        lambda: work.score,
        lambda: trial.own_baseline(work),
        lambda: fingerprint.current(rules.components),
    )
    if found:
        shared = f", components {', '.join(rules.components)}" if rules.components else ""
        findings.good("code", f"build(), score {rules.evaluation.score}, baseline {rules.gate.baseline}{shared}")
    return found is not None


def _alerts(rules: ModelConfig, findings: Findings) -> None:
    if not rules.alerts:
        findings.note("alerts", "none: nobody is paged when the model degrades; name a destination in 'alerts'")
    elif findings.attempt("alerts", *(partial(_destination, name) for name in rules.alerts)) is not None:
        findings.good("alerts", f"{', '.join(rules.alerts)} (nothing was sent)")


def _destination(name: str) -> None:
    from apprise import Apprise

    if not Apprise().add(settings.alert_url(name)):
        raise ConfigError(f"alerts: the address of {name!r} is none that Apprise knows; expected such as slack://...")


def _newest(work: Workspace, read: Read, end: int) -> Sample:
    """Return the newest evaluation window that holds rows."""
    days = data.whole_days(work.config.evaluation.window)
    found = read(Window(end - days, end))
    return found if found.profile.rows else read(sample.newest_window(work.source, work.config, days, end))


def _rows(rules: ModelConfig, shown: Sample, end: int, findings: Findings) -> None:
    window, count, least = shown.window, shown.profile.rows, rules.evaluation.minimum_rows
    if window.end < end:
        asked, last = Window(end - window.days, end), as_date(window.end - 1)
        findings.note("data", f"no row in the evaluation window {asked}; the newest is of {last}: tried up to there")
    findings.good("data", f"{count:,} rows in {window}, {shown.labelled:,} labelled: {_labels(rules, shown)}")
    if shown.labelled < least:
        findings.note(
            "data",
            f"{shown.labelled:,} labelled rows a window, where evaluation.minimum_rows is {least:,}: no morning would "
            "decide anything; lengthen evaluation.window or lower minimum_rows",
        )
    table = Table("column", "role", "null", "newest", box=SIMPLE_HEAD, pad_edge=False)
    newest = shown.frame.iloc[-1].to_dict() if shown.labelled else {}
    for column, role in _roles(rules):
        nulls = shown.profile.nulls.get(column, 0) / count
        checked = column in [*rules.data.features, rules.data.label]
        table.add_row(column, role, f"{nulls:.1%}" if checked else "", Text(str(newest.get(column, ""))[:60]))
    findings.show(table)


def _roles(rules: ModelConfig) -> Iterable[tuple[str, str]]:
    yield rules.data.key, "key"
    yield rules.data.time, "time"
    yield from ((column, "feature") for column in rules.data.features)
    yield rules.data.label, "label"
    yield from ((column, "slice") for column in rules.evaluation.slices)


def _labels(rules: ModelConfig, shown: Sample) -> str:
    """Return the commonest labels and their shares, or how a number is spread."""
    if not shown.labelled:
        return "nothing to learn from"
    if rules.task == "regression":
        low, middle, high = np.quantile(shown.frame[rules.data.label].to_numpy(float), [0.05, 0.5, 0.95])
        return f"median {figure(middle)}, nine in ten from {figure(low)} to {figure(high)}"
    commonest = sorted(shown.profile.labels.items(), key=lambda item: (-item[1], item[0]))
    shares = ", ".join(f"{label} {count / shown.labelled:.0%}" for label, count in commonest[:_SHOWN_LABELS])
    more = len(commonest) - _SHOWN_LABELS
    return f"{shares} and {more:,} labels more" if more > 0 else shares


def _model(work: Workspace, read: Read, shown: Sample, findings: Findings) -> None:
    def attempt() -> Trial:
        rows = read(training.split(work.config, shown.window.end).training)
        rows = rows if rows.labelled else shown
        if not rows.labelled:
            raise DataError(f"no row of {rows.window} has a label; expected some in {work.config.data.label!r}")
        findings.doing(f"fitting {len(rows.frame):,} rows")
        return trial.run(work, rows, shown)

    if tried := findings.attempt("model", attempt):
        found: Trial = tried[0]
        seconds, digest = sum(found.record.seconds.values()), fingerprint.digest(found.manifest.fingerprint)
        text = f"fitted on {found.record.rows:,} rows in {seconds:.1f} s; stored and loaded again, it answers alike"
        findings.good("model", f"{text}; fingerprint {digest[:12]}")
        _scores(work.config, found, findings)
        if found.row_variance:
            for kept, text in power.told(found.row_variance, shown.labelled / shown.window.days, work.config):
                (findings.good if kept else findings.note)("power", text)


def _scores(rules: ModelConfig, found: Trial, findings: Findings) -> None:
    name, drop = rules.evaluation.score, rules.degradation.smallest_drop
    if found.score is None or found.baseline is None:
        findings.note("model", f"{name} cannot be told from {found.unseen:,} unseen rows of the evaluation window")
        return
    against = f"the baseline {rules.gate.baseline} has {figure(found.baseline)}"
    findings.good("model", f"{name} {figure(found.score)} on {found.unseen:,} unseen rows, a first taste; {against}")
    if found.better == "lower" and not found.score * _SMALLEST_SHARE < drop < found.score:
        findings.note("model", f"degradation.smallest_drop {drop:g} is in units of {name}: is that what is meant?")


def _first_run(work: Workspace, read: Read, end: int, findings: Findings, registry: bool) -> None:
    """Tell what a run at the asked time would do."""
    windows, least = training.split(work.config, end), work.config.evaluation.minimum_rows
    counted = findings.attempt("run", lambda: read(windows.training), lambda: read(windows.gate))
    if counted is None:
        return
    findings.good("run", _champion(work, registry))
    learnt, judged = (one.labelled for one in counted)
    held = f"{learnt:,} labelled rows in {windows.training} to train on, {judged:,} in {windows.gate} for the gate"
    if learnt < least or judged < least:
        outcome = "training would fail" if learnt < least else "the gate would find too little evidence"
        findings.note("run", f"{held}: with fewer than {least:,} (evaluation.minimum_rows) {outcome}")
        return
    findings.good("run", held)


def _champion(work: Workspace, registry: bool) -> str:
    first = "it would train a first version, gate it against the baseline, build its image and roll it out"
    if not registry:
        return f"no registry answers at {work.settings.tracking_uri}; without a champion {first}"
    try:
        version = work.registry.aliased(work.config.name, CHAMPION)
    except ZetaError as error:
        return f"the champion is not known: {error}"
    if version is None:
        return f"no champion yet: {first}"
    return f"version {version.number} is champion: it would be scored, and retrained only if it has degraded"
