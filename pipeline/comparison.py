"""Two models on the same rows: how much better is one, and how sure is that?"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, stdtrit

from pipeline.scores import RowStatistics, Score

RESAMPLES, _SEED = 2000, 20260101


@dataclass(frozen=True)
class Difference:
    """Loss of the first minus loss of the second, with one-sided bounds: above zero, the second is better."""

    estimate: float
    low: float
    high: float
    days: int
    rows: int


@dataclass(frozen=True)
class Pairs:
    """The rows on which just one of two models is right: ``gained`` by the second, ``lost`` by it."""

    gained: int
    lost: int

    @property
    def p(self) -> float:
        """The one-sided mid-p of McNemar's exact test: how likely as many are gained if the second is no better.

        Fagerland, Lydersen & Laake 2013, BMC Medical Research Methodology 13:91.
        """
        above = bdtrc(np.array([self.gained - 1, self.gained]), self.gained + self.lost, 0.5)
        return float(above.mean())


def discordant(score: Score, first: RowStatistics, second: RowStatistics) -> np.ndarray:
    """Return (n, 2) counts, gained and lost, of the (n, m) row statistics of two models under a binary score."""
    old, new = score.loss(np.asarray(first)), score.loss(np.asarray(second))
    return np.column_stack([new < old, new > old]).astype(float)


def difference(score: Score, first: np.ndarray, second: np.ndarray, confidence: float) -> Difference | None:
    """Compare two models from their (days, m) sums over the same rows.

    Days are the clusters: the error is that of the delete-one-day jackknife (Efron & Tibshirani 1993, ch. 11), and
    each bound is as many errors away as ``_widths`` says. None when there are fewer than two days, or when the score
    is not defined on them, or not without one of them.
    """
    width = max(first.shape[1], second.shape[1])
    first, second = (np.pad(sums, ((0, 0), (0, width - sums.shape[1]))) for sums in (first, second))
    held = first[:, 0] > 0
    first, second = first[held], second[held]
    days, rows = len(first), int(first[:, 0].sum())
    if days < 2:
        return None
    totals = first.sum(axis=0), second.sum(axis=0)
    estimate = float(score.loss(totals[0]) - score.loss(totals[1]))
    left_out = score.loss(totals[0] - first) - score.loss(totals[1] - second)
    error = float(np.sqrt((days - 1) * np.var(left_out)))
    if not math.isfinite(estimate + error):
        return None
    below, above = _widths(left_out.mean() - left_out, confidence)
    return Difference(estimate, estimate - below * error, estimate + above * error, days, rows)


def _widths(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return how many errors the bounds lie below and above; ``values`` (days,) are what each day adds, centred.

    The wider of Student's t with days - 1 degrees of freedom and of the cluster bootstrap-t (Cameron, Gelbach &
    Miller 2008, Review of Economics and Statistics 90:414) of the jackknife's values: t is blind to skewed losses,
    the bootstrap to tails beyond its resamples and, when it draws days without any spread, to everything.
    """
    days = len(values)
    chosen, values = _resamples(days), np.sort(values)
    mean, square = chosen @ values / days, chosen @ values**2 / days
    variance = square - mean**2
    spread = np.sqrt(np.maximum(variance, 0) / (days - 1))
    t = np.divide(mean, spread, out=np.copysign(np.inf, mean), where=variance > 1e-9 * square)
    t.sort()
    rank, student = math.ceil(confidence * len(t)) - 1, float(stdtrit(days - 1, confidence))
    below, above = (max(student, float(t)) if math.isfinite(t) else student for t in (t[rank], -t[-1 - rank]))
    return below, above


@functools.lru_cache(maxsize=8)
def _resamples(days: int) -> np.ndarray:
    """Return how often each resample draws each day, (RESAMPLES, days).

    Half of them mirror the others (Hall 1989, Biometrika 76:713): of values in order, which makes the bounds those of
    the exchanged models turned round.
    """
    drawn = np.random.default_rng(_SEED).multinomial(days, np.full(days, 1 / days), RESAMPLES // 2)
    return np.concatenate([drawn, drawn[:, ::-1]]).astype(float)
