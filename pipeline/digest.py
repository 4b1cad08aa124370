"""The morning digest: the whole fleet in one message, first what is not known, then the models by evidence. Pure."""

from collections.abc import Sequence
from datetime import datetime

from pipeline.alert import Alert, line
from pipeline.discovery import discoveries
from pipeline.figures import figure
from pipeline.standing import Standing
from pipeline.trouble import Kind
from pipeline.verdict import Decision

RATE = 0.05
"""How many of the models that are called degraded for sure may be expected not to be."""
_RANKED, _LONGEST = 5, 200


def of(standings: Sequence[Standing]) -> Alert:
    """Return the digest. Healthy models are one line, but for those with the most evidence."""
    unknown = {one.model: why for one in standings if (why := _unknown(one))}
    known = sorted(
        (one for one in standings if one.model not in unknown), key=lambda one: (-(one.evidence or 0), one.model)
    )
    e_values = dict.fromkeys(unknown, 0.0) | {one.model: one.e_value or 0.0 for one in known}
    sure = discoveries(e_values, RATE)
    words = {one.model: "degraded" for one in known if (one.evidence or 0) > 1}
    words |= dict.fromkeys(sure, "degraded for sure")
    shown = [
        one
        for rank, one in enumerate(known)
        if rank < _RANKED or one.model in words or one.trouble or one.evidence is None
    ]
    lines = [_line(one, words.get(one.model)) for one in shown]
    if rest := [one.evidence or 0 for one in known if one not in shown]:
        lines.append(f"{len(rest)} more: healthy, evidence {max(rest):.2f} at most")
    parts = [
        _section("Without a verdict:", [_told(one, unknown[one.model]) for one in standings if one.model in unknown]),
        _section("By evidence, above 1 is an alarm:", lines),
        f"Of those degraded for sure, at most {RATE:.0%} are expected not to be." if sure else "",
    ]
    title = f"Zeta: {len(words)} of {len(standings)} models degraded"
    title += f", {len(unknown)} without a verdict" if unknown else ""
    return Alert(Kind.DIGEST, title, "\n\n".join(part for part in parts if part))


def _unknown(one: Standing) -> str | None:
    """Return why it is not known whether a model has degraded; None when it is, or the verdict is another version's."""
    if one.fault:
        return one.fault
    if one.missed:
        due = datetime.fromisoformat(one.missed)
        newest = datetime.fromisoformat(one.judged_at).astimezone(due.tzinfo) if one.judged_at else None
        last = f"the newest verdict is of {newest:%Y-%m-%d %H:%M}" if newest else "there is no verdict yet"
        return f"missed its run of {due:%Y-%m-%d %H:%M}; {last}"
    is_new = one.champion is not None and one.judged != one.champion
    if one.verdict in (Decision.DATA_BAD, Decision.INSUFFICIENT) or (one.evidence is None and not is_new):
        return f"{one.verdict}: {one.reasons}"
    return None


def _line(one: Standing, word: str | None) -> str:
    if one.evidence is None:
        return _told(one, f"version {one.champion} is not judged yet")
    score = f"{one.score} {figure(one.now) or 'unknown'} ({figure(one.deployed) or 'unknown'} at deployment)"
    e_value = None if one.e_value is None else f"e-value {one.e_value:.3g}"
    return _told(one, f"evidence {one.evidence:.2f}", word, one.verdict, score, e_value)


def _told(one: Standing, *what: str | None) -> str:
    paused = one.paused and f"paused: {one.paused}"
    trouble = one.trouble and f"trouble: {one.trouble.kind} since {one.trouble.since.date()}"
    return f"{one.model}: " + "; ".join(line(part, _LONGEST) for part in (*what, paused, trouble) if part)


def _section(heading: str, lines: list[str]) -> str:
    return "\n".join([heading, *(f"- {one}" for one in lines)]) if lines else ""
