"""Has the champion degraded? A pure function from the history of its score to a verdict.

Detectors (``calibration``) look at the loss after every point, and any is enough: a fast one for the smallest drop that
matters, one for a collapse, both calibrated by simulation, and one that guarantees its share of the false alarms
without; another of its kind looks at the slices. All compare with the mean over the champion's reference, frozen at
its deployment. Where a fresh fit answers the same rows, one more looks at how much better that is: it sees what the
champion loses by growing old, and nothing of what makes a day hard for both. Its reference is the first gaps.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import ndtri

from pipeline import calibration, cause, history, noise
from pipeline.comparison import Difference
from pipeline.config import Degradation
from pipeline.evaluation import Evaluation
from pipeline.history import History, losses
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict

FAST, COLLAPSE, GUARANTEE, SLICES, STALE = "fast", "collapse", "guarantee", "slices", "stale"
SHARES = {FAST: 0.85, COLLAPSE: 0.05, GUARANTEE: 0.1, SLICES: 0.1, STALE: 0.5}
"""What each detector has of the false alarms, relative to the others that are there."""
CERTAINTY = 0.95
"""How probably the noise is no more than a guaranteeing detector believes."""
DAYS_A_YEAR = 365
FEWEST_REFERENCE_POINTS = 3
WAITING = "waiting"
"""The number that a verdict has which keeps a degraded champion until the cooldown is over."""
_RECENT = 5
# A slice has few rows: its reference is hardly off by more standard errors than this.
_ERRORS = 3
# The logarithm of an e-value, or of its inverse, so that it stays a finite number.
_MOST = 700.0
Split = tuple[Sequence[Point], Sequence[Point]]
"""Points of a reference, and those since."""


@dataclass(frozen=True)
class State:
    """The detectors after each point since the reference.

    ``reference``: its mean loss; ``spread``: the standard deviation of the true loss from day to day; ``paths``: by
    detector, in smallest drops, or a guarantee's logarithm; ``levels``: above which each alarms; ``worst``: the slice
    with the most evidence.
    """

    reference: float
    spread: float
    paths: dict[str, np.ndarray]
    levels: dict[str, float]
    worst: str | None = None

    @property
    def ratios(self) -> dict[str, float]:
        """How far it is to each detector's alarm after the newest point: above 1 is one."""
        return {name: float(path[-1]) / self.levels[name] if len(path) else 0.0 for name, path in self.paths.items()}

    @property
    def evidence(self) -> float:
        """How far it is to the alarm, by the detector that is nearest: above 1 is one."""
        return max(self.ratios.values())

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
    reference: Sequence[Point],
    points: Sequence[Point],
    rule: Degradation,
    earlier: Iterable[Sequence[Point]] = (),
    slices: Mapping[str, Split] | None = None,
    gaps: Sequence[Point] | None = None,
) -> State:
    """Run the detectors over ``points`` (oldest first) against at least three ``reference`` points.

    ``earlier`` holds the histories of earlier champions: what was noise to them is noise to this one. ``slices``: the
    points of each slice; ``gaps``: between champion and control, None without one.
    """
    drop, known = rule.smallest_drop, history.learn(reference, points, rule.smallest_drop, earlier)
    a_year = max(round(DAYS_A_YEAR * len(reference) / sum(point.days for point in reference)), 1)
    alpha = shares(rule, bool(slices), gaps is not None)
    paths, levels = _calibrated(known, drop, a_year, alpha)
    paths[GUARANTEE] = calibration.detector(known.since, known.mean, drop, known.variance(CERTAINTY))
    worst = None
    if slices:
        paths[SLICES], worst = _slices([point.day for point in points], slices, drop)
    levels |= {name: math.log(a_year / alpha[name]) for name in paths.keys() - levels.keys()}
    if gaps is not None and len(gaps) > len(reference):
        apart = history.learn(gaps[: len(reference)], gaps[len(reference) :], drop, (), noise.WANDER_OF_A_GAP)
        paths[STALE], levels[STALE] = _cusum(apart, drop, drop / apart.unit, a_year, alpha[STALE])
    return State(known.mean, known.spread, paths, levels, worst)


def _calibrated(
    known: History, drop: float, a_year: int, alpha: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    found = {name: _cusum(known, drop, size, a_year, alpha[name]) for name, size in sizes(drop / known.unit).items()}
    return {name: path for name, (path, _) in found.items()}, {name: level for name, (_, level) in found.items()}


def _cusum(known: History, drop: float, size: float, a_year: int, alpha: float) -> tuple[np.ndarray, float]:
    """Return a path and its level, in smallest drops; ``size`` is what is looked for, in units of the noise."""
    level = calibration.threshold(known.weights, size, known.references, a_year, alpha)
    return calibration.cusum(known.since, known.mean, size * known.unit) / drop, known.unit / drop * float(level)


def _slices(days: Sequence[int], slices: Mapping[str, Split], drop: float) -> tuple[np.ndarray, str | None]:
    """Return the mean of the slices' e-detectors, which is one itself, after each of the days; and the slice with most.

    Whatever depends on whatever among them: expectations add up (Vovk & Wang 2021, Annals of Statistics 49:1736).
    """
    logs = {}
    for name, (reference, points) in slices.items():
        if len(reference) >= FEWEST_REFERENCE_POINTS:
            known = history.learn(reference, points, drop)
            variance = known.variance(CERTAINTY)
            least = max(drop, 2 * _ERRORS * math.sqrt(variance / len(reference)))
            path = np.append(-np.inf, calibration.detector(known.since, known.mean, least, variance))
            logs[name] = path[np.searchsorted([point.day for point in points], days, side="right")]
    if not logs or not days:
        return np.zeros(0), None
    merged = np.logaddexp.reduce([*logs.values()]) - math.log(len(logs))
    return np.maximum(merged, -_MOST), max(logs, key=lambda name: logs[name][-1])


def sizes(drop: float) -> dict[str, float]:
    """Return what each calibrated detector looks for; both in units of the sampling noise."""
    return {FAST: drop, COLLAPSE: 4 * max(drop, 1)}


def chance(rule: Degradation) -> float:
    """Return the probability that an unchanged year may have a false alarm."""
    return 1 - math.exp(-rule.false_alarms_per_year)


def shares(rule: Degradation, slices: bool = False, control: bool = False) -> dict[str, float]:
    """Return that probability divided among the detectors: those that are always there, and those of slices and of a
    control, where there are any."""
    names = [FAST, COLLAPSE, GUARANTEE, *[SLICES] * slices, *[STALE] * control]
    whole = sum(SHARES[name] for name in names)
    return {name: chance(rule) * SHARES[name] / whole for name in names}


def decide(
    reference: Sequence[Point],
    points: Sequence[Point],
    evaluation: Evaluation,
    rule: Degradation,
    minimum_rows: int,
    earlier: Iterable[Sequence[Point]] = (),
    slices: Mapping[str, Split] | None = None,
    gaps: Sequence[Point] | None = None,
) -> Verdict:
    """Judge the champion from its reference points, the points since, and this morning's evaluation.

    ``earlier``, ``slices`` and ``gaps`` are as in ``state``.
    """
    if evaluation.faults:
        return Verdict(Decision.DATA_BAD, tuple(evaluation.faults))
    if missing := _missing(reference, points, evaluation, minimum_rows):
        return Verdict(Decision.INSUFFICIENT, (missing,))
    found = state(reference, points, rule, earlier, slices, gaps)
    numbers = {"evidence": found.evidence, "reference": found.reference, "spread": found.spread}
    numbers |= {f"{name}_level": level for name, level in found.levels.items()}
    numbers |= {name: float(path[-1]) for name, path in found.paths.items() if len(path)}
    numbers |= {} if found.e_value is None else {"e_value": found.e_value}
    told = f"evidence {found.evidence:.2f}, alarm above 1"
    if found.evidence <= 1:
        return Verdict(Decision.KEEP, (f"not degraded: {told}",), numbers)
    reasons = [f"degraded: the loss {_went(reference, points)} ({told})"]
    if slices and found.worst and found.ratios[SLICES] > 1:
        reasons.append(f"slice {found.worst}: its loss {_went(*slices[found.worst])}")
    if gaps is not None and STALE in found.paths:
        gained = _gained(gaps[: len(reference)], gaps[len(reference) :])
        reasons.append(cause.told(_mean(points[-_RECENT:]) - _mean(reference), gained, rule.smallest_drop))
    return Verdict(Decision.RETRAIN, tuple(reasons), numbers)


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
