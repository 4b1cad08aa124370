"""The detectors: how near a champion is to an alarm. A pure function of the history of its score.

They (``calibration``) look at the loss after every point, and any is enough: a fast one for the smallest drop that
matters, one for a collapse, both calibrated by simulation, and one that guarantees its share of the false alarms
without; another of its kind looks at the slices. All compare with the mean over the champion's reference, frozen at
its deployment. A chain of champions, each a little worse than the one before, would pass them: so one more of the
guaranteeing kind compares with the first deployed version's loss, as long as the champion had recovered that. Where a
fresh fit answers the same rows, another looks at how much better that is: it sees what the champion loses by growing
old, and nothing of what makes a day hard for both. Its reference is the first gaps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline import calibration, history, noise
from pipeline.config import Degradation
from pipeline.history import History
from pipeline.tally import Point

FAST, COLLAPSE, GUARANTEE, FROZEN = "fast", "collapse", "guarantee", "frozen"
SLICES, STALE = "slices", "stale"
SHARES = {FAST: 0.85, COLLAPSE: 0.05, GUARANTEE: 0.1, FROZEN: 0.1, SLICES: 0.1, STALE: 0.5}
"""What each detector has of the false alarms, relative to the others that are there."""
CERTAINTY = 0.95
"""How probably the noise is no more than a guaranteeing detector believes."""
DAYS_A_YEAR = 365
FEWEST_REFERENCE_POINTS = 3
# A slice has few rows: its reference is hardly off by more standard errors than this.
_ERRORS = 3
# The logarithm of an e-value, or of its inverse, so that it stays a finite number.
_MOST = 700.0
Split = tuple[Sequence[Point], Sequence[Point]]
"""Points of a reference, and those since."""


@dataclass(frozen=True)
class Others:
    """What a champion's own history is judged beside.

    ``earlier``: the histories of earlier champions: what was noise to them is noise to this one; ``slices``: the points
    of each; ``gaps``: between champion and control, None without one; ``first``: the loss of the first deployed version
    at its deployment, None when this is it.
    """

    earlier: Sequence[Sequence[Point]] = ()
    slices: Mapping[str, Split] = field(default_factory=dict)
    gaps: Sequence[Point] | None = None
    first: float | None = None


ALONE = Others()


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


def state(reference: Sequence[Point], points: Sequence[Point], rule: Degradation, others: Others = ALONE) -> State:
    """Run the detectors over ``points`` (oldest first) against at least three ``reference`` points."""
    drop, known = rule.smallest_drop, history.learn(reference, points, rule.smallest_drop, others.earlier)
    a_year = max(round(DAYS_A_YEAR * len(reference) / sum(point.days for point in reference)), 1)
    alpha, variance = shares(rule, *_further(known, drop, others)), known.variance(CERTAINTY)
    paths, levels = _calibrated(known, drop, a_year, alpha)
    paths[GUARANTEE], worst = calibration.detector(known.since, known.mean, drop, variance), None
    if others.first is not None and FROZEN in alpha:
        paths[FROZEN] = calibration.detector(known.since, others.first, drop, variance)
    if SLICES in alpha:
        paths[SLICES], worst = _slices([point.day for point in points], others.slices, drop)
    levels |= {name: math.log(a_year / alpha[name]) for name in paths.keys() - levels.keys()}
    if others.gaps is not None and len(others.gaps) > len(reference):
        first, since = others.gaps[: len(reference)], others.gaps[len(reference) :]
        apart = history.learn(first, since, drop, wander=noise.WANDER_OF_A_GAP)
        paths[STALE], levels[STALE] = _cusum(apart, drop, drop / apart.unit, a_year, alpha[STALE])
    return State(known.mean, known.spread, paths, levels, worst)


def _further(known: History, drop: float, others: Others) -> list[str]:
    """Return the detectors that are there beside the usual. The gate calls up to half a drop recovered."""
    frozen = others.first is not None and others.first < known.mean <= others.first + drop / 2
    there = {FROZEN: frozen, SLICES: bool(others.slices), STALE: others.gaps is not None}
    return [name for name, is_there in there.items() if is_there]


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


def shares(rule: Degradation, *further: str) -> dict[str, float]:
    """Return that probability divided among the detectors: those that are always there, and ``further`` ones."""
    names = [FAST, COLLAPSE, GUARANTEE, *further]
    whole = sum(SHARES[name] for name in names)
    return {name: chance(rule) * SHARES[name] / whole for name in names}
