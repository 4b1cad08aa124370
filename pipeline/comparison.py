"""Two models on the same rows: how much better is one, and how sure is that?"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline.scores import Score


@dataclass(frozen=True)
class Difference:
    """Loss of the first minus loss of the second, with one-sided bounds: above zero, the second is better."""

    estimate: float
    low: float
    high: float
    days: int
    rows: int


def difference(score: Score, first: np.ndarray, second: np.ndarray, confidence: float) -> Difference | None:
    """Compare two models from their (days, m) sums over the same rows.

    Days are the clusters: the error is that of the delete-one-day jackknife (Efron & Tibshirani 1993, ch. 11),
    the bounds are Student's with days - 1 degrees of freedom. None when there are fewer than two days, or when the
    score is not defined on them, or not without one of them.
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
    error = np.sqrt((days - 1) * np.var(left_out))
    if not np.isfinite(estimate + error):
        return None
    half = float(stdtrit(days - 1, confidence) * error)
    return Difference(estimate, estimate - half, estimate + half, days, rows)
