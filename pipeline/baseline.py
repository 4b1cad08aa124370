"""The simple baseline: what a model has to beat to be worth its cost."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation import Subject
from pipeline.manifest import Kind
from pipeline.scores import SEPARATOR

if TYPE_CHECKING:
    from pandas import DataFrame


class Baseline(msgspec.Struct, frozen=True):
    """One answer for every row: a label, a label set or a number, and a ranking for scores that want one."""

    answer: str | float
    ranking: list[str]

    def predict(self, rows: int, output: str) -> np.ndarray:
        """Return (rows,) answers, (rows, k) rankings, or (rows,) equal log-odds."""
        if output == "ranking":
            return np.array([self.ranking] * rows, dtype=object).reshape(rows, -1)
        return np.full(rows, 0.0 if output == "scores" else self.answer, dtype=object)


def fit(kind: str, task: str, labels: np.ndarray, k: int) -> Baseline:
    """Learn the baseline called ``kind`` from (n,) training labels, oldest first."""
    if task == "regression":
        values = labels.astype(float)
        return Baseline(float(np.median(values) if kind == "median" else values[-1]), [])
    counts = Counter(label for text in labels for label in str(text).split(SEPARATOR))
    ranking = [label for label, _ in counts.most_common(max(k, 5))]
    if task == "multilabel":
        frequent = sorted(label for label, count in counts.items() if count > len(labels) / 2)
        return Baseline(SEPARATOR.join(frequent or ranking[:1]), ranking)
    return Baseline(ranking[0], ranking)


def subject(kind: str, own: ModuleType, fitted: Baseline, features: Mapping[str, Kind]) -> Subject:
    """Return the baseline called ``kind`` as something that predicts: a model's own rule, or what was fitted.

    Raises ConfigError when the model's code has no such rule.
    """
    if kind.startswith("model."):
        return Subject(features, rule(kind, own))
    return Subject(features, lambda frame, output, k: fitted.predict(len(frame), output))


def rule(kind: str, own: ModuleType) -> Callable[["DataFrame", str, int], np.ndarray]:
    """Return a model's own rule, its code's ``function(frame) -> (n,)`` named ``model.<function>``, as a predictor.

    Raises ConfigError when the code has no such function.
    """
    function = getattr(own, kind.removeprefix("model."), None)
    if not callable(function):
        raise ConfigError(f"gate.baseline: {kind!r} is not there; expected a function of the rows in model.py")
    return lambda frame, output, k: np.asarray(function(frame), dtype=object)
