"""Scores as sums: every score is a function of additive row statistics.

A row contributes a vector; days, slices and bootstrap resamples are sums of such vectors; the score is a
function of the sum. So a day is scored in one pass over any number of rows, days can be pooled after the
fact, and a comparison can drop or resample days without a second look at the rows.

The first statistic of a row is always 1, so the first sum is the number of rows.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from pipeline.errors import ConfigError

SEPARATOR = "|"
Output = Literal["labels", "ranking", "scores", "confidence"]
RowStatistics: TypeAlias = "np.ndarray | sp.csr_array"


@dataclass(frozen=True)
class Score:
    """How good predictions are.

    rows(truth (n,), predictions (n,) or (n, k)) -> (n, m) row statistics, dense or sparse;
    value(sums (..., m)) -> (...) scores. A ``mean`` has the statistics 1, x, x*x.
    """

    better: Literal["higher", "lower"]
    rows: Callable[[np.ndarray, np.ndarray], RowStatistics]
    value: Callable[[np.ndarray], np.ndarray]
    output: Output = "labels"
    mean: bool = False
    k: int = 0
    """How many answers a ranking must hold."""
    binary: bool = False
    """Whether the score is the mean of rows that are right (1) or wrong (0)."""

    def loss(self, sums: np.ndarray) -> np.ndarray:
        """Return (...) losses of (..., m) sums: lower is better, in units of the score."""
        value = self.value(sums)
        return 1 - value if self.better == "higher" else value

    def from_loss(self, loss: float) -> float:
        """Return the score that belongs to a loss."""
        return 1 - loss if self.better == "higher" else loss


def mean_of(
    x: Callable[[np.ndarray, np.ndarray], np.ndarray],
    better: Literal["higher", "lower"],
    k: int = 0,
    binary: bool = False,
) -> Score:
    """Return the score that is the mean of x(truth, predictions) -> (n,); with ``k`` it gets (n, k) rankings."""

    def rows(truth: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        values = np.asarray(x(truth, predictions), dtype=float)
        return np.column_stack([np.ones_like(values), values, values**2])

    return Score(better, rows, _mean, "ranking" if k else "labels", mean=True, k=k, binary=binary)


def variance_of_mean(sums: np.ndarray) -> np.ndarray:
    """Return the variance of a mean score from its (..., 3) sums; infinite below two rows."""
    n, x, xx = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 1, np.maximum(xx / n - (x / n) ** 2, 0) / (n - 1), np.inf)


def get(name: str, k: int = 10, own: Any = None) -> Score:
    """Return the score called ``name``; ``model.<x>`` is ``own.<x>``, a Score made by the model's own code.

    Raises ConfigError when the model's code has no such Score.
    """
    if name.startswith("model."):
        score = getattr(own, name.removeprefix("model."), None)
        if not isinstance(score, Score):
            raise ConfigError(f"evaluation.score: {name!r} is not there; expected a pipeline.scores.Score in model.py")
        return score
    return {
        "accuracy": lambda: mean_of(lambda y, p: y == p, "higher", binary=True),
        "top_5_accuracy": lambda: mean_of(
            lambda y, p: (p[:, :5] == y[:, None]).any(axis=1), "higher", k=5, binary=True
        ),
        "recall_at_k": lambda: mean_of(lambda y, p: _recall(y, p[:, :k]), "higher", k=k),
        "mae": lambda: mean_of(lambda y, p: abs(y - p), "lower"),
        "mape": lambda: mean_of(lambda y, p: abs(y - p) / np.maximum(abs(y), np.finfo(float).eps), "lower"),
        "rmse": lambda: Score("lower", _squares, lambda s: np.sqrt(_ratio(s[..., 1], s[..., 0]))),
        "r2": lambda: Score("higher", _squares, _r2),
        "micro_f1": lambda: Score("higher", _micro_rows, _micro_f1),
        "macro_f1": _macro_f1,
        "average_precision": lambda: Score("higher", _ranked_rows, _average_precision, "scores"),
    }[name]()


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b != 0)


def _mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 1], sums[..., 0])


def _recall(truth: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    pairs = zip(_label_sets(truth), ranking, strict=True)
    return np.array([len(want.intersection(got)) / max(len(want), 1) for want, got in pairs])


def _squares(truth: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    y, error = truth.astype(float), truth.astype(float) - predictions.astype(float)
    return np.column_stack([np.ones_like(y), error**2, y, y**2])


def _r2(sums: np.ndarray) -> np.ndarray:
    n, residual, y, yy = (sums[..., i] for i in range(4))
    total = yy - _ratio(y**2, n)
    # A total that is but rounding belongs to a truth without spread, of which nothing can be explained.
    return 1 - _ratio(residual, np.where(total > 1e-12 * yy, total, 0))


def _labels(text: str) -> set[str]:
    return {label for label in text.split(SEPARATOR) if label}


def _label_sets(texts: np.ndarray) -> list[set[str]]:
    return [_labels(str(text)) for text in texts]


def _micro_rows(truth: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    pairs = zip(_label_sets(truth), _label_sets(predictions), strict=True)
    return np.array([(1, len(y & p), len(p - y), len(y - p)) for y, p in pairs], dtype=float).reshape(-1, 4)


def _micro_f1(sums: np.ndarray) -> np.ndarray:
    hits = 2 * sums[..., 1]
    return _ratio(hits, hits + sums[..., 2] + sums[..., 3])


def _macro_f1() -> Score:
    """Statistics: 1, then (hit, wrongly predicted, missed) a class, in the order in which classes turn up."""
    codes: dict[str, int] = {}

    # Few pairs of texts make up most rows.
    @functools.lru_cache(maxsize=2**14)
    def columns(truth: str, prediction: str) -> list[int]:
        y, p = _labels(truth), _labels(prediction)
        found = [(label, kind) for kind, labels in enumerate((y & p, p - y, y - p)) for label in sorted(labels)]
        return [0, *(1 + 3 * codes.setdefault(label, len(codes)) + kind for label, kind in found)]

    def rows(truth: np.ndarray, predictions: np.ndarray) -> sp.csr_array:
        ones = [columns(str(y), str(p)) for y, p in zip(truth, predictions, strict=True)]
        ends, at = np.cumsum([0, *map(len, ones)]), np.array(list(itertools.chain.from_iterable(ones)), dtype=int)
        return sp.csr_array((np.ones(len(at)), at, ends), shape=(len(ones), 1 + 3 * len(codes)))

    def value(sums: np.ndarray) -> np.ndarray:
        classes = sums[..., 1:].reshape(*sums.shape[:-1], -1, 3)
        hits = 2 * classes[..., 0]
        f1 = _ratio(hits, hits + classes[..., 1] + classes[..., 2])
        seen = ~np.isnan(f1)
        return _ratio(np.where(seen, f1, 0).sum(axis=-1), seen.sum(axis=-1).astype(float))

    return Score("higher", rows, value)


# Log-odds, or margins of any scale up to 10,000: rows that differ by less than 1 % (by 0.005 near 0) may share a rank.
_EDGES = 0.5 * np.sinh(np.linspace(-10.6, 10.6, 2001))
_POSITIVE = ("1", "1.0", "True", "true", "yes")


def _ranked_rows(truth: np.ndarray, predictions: np.ndarray) -> sp.csr_array:
    """Statistics: 1, then (positives, negatives) a bin of the log-odds. A truth is positive when it is in _POSITIVE."""
    n, bins = len(truth), np.digitize(predictions.astype(float), _EDGES)
    negative = ~np.isin(truth.astype(str), _POSITIVE)
    columns = np.concatenate([np.zeros(n, int), 1 + 2 * bins + negative])
    return sp.csr_array((np.ones(2 * n), (np.tile(np.arange(n), 2), columns)), shape=(n, 1 + 2 * (len(_EDGES) + 1)))


def _average_precision(sums: np.ndarray) -> np.ndarray:
    """Sum of precision times gain in recall over falling thresholds, as scikit-learn defines it."""
    bins = sums[..., 1:].reshape(*sums.shape[:-1], -1, 2)[..., ::-1, :]
    found = np.cumsum(bins, axis=-2)
    precision = _ratio(found[..., 0], found.sum(axis=-1))
    gained = _ratio(bins[..., 0], found[..., -1:, 0] + np.zeros_like(bins[..., 0]))
    return np.where(found[..., -1, 0] > 0, np.nansum(precision * gained, axis=-1), np.nan)
