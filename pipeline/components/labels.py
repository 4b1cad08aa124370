"""Label sets: several labels a row, written as one text 'a|b', for any scikit-learn estimator of indicators."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.preprocessing import MultiLabelBinarizer

SEPARATOR = "|"


def split(texts: np.ndarray) -> list[list[str]]:
    """Return the labels of each of n texts; an empty text has none."""
    return [[label for label in text.split(SEPARATOR) if label] for text in texts]


class LabelSets(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Fits ``estimator`` on an indicator matrix and answers in texts, labels in alphabetical order."""

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: np.ndarray) -> "LabelSets":
        """Fit on n rows and n texts such as 'a|b'."""
        binarizer = MultiLabelBinarizer()
        self.estimator_ = clone(self.estimator).fit(X, binarizer.fit_transform(split(y)))
        self.classes_ = binarizer.classes_.astype(str)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return (n,) texts."""
        # One label alone comes back as (n,).
        indicators = np.asarray(self.estimator_.predict(X), dtype=bool).reshape(-1, len(self.classes_))
        return np.array([SEPARATOR.join(self.classes_[row]) for row in indicators], dtype=object)
