"""A tally: row statistics of a score added up by day, for all rows and for each slice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import pdtr

from pipeline.scores import RowStatistics, Score, variance_of_mean

ALL = ("", "")
RESAMPLES = 200
# Poisson(1) by inversion in steps of 2**-16: looked up ten times faster than numpy's generator draws it.
_WEIGHTS = np.searchsorted(pdtr(np.arange(9), 1), (np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
Group = tuple[str, str]


@dataclass(frozen=True)
class Point:
    """One point of a score's history: days pooled until they hold enough rows.

    ``day``: the last day, as days since 1970-01-01; ``days``: how many; ``variance``: of the loss.
    """

    day: int
    days: int
    rows: int
    loss: float
    variance: float


class Tally:
    """Sums of row statistics: (days, m) a group; with ``resample`` also Poisson bootstrap resamples of each day."""

    def __init__(self, score: Score, resample: bool = False) -> None:
        self.score = score
        self._resample = resample
        self._sums: dict[Group, dict[int, np.ndarray]] = {ALL: {}}
        self._resamples: dict[int, np.ndarray] = {}
        self._generators: dict[int, np.random.Generator] = {}

    def add(self, days: np.ndarray, slices: Mapping[str, np.ndarray], statistics: RowStatistics) -> None:
        """Add n rows: their days (n,) int, their values in each slice column (n,), their (n, m) statistics."""
        for day in np.unique(days):
            rows = np.flatnonzero(days == day)
            self._add_to(ALL, int(day), _total(statistics[rows]))
            if self._resample:
                self._add_resamples(int(day), statistics[rows])
            for column, values in slices.items():
                for value in np.unique(values[rows]):
                    chosen = rows[values[rows] == value]
                    self._add_to((column, str(value)), int(day), _total(statistics[chosen]))

    def groups(self) -> list[Group]:
        """Return the slices seen, as (column, value)."""
        return sorted(self._sums.keys() - {ALL})

    def days(self) -> list[int]:
        """Return the days seen, in order."""
        return sorted(self._sums[ALL])

    def matrix(self, days: list[int], group: Group = ALL, width: int = 0) -> np.ndarray:
        """Return (days, m) sums of a group, zero on a day without rows, padded to at least ``width``."""
        chosen = [self._sums.get(group, {}).get(day, np.zeros(0)) for day in days]
        width = max([1, width, *(len(sums) for sums in chosen)])
        return np.array([np.pad(sums, (0, width - len(sums))) for sums in chosen]).reshape(len(days), width)

    def loss(self) -> float:
        """Return the loss over all rows, nan without any."""
        days = self.days()
        return float(self.score.loss(self.matrix(days).sum(axis=0))) if days else float("nan")

    def point(self, days: list[int], span: int) -> Point:
        """Pool days into one point that stands for ``span`` calendar days, ending with the last of ``days``."""
        sums = self.matrix(days).sum(axis=0)
        return Point(days[-1], span, int(sums[0]), float(self.score.loss(sums)), self._variance(days, sums))

    def part(self, whole: Point, days: list[int], group: Group) -> Point:
        """Return a group's share of the point ``whole`` of ``days``; infinite variance with fewer than two rows.

        Of a score that is no mean, the group's rows are taken to vary as much as all do, one by one.
        """
        sums = self.matrix(days, group).sum(axis=0)
        rows = int(sums[0])
        if rows < 2:
            return Point(whole.day, whole.days, rows, float("nan"), float("inf"))
        variance = float(variance_of_mean(sums)) if self.score.mean else whole.variance * whole.rows / rows
        return Point(whole.day, whole.days, rows, float(self.score.loss(sums)), variance)

    def resampled(self, days: list[int]) -> np.ndarray:
        """Return the (RESAMPLES,) losses of all rows of ``days``, drawn anew; alike in every tally of the same rows."""
        total = np.zeros((RESAMPLES, max(self._resamples[day].shape[1] for day in days)))
        for day in days:
            total[:, : self._resamples[day].shape[1]] += self._resamples[day]
        return self.score.loss(total)

    def _variance(self, days: list[int], sums: np.ndarray) -> float:
        if self.score.mean:
            return float(variance_of_mean(sums))
        losses = self.resampled(days)
        defined = losses[np.isfinite(losses)]
        return float(np.var(defined, ddof=1)) if len(defined) > 1 else float("inf")

    def _add_to(self, group: Group, day: int, sums: np.ndarray) -> None:
        known = self._sums.setdefault(group, {})
        known[day] = _plus(known[day], sums) if day in known else sums

    def _add_resamples(self, day: int, statistics: RowStatistics) -> None:
        # A generator a day, drawn row by row: the resamples depend neither on which other days are scored in the
        # same run nor on where a batch ends.
        generator = self._generators.setdefault(day, np.random.default_rng(day))
        weights = _WEIGHTS[generator.integers(len(_WEIGHTS), size=(statistics.shape[0], RESAMPLES), dtype=np.uint16)]
        # Sparse statistics are counts, exact in half the memory.
        sums = np.asarray(weights.T @ statistics, dtype=np.float32 if sp.issparse(statistics) else float)
        self._resamples[day] = _plus(self._resamples[day], sums) if day in self._resamples else sums


def _total(statistics: RowStatistics) -> np.ndarray:
    return np.asarray(statistics.sum(axis=0), dtype=float).ravel()


def _plus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    width = max(a.shape[-1], b.shape[-1])
    pad = [(0, 0)] * (a.ndim - 1)
    return np.pad(a, [*pad, (0, width - a.shape[-1])]) + np.pad(b, [*pad, (0, width - b.shape[-1])])
