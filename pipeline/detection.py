"""Has the champion degraded? A pure function from the history of its score to a verdict."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from scipy.special import ndtri

from pipeline import cause
from pipeline.comparison import Difference
from pipeline.config import Degradation
from pipeline.detectors import ALONE, FEWEST_REFERENCE_POINTS, FROZEN, SLICES, STALE, Others, State, state
from pipeline.evaluation import Evaluation
from pipeline.history import losses
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict

WAITING = "waiting"
"""The number that a verdict has which keeps a degraded champion until the cooldown is over."""
_RECENT = 5


def decide(
    reference: Sequence[Point],
    points: Sequence[Point],
    evaluation: Evaluation,
    rule: Degradation,
    minimum_rows: int,
    others: Others = ALONE,
) -> Verdict:
    """Judge the champion from its reference points, the points since, and this morning's evaluation."""
    if evaluation.faults:
        return Verdict(Decision.DATA_BAD, tuple(evaluation.faults))
    if missing := _missing(reference, points, evaluation, minimum_rows):
        return Verdict(Decision.INSUFFICIENT, (missing,))
    found = state(reference, points, rule, others)
    numbers = {"evidence": found.evidence, "reference": found.reference, "spread": found.spread}
    numbers |= {f"{name}_level": level for name, level in found.levels.items()}
    numbers |= {name: float(path[-1]) for name, path in found.paths.items() if len(path)}
    numbers |= {} if found.e_value is None else {"e_value": found.e_value}
    numbers |= {} if others.first is None else {"first_reference": others.first}
    if found.evidence <= 1:
        return Verdict(Decision.KEEP, (f"not degraded: {_told(found)}",), numbers)
    return Verdict(Decision.RETRAIN, tuple(_reasons(reference, points, rule, others, found)), numbers)


def _reasons(
    reference: Sequence[Point], points: Sequence[Point], rule: Degradation, others: Others, found: State
) -> Iterator[str]:
    yield f"degraded: the loss {_went(reference, points)} ({_told(found)})"
    if found.ratios.get(FROZEN, 0) > 1:
        yield f"it was {others.first:.3f} at the first deployment: champion by champion, a little was lost"
    if found.worst and found.ratios[SLICES] > 1:
        yield f"slice {found.worst}: its loss {_went(*others.slices[found.worst])}"
    if others.gaps is not None and STALE in found.paths:
        gained = _gained(others.gaps[: len(reference)], others.gaps[len(reference) :])
        yield cause.told(_mean(points[-_RECENT:]) - _mean(reference), gained, rule.smallest_drop)


def _told(found: State) -> str:
    return f"evidence {found.evidence:.2f}, alarm above 1"


def _went(reference: Sequence[Point], points: Sequence[Point]) -> str:
    newest = points[-_RECENT:]
    return f"went from {_mean(reference):.3f} to {_mean(newest):.3f} over the newest {len(newest)} points"


def _gained(reference: Sequence[Point], points: Sequence[Point]) -> Difference:
    """Return how much farther the control is ahead than at first, over the newest points, with 95 % bounds."""
    newest = points[-_RECENT:]
    gained = _mean(newest) - _mean(reference)
    spread = float(np.std(losses(reference), ddof=1))
    half = float(ndtri(0.95)) * spread * math.sqrt(1 / len(newest) + 1 / len(reference))
    return Difference(gained, gained - half, gained + half, len(newest), sum(point.rows for point in newest))


def _mean(points: Sequence[Point]) -> float:
    return float(np.average(losses(points), weights=[point.rows for point in points]))


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
    if len(reference) < FEWEST_REFERENCE_POINTS:
        return (
            f"the reference has {len(reference)} points of {minimum_rows} rows; {FEWEST_REFERENCE_POINTS} are needed: "
            "lengthen gate.window"
        )
    if not all(math.isfinite(point.loss + point.variance) for point in [*reference, *points]):
        return "the history of the score holds a point that is no number; remove it from the monitor run"
    return None
