"""Has the champion degraded? A pure function from the history of its score to a verdict.

Three detectors (``calibration``) look at the loss after every point, and any is enough: a fast one for the smallest
drop that matters, one for a collapse, both calibrated by simulation, and one that guarantees its share of the false
alarms without. All compare with the mean over the champion's reference, frozen at its deployment. How much the loss
varies by itself (``noise``) and what is usual on a day of the week is learnt from the reference, from the points since,
and from those of earlier champions, in blocks as long as the reference. The newest points do not count: a drop must not
pass for noise while it is new.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipeline import calibration, noise
from pipeline.config import Degradation
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict

FAST, COLLAPSE, GUARANTEE = "fast", "collapse", "guarantee"
SHARES = {FAST: 0.75, COLLAPSE: 0.1, GUARANTEE: 0.15}
"""What each detector has of the false alarms."""
CERTAINTY = 0.95
"""How probably the noise is no more than the guaranteeing detector believes."""
DAYS_A_YEAR = 365
FEWEST_REFERENCE_POINTS = 3
WAITING = "waiting"
"""The number that a verdict has which keeps a degraded champion until the cooldown is over."""
_NEW_POINTS = 28
# Of less noise no more is known than that it is little beside the drop.
_LEAST_NOISE = 1 / 30
# An e-value's logarithm, so that it stays a finite number.
_MOST = 700.0


@dataclass(frozen=True)
class State:
    """The detectors after each point since the reference.

    ``reference``: its mean loss; ``spread``: the standard deviation of the true loss from day to day; ``paths``: by
    detector, in smallest drops, or the guarantee's logarithm; ``levels``: above which each alarms.
    """

    reference: float
    spread: float
    paths: dict[str, np.ndarray]
    levels: dict[str, float]

    @property
    def evidence(self) -> float:
        """How far it is to the alarm after the newest point, by the detector that is nearest: above 1 is one."""
        return max((float(path[-1]) / self.levels[name] for name, path in self.paths.items() if len(path)), default=0.0)

    @property
    def e_value(self) -> float | None:
        """The guaranteeing detector as an e-value: M/t after t points, None before any.

        As long as the loss has not risen by more than half of the drop, each point adds at most 1 to what M is expected
        to be (``calibration``), so M/t is expected to be 1 at most, as far as CERTAINTY goes. That holds at one fixed
        time, not for the largest of several mornings.
        """
        path = self.paths[GUARANTEE]
        return math.exp(min(float(path[-1]) - math.log(len(path)), _MOST)) if len(path) else None


def state(
    reference: Sequence[Point], points: Sequence[Point], rule: Degradation, earlier: Iterable[Sequence[Point]] = ()
) -> State:
    """Run the detectors over ``points`` (oldest first) against at least three ``reference`` points.

    ``earlier`` holds the histories of earlier champions: what was noise to them is noise to this one.
    """
    history, drop = [*reference, *points], rule.smallest_drop
    row_variance = float(np.mean([point.variance * point.rows for point in history]))
    sampling = math.sqrt(row_variance * float(np.mean([1 / point.rows for point in history])))
    unit = max(sampling, drop * _LEAST_NOISE)
    old = history[: max(len(reference), len(history) - max(len(reference), _NEW_POINTS))]
    week, known = _learn([old, *earlier], len(reference), unit, drop)
    losses = _losses(history) - unit * week[_weekdays(history)]
    mean = float(np.average(losses[: len(reference)], weights=[point.rows for point in reference]))
    a_year = max(round(DAYS_A_YEAR * len(reference) / sum(point.days for point in reference)), 1)
    alpha, since = chance(rule), losses[len(reference) :]
    variance = noise.long_run_variance(known, CERTAINTY) * unit**2
    sought = sizes(drop / unit)
    paths = {name: calibration.cusum(since, mean, size * unit) / drop for name, size in sought.items()}
    levels = {
        name: unit / drop
        * float(calibration.threshold(known, size, len(reference), a_year, SHARES[name] * alpha))
        for name, size in sought.items()
    }  # fmt: skip
    paths[GUARANTEE] = calibration.detector(since, mean, drop, variance)
    levels[GUARANTEE] = math.log(a_year / (SHARES[GUARANTEE] * alpha))
    return State(mean, float(noise.spread(known)) * unit, paths, levels)


def sizes(drop: float) -> dict[str, float]:
    """Return what each calibrated detector looks for; both in units of the sampling noise."""
    return {FAST: drop, COLLAPSE: 4 * max(drop, 1)}


def chance(rule: Degradation) -> float:
    """Return the probability that an unchanged year may have a false alarm."""
    return 1 - math.exp(-rule.false_alarms_per_year)


def decide(
    reference: Sequence[Point],
    points: Sequence[Point],
    evaluation: Evaluation,
    rule: Degradation,
    minimum_rows: int,
    earlier: Iterable[Sequence[Point]] = (),
) -> Verdict:
    """Judge the champion from its reference points, the points since, and this morning's evaluation.

    ``earlier`` holds the histories of earlier champions.
    """
    if evaluation.faults:
        return Verdict(Decision.DATA_BAD, tuple(evaluation.faults))
    if missing := _missing(reference, points, evaluation, minimum_rows):
        return Verdict(Decision.INSUFFICIENT, (missing,))
    found = state(reference, points, rule, earlier)
    numbers = {"evidence": found.evidence, "reference": found.reference, "spread": found.spread}
    numbers |= {f"{name}_level": level for name, level in found.levels.items()}
    numbers |= {name: float(path[-1]) for name, path in found.paths.items() if len(path)}
    numbers |= {} if found.e_value is None else {"e_value": found.e_value}
    told = f"evidence {found.evidence:.2f}, alarm above 1"
    if found.evidence <= 1:
        return Verdict(Decision.KEEP, (f"not degraded: {told}",), numbers)
    recent = float(np.average(_losses(points[-5:]), weights=[point.rows for point in points[-5:]]))
    reason = (
        f"degraded: the loss rose from {found.reference:.3f} to {recent:.3f} over the newest {len(points[-5:])} points "
        f"({told})"
    )
    return Verdict(Decision.RETRAIN, (reason,), numbers)


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


def _learn(
    histories: Sequence[Sequence[Point]], length: int, unit: float, drop: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the usual difference of each day of the week (7,), and the weights of the noise (G,), in units."""
    blocks = np.concatenate([_blocks(_losses(one) / unit, length) for one in histories])
    weekdays = np.concatenate([_blocks(_weekdays(one), length) for one in histories])
    daily = all(point.days == 1 for one in histories for point in one)
    week = noise.weekly(blocks, weekdays) if daily else np.zeros(7)
    power = noise.periodogram(blocks - week[weekdays]).sum(axis=0)
    return week, noise.weights(power, len(blocks), length, drop / unit)


def _losses(points: Sequence[Point]) -> np.ndarray:
    return np.array([point.loss for point in points])


def _weekdays(points: Sequence[Point]) -> np.ndarray:
    return np.array([point.day % 7 for point in points], dtype=int)


def _blocks(values: np.ndarray, length: int) -> np.ndarray:
    """Return (blocks, length) values, without those of a block that is not complete."""
    whole = len(values) // length
    return values[: whole * length].reshape(whole, length)
