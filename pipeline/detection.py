"""Has the champion degraded? A pure function from the history of its score to a verdict.

The rule is a day-level CUSUM (Page, Biometrika 1954): with m the mean loss over the reference, d the smallest
drop that matters and s_i the standard deviation of point i,

    S_i = max(0, S_(i-1) + (x_i - m - d/2) / s_i),     s_i^2 = v/rows_i + tau^2

An alarm is S > h. h is the quantile of the yearly maximum of S on simulated unchanged data that leaves the
configured false alarms a year; the simulation estimates m and tau from as many reference points as the
champion has, so that the error of those estimates is paid for. v is the variance of one row's loss, tau the
day-to-day spread of the true loss.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipeline.config import Degradation
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict

SIMULATIONS = 4000
WAITING = "waiting"
"""The number that a verdict has which keeps a degraded champion until the cooldown is over."""
_DAYS_A_YEAR = 365
_FEWEST_REFERENCE_POINTS = 3


@dataclass(frozen=True)
class Cusum:
    """The detector's state after the newest point. ``path``: S after each point since the reference."""

    reference: float
    spread: float
    threshold: float
    path: tuple[float, ...]

    @property
    def alarm(self) -> bool:
        """Whether the newest point stands above the threshold."""
        return bool(self.path) and self.path[-1] > self.threshold


def cusum(reference: Sequence[Point], points: Sequence[Point], rule: Degradation) -> Cusum:
    """Run the detector over ``points`` (oldest first) against at least three ``reference`` points."""
    losses, rows = _losses(reference), _rows(reference)
    row_variance = _row_variance([*reference, *points])
    spread = _spread(losses, rows, row_variance)
    mean = float(np.average(losses, weights=rows))
    deviations = np.sqrt(row_variance / _rows(points) + spread**2)
    path = _paths((_losses(points) - mean - rule.smallest_drop / 2) / deviations)
    a_year = max(round(_DAYS_A_YEAR * len(reference) / sum(point.days for point in reference)), 1)
    threshold = _threshold(
        len(reference), a_year, float(np.mean(rows)), row_variance, spread,
        rule.smallest_drop, rule.false_alarms_per_year,
    )  # fmt: skip
    return Cusum(mean, spread, threshold, tuple(float(s) for s in path))


def decide(
    reference: Sequence[Point],
    points: Sequence[Point],
    evaluation: Evaluation,
    rule: Degradation,
    minimum_rows: int,
) -> Verdict:
    """Judge the champion from its reference points, the points since, and this morning's evaluation."""
    if evaluation.faults:
        return Verdict(Decision.DATA_BAD, tuple(evaluation.faults))
    if missing := _missing(reference, points, evaluation, minimum_rows):
        return Verdict(Decision.INSUFFICIENT, (missing,))
    state = cusum(reference, points, rule)
    level = state.path[-1] if state.path else 0.0
    numbers = {
        "cusum": level, "threshold": state.threshold, "reference": state.reference, "spread": state.spread,
    }  # fmt: skip
    if state.alarm:
        recent = float(np.average(_losses(points[-5:]), weights=_rows(points[-5:])))
        reason = (
            f"degraded: the loss rose from {state.reference:.3f} to {recent:.3f} over the newest "
            f"{len(points[-5:])} points (evidence {level:.1f}, alarm above {state.threshold:.1f})"
        )
        return Verdict(Decision.RETRAIN, (reason,), numbers)
    reason = f"not degraded: evidence {level:.1f}, alarm above {state.threshold:.1f}"
    return Verdict(Decision.KEEP, (reason,), numbers)


def cool(verdict: Verdict, at: datetime, last: datetime | None, cooldown: timedelta) -> Verdict:
    """Put a retraining off while the one before it, at the logical time ``last``, is younger than the cooldown."""
    if verdict.outcome != Decision.RETRAIN or last is None or at - last >= cooldown:
        return verdict
    waits = f"retrained on {last.date()} already; not again before {(last + cooldown).date()} (training.cooldown)"
    return Verdict(Decision.KEEP, (*verdict.reasons, waits), verdict.numbers | {WAITING: 1.0})


def pause(verdict: Verdict, why: str | None) -> Verdict:
    """Put a retraining off as long as a person has paused the model; ``why`` is what they said."""
    if verdict.outcome != Decision.RETRAIN or why is None:
        return verdict
    return Verdict(Decision.KEEP, (*verdict.reasons, f"paused: {why}"), verdict.numbers | {WAITING: 1.0})


def _missing(
    reference: Sequence[Point], points: Sequence[Point], evaluation: Evaluation, minimum_rows: int
) -> str | None:
    if evaluation.rows < minimum_rows:
        return f"{evaluation.rows} matured rows in {evaluation.window}; at least {minimum_rows} are needed"
    if evaluation.score is None:
        return f"the score is not defined on the {evaluation.rows} rows in {evaluation.window}"
    if len(reference) < _FEWEST_REFERENCE_POINTS:
        return (
            f"the reference has {len(reference)} points of {minimum_rows} rows; {_FEWEST_REFERENCE_POINTS} are needed: "
            "lengthen gate.window"
        )
    if not all(math.isfinite(point.loss + point.variance) for point in [*reference, *points]):
        return "the history of the score holds a point that is no number; remove it from the monitor run"
    return None


def _losses(points: Sequence[Point]) -> np.ndarray:
    return np.array([point.loss for point in points])


def _rows(points: Sequence[Point]) -> np.ndarray:
    return np.array([point.rows for point in points], dtype=float)


def _row_variance(points: Sequence[Point]) -> float:
    """Pool the variance of one row's loss over all points: a single day's may be zero by luck; all may, so never 0."""
    return float(np.mean([point.variance * point.rows for point in points])) + np.finfo(float).tiny


def _spread(losses: np.ndarray, rows: np.ndarray, row_variance: float) -> float:
    """Estimate the day-to-day standard deviation beyond sampling noise by moments (DerSimonian & Laird 1986)."""
    return float(np.sqrt(max(np.var(losses, ddof=1) - row_variance * np.mean(1 / rows), 0)))


def _paths(steps: np.ndarray) -> np.ndarray:
    """Return S after each step, for (..., n) steps: S = walk - its running minimum (Page's identity)."""
    walk = np.cumsum(steps, axis=-1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=-1), 0)


@functools.cache
def _threshold(
    references: int,
    points: int,
    rows: float,
    row_variance: float,
    spread: float,
    drop: float,
    false_alarms: float,
) -> float:
    random = np.random.default_rng(0)
    noise, deviation = row_variance / rows, np.sqrt(row_variance / rows + spread**2)
    known = random.normal(0, deviation, (SIMULATIONS, references))
    estimated = np.maximum(known.var(axis=1, ddof=1, keepdims=True) - noise, 0)
    future = random.normal(0, deviation, (SIMULATIONS, points))
    steps = (future - known.mean(axis=1, keepdims=True) - drop / 2) / np.sqrt(noise + estimated)
    return float(np.quantile(_paths(steps).max(axis=1), np.exp(-false_alarms)))
