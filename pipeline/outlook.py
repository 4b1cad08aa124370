"""The outlook: what the newest rows say of the champion before their labels come. Pure functions of sums over rows.

*Expected*: the score that the champion's confidence promises, the mean over the rows of P(right | confidence)
(confidence-based performance estimation; Guillory et al., arXiv 2107.03315; Garg et al., arXiv 2201.04234). That
probability is learnt by isotonic regression (Zadrozny & Elkan 2002) on the gate's rows, which no model has seen. The
expectation holds as long as it stays what it was: rows of other kinds may become more frequent, but what a row means
must not change. *Shift*: how far predictions, or the values of a feature, are from those of the gate's rows. It tells
of a change, not whether that harms.

Each is a series of points like the score's own, watched by the same detectors. Only points of days without labels are:
once labels are there, the score speaks for itself.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import scipy.sparse as sp

from pipeline import decision, detectors
from pipeline.config import ModelConfig
from pipeline.detectors import Others, State
from pipeline.errors import DataError
from pipeline.observation import GROUPS, group
from pipeline.scores import SEPARATOR, variance_of_mean
from pipeline.tally import Point

EXPECTED, PREDICTIONS, INPUTS = "expected", "predictions", "inputs"
Sums = dict[str, np.ndarray]
"""Sums over rows, by series. ``expected`` (3 * BINS,): rows, those with a label, those that are right, by bin of
confidence. ``predictions`` and ``inputs_<feature>`` (2 * GROUPS,): the rows' shares in each group and their squares."""
# Margins of any scale up to 10,000: those that differ by less than 2 % may share a bin.
_EDGES = np.geomspace(0.001, 10_000, 1000)
BINS = len(_EDGES) + 1
# A shift of less is none, whatever the canary's rule.
_LEAST_SHIFT = 0.01
_group = functools.lru_cache(2**16)(group)


class Reference(msgspec.Struct, frozen=True):
    """What is known of the gate's rows. ``right`` (BINS,): P(right) by bin of confidence, empty without a calibration;
    ``sums``: of the other series."""

    right: list[float]
    sums: dict[str, list[float]]

    @property
    def series(self) -> list[str]:
        """The names of all series."""
        return [EXPECTED] * bool(self.right) + list(self.sums)

    def without(self, sums: Sums) -> "Reference":
        """Return the reference for some of its own rows: the others."""
        return Reference(self.right, {name: (held - sums[name]).tolist() for name, held in self.sums.items()})

    def points(self, sums: Sums, day: int, days: int) -> dict[str, Point]:
        """Return a point of each series for the rows of ``days`` days that end with ``day``."""
        rows = round(sums[PREDICTIONS][:GROUPS].sum())
        measured = {name: apart(sums[name], np.array(held)) for name, held in self.sums.items()}
        if self.right:
            measured[EXPECTED] = expected(sums[EXPECTED], np.array(self.right))
        return {name: Point(day, days, rows, *of) for name, of in measured.items()}


def reference(sums: Sums) -> Reference:
    """Return what is known of the gate's rows; DataError when their confidence cannot be calibrated."""
    right = calibrated(sums[EXPECTED]).tolist() if EXPECTED in sums else []
    return Reference(right, {name: held.tolist() for name, held in sums.items() if name != EXPECTED})


def add(
    counts: dict[int, Sums],
    days: np.ndarray,
    predictions: np.ndarray,
    features: Mapping[str, Sequence[str | float]],
    confidence: np.ndarray | None,
    right: np.ndarray,
) -> None:
    """Add n rows to the sums of their days (n,): what is predicted, each feature's values, the confidence (None or
    nan: it has none), and whether the prediction is right (n,), nan where no label tells."""
    rows = {PREDICTIONS: _shares([_labels(one) for one in predictions.tolist()])}
    rows |= {f"{INPUTS}_{name}": _shares([_parts(one) for one in values]) for name, values in features.items()}
    rows = {name: sp.hstack([one, one * one], format="csr") for name, one in rows.items()}
    if confidence is not None and not np.isnan(confidence).all():
        rows[EXPECTED] = _confident(confidence, right)
    numbers, which = np.unique(days, return_inverse=True)
    by_day = sp.csr_array((np.ones(len(days)), (which, np.arange(len(days)))))
    for name, one in rows.items():
        for day, sums in zip(numbers.tolist(), (by_day @ one).toarray(), strict=True):
            held = counts.setdefault(day, {})
            held[name] = held.get(name, 0) + sums


def total(counts: Mapping[int, Sums], days: Iterable[int]) -> Sums:
    """Add up the sums of at least one day."""
    chosen = [counts[day] for day in days]
    return {name: np.sum([one[name] for one in chosen], axis=0) for name in chosen[0]}


def calibrated(sums: np.ndarray) -> np.ndarray:
    """Return (BINS,) P(right) by bin of confidence from (3 * BINS,) sums; never less for more confidence."""
    from sklearn.isotonic import IsotonicRegression

    _, known, right = sums.reshape(3, BINS)
    held = np.flatnonzero(known)
    if not len(held):
        raise DataError("there is no labelled row to calibrate the confidence by")
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return np.asarray(curve.fit(held, right[held] / known[held], known[held]).predict(np.arange(BINS)))


def expected(sums: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return the loss that the confidence promises, and its variance; ``right`` as from ``calibrated``."""
    rows = sums[:BINS]
    moments = np.array([rows.sum(), rows @ right, rows @ right**2])
    return 1 - float(moments[1] / moments[0]), float(variance_of_mean(moments))


def apart(new: np.ndarray, old: np.ndarray) -> tuple[float, float]:
    """Return the total variation distance of two (2 * GROUPS,) sums less what chance makes of it, and its variance.

    By chance a difference of shares is normal, with the variance that the rows' shares have; its absolute value is
    half-normal. The distance is the largest difference that a set of groups has; half of the groups' variances is the
    most that any set's can vary if a row is in one group, and what two groups' does. That of many groups varies less,
    but with a heavier tail than a normal variable. No distance to no rows at all.
    """
    new, old = new.reshape(2, GROUPS), old.reshape(2, GROUPS)
    here, there = new[0].sum(), old[0].sum()
    # The sums of rows that are all taken away are but rounding.
    if min(here, there) < 0.5:
        return 0.0, 0.0
    mean, square = (new + old) / (here + there)
    variances = np.maximum(square - mean**2, 0) * (1 / here + 1 / there)
    by_chance = np.sqrt(variances * 2 / math.pi).sum() / 2
    distance = np.abs(new[0] / here - old[0] / there).sum() / 2
    return float(distance - by_chance), float(variances.sum() / 2)


@dataclass(frozen=True)
class View:
    """A series on the days without labels: its points there, and the detectors after each of them."""

    points: list[Point]
    state: State

    @property
    def evidence(self) -> float:
        """The highest that any detector came on these days: above 1 is an alarm, until its days have labels."""
        return float(self._heights.max())

    @property
    def alarming(self) -> list[Point]:
        """The points from where the first alarm has its begin (Page 1954: after the sum's last zero) to its height."""
        first = int(np.argmax(self._heights > 1))
        quiet = np.flatnonzero(self.state.paths[detectors.FAST][:first] <= 0)
        return self.points[quiet[-1] + 1 if len(quiet) else 0 : int(self._heights.argmax()) + 1]

    @property
    def _heights(self) -> np.ndarray:
        return np.max([path / self.state.levels[name] for name, path in self.state.paths.items()], axis=0)


def views(
    series: Mapping[str, Sequence[Point]], gate_end: int, matured_end: int, config: ModelConfig
) -> dict[str, View]:
    """Watch each series (oldest point first, the gate's at the beginning) on the days from ``matured_end`` on.

    The series share the configured false alarms. One that has no new points, or too short a reference, is left out.
    """
    found, often = {}, config.degradation.false_alarms_per_year / max(len(series), 1)
    for name, points in series.items():
        drop = config.degradation.smallest_drop
        if name != EXPECTED:
            drop = max(config.rollout.canary.shift, _LEAST_SHIFT)
        rule = config.degradation.model_copy(update={"smallest_drop": drop, "false_alarms_per_year": often})
        usual, since = map(decision.points, decision.split(points, gate_end))
        matured = [point for point in since if point.day < matured_end]
        new = since[len(matured) :]
        if new and len(usual) >= detectors.FEWEST_REFERENCE_POINTS:
            found[name] = View(new, detectors.state(usual, new, rule, Others([matured])))
    return found


def largest(series: Sequence[Sequence[Point]]) -> list[Point]:
    """Return of each day the point, of all series, with the largest loss."""
    return [max(points, key=lambda point: point.loss) for points in zip(*series, strict=True)]


def trust(expected: Sequence[Point], score: Sequence[Point], gate_end: int) -> tuple[float, int] | None:
    """Return how much less loss was expected than came, on average over the rows where both are known and that were
    not calibrated on, and over how many points; None without any."""
    came = {(point.day, point.days): point for point in score if point.day >= gate_end}
    pairs = [(point, came[key]) for point in expected if (key := (point.day, point.days)) in came]
    if not pairs:
        return None
    less = [true.loss - promised.loss for promised, true in pairs]
    return float(np.average(less, weights=[true.rows for _, true in pairs])), len(pairs)


def _confident(confidence: np.ndarray, right: np.ndarray) -> sp.csr_array:
    """Return (n, 3 * BINS): a one for the row's bin, one if it has a label, one if it is right."""
    rows, bins = np.arange(len(right)), np.digitize(np.nan_to_num(confidence, nan=0), _EDGES)
    known, hit = np.flatnonzero(~np.isnan(right)), np.flatnonzero(right == 1)
    at = np.concatenate([bins, BINS + bins[known], 2 * BINS + bins[hit]])
    rows = np.concatenate([rows, known, hit])
    return sp.csr_array((np.ones(len(at)), (rows, at)), shape=(len(right), 3 * BINS))


def _shares(parts: Sequence[Sequence[str | float]]) -> sp.csr_array:
    """Return (n, GROUPS): how each row's parts are shared among the groups; a row has at least one part."""
    ends = np.cumsum([0, *map(len, parts)])
    at = np.array([_group(one) for row in parts for one in row], dtype=int)
    found = sp.csr_array((np.repeat(1 / np.diff(ends), np.diff(ends)), at, ends), shape=(len(parts), GROUPS))
    found.sum_duplicates()
    return found


def _labels(answer: str | float) -> list[str | float]:
    return [*answer.split(SEPARATOR)] if isinstance(answer, str) else _parts(answer)


def _parts(value: str | float) -> list[str | float]:
    """Return what a value is compared by: a text by its pairs of neighbouring characters, begin and end among them,
    as not every language has spaces; a number by its size."""
    if isinstance(value, str):
        text = f"^{value}$"
        return [text[at : at + 2] for at in range(len(text) - 1)]
    return [value if math.isfinite(value) else str(value)]
