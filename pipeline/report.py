"""The page that a run leaves behind when its challenger has been at the gate: what was decided, and why."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import charts
from pipeline.charts import ScoredDay
from pipeline.figures import figure
from pipeline.slices import Better, Slice, worst_first
from pipeline.verdict import Gate

if TYPE_CHECKING:
    from pipeline.comparison import Difference, Pairs
    from pipeline.data import Window
    from pipeline.ledger import Look

_WIDTHS = {"wide": 720, "narrow": 360}
_MOST_DOTS = 12
_HEADLINES = {
    Gate.PROMOTE: "Version {challenger} beats version {champion}",
    Gate.PROMOTE_NOT_RECOVERED: "Version {challenger} beats version {champion}, but has not recovered",
    Gate.REJECT: "Version {challenger} does not replace version {champion}",
    Gate.INSUFFICIENT: "Too little evidence for version {challenger} against version {champion}",
}
_FIRST_HEADLINES = {
    Gate.PROMOTE: "Version {challenger} is fit to be the first champion",
    Gate.PROMOTE_NOT_RECOVERED: "Version {challenger} is fit to be the first champion",
    Gate.REJECT: "Version {challenger} is not fit to be the first champion",
    Gate.INSUFFICIENT: "Too little evidence for version {challenger}",
}


@dataclass(frozen=True)
class Alarm:
    """The day of the newest point, and how far its ``evidence`` is above 1, at which it is an alarm."""

    day: date
    evidence: float


@dataclass(frozen=True)
class Report:
    """What the page says. Scores and gains are those on the gate's rows, gains in units of the score."""

    model: str
    owner: str
    at: datetime
    run: str
    """The MLflow run."""
    outcome: Gate
    reasons: tuple[str, ...]
    score_name: str
    better: Better
    challenger: str
    """The challenger's version."""
    challenger_score: float | None
    training: "Window"
    training_rows: int
    gate: "Window"
    gate_rows: int
    fingerprint: str
    """The digest of the challenger's fingerprint."""
    data_hash: str
    look: "Look"
    """Which look at rows of this window it was."""
    alpha: float
    """What all looks at the same rows may spend together, such as 0.05."""
    baseline: str
    baseline_score: float | None
    baseline_gain: "Difference | None"
    baseline_margin: float
    slice_margin: float
    champion: str | None = None
    """The champion's version; None when the challenger would be the first."""
    champion_score: float | None = None
    gain: "Difference | None" = None
    """On the champion."""
    pairs: "Pairs | None" = None
    """The rows on which one of the two is right, of a score whose rows are right or wrong."""
    history: tuple[ScoredDay, ...] = ()
    """The champions' evaluations, by day."""
    alarm: Alarm | None = None
    slices: tuple[Slice, ...] = ()
    seeds: Mapping[int, float] = field(default_factory=dict)
    """The score of the fit with each seed."""
    kept_seed: int | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds a step."""
    commit: str | None = None
    links: tuple[tuple[str, str], ...] = ()
    """(label, URL)."""


def render(report: Report) -> str:
    """Return the page: HTML that needs no other file. Like reports, like pages."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "moment": _moment}
    headlines = _HEADLINES if report.champion else _FIRST_HEADLINES
    return environment.get_template("report.html.j2").render(
        report=report,
        headline=headlines[report.outcome].format(challenger=report.challenger, champion=report.champion),
        slices=worst_first(report.slices, report.better),
        drawn=min(len(report.slices), _MOST_DOTS),
        score_chart=_score_chart(report),
        gain_chart=_gain_chart(report),
        slices_chart=_slices_chart(report),
    )


def _score_chart(report: Report) -> dict[str, str]:
    if not report.history:
        return {}
    first, last = report.history[0], report.history[-1]
    summary = (
        f"{report.score_name} of the champion from {first.day} ({_figure(first.score)}) to {last.day} "
        f"({_figure(last.score)}); at deployment {_figure(last.reference)}"
    )
    day = report.alarm.day if report.alarm else None
    return _both(lambda width: charts.score_over_time(report.history, day, summary, width))


def _gain_chart(report: Report) -> dict[str, str]:
    """Draw the gain on the champion or, before there is one, on the baseline."""
    gain, needed = (report.gain, 0.0) if report.champion else (report.baseline_gain, report.baseline_margin)
    if gain is None or not math.isfinite(gain.low):
        return {}
    summary = f"Gain of the challenger {_figure(gain.estimate, '+')}, lower bound {_figure(gain.low, '+')}"
    return _both(lambda width: charts.gain(gain, needed, summary, width))


def _slices_chart(report: Report) -> dict[str, str]:
    slices = worst_first(report.slices, report.better)[:_MOST_DOTS]
    outside = sum(one.outside for one in report.slices)
    summary = f"Champion and challenger on {len(slices)} slices; {outside} outside the margin"
    if not slices:
        return {}
    return _both(lambda width: charts.dots(slices, report.better, report.slice_margin, summary, width))


def _both(draw: Callable[[int], str]) -> dict[str, str]:
    """Draw for a desk and for a phone, where a wide drawing would shrink until nobody can read it."""
    return {name: draw(width) for name, width in _WIDTHS.items()}


def _figure(value: float | None, sign: str = "") -> str:
    return (figure(value, sign) or "no score").replace("-", "−")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M %Z").strip()
