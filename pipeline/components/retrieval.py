"""Retrieval: the answers of the most similar rows, ranked."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.components.japanese import words_and_pairs
from pipeline.components.labels import split

if TYPE_CHECKING:
    from pandas import DataFrame
    from scipy.sparse import csr_matrix

# So many similarities (queries times training rows) are held at a time: 64 MiB.
_CELLS = 8_000_000


class NearestTitles(BaseEstimator):
    """Ranks labels by the cosine similarity (TF-IDF of words and word pairs) of the most similar row that has them.

    Labels that are equally similar, such as all of them for a text of unknown words, come by frequency.
    """

    def __init__(self, column: str = "title") -> None:
        self.column = column

    def fit(self, X: "DataFrame", y: np.ndarray) -> "NearestTitles":
        """Remember n rows and their n texts of labels 'a|b'."""
        self.vectorizer_ = TfidfVectorizer(analyzer=words_and_pairs, sublinear_tf=True)
        titles = self.vectorizer_.fit_transform(X[self.column])
        pairs = [(label, row) for row, labels in enumerate(split(y)) for label in labels]
        labels, found, counts = np.unique([label for label, _ in pairs], return_inverse=True, return_counts=True)
        frequent = np.argsort(-counts, kind="stable")
        self.classes_ = labels[frequent]
        # Rows stand in the order of their labels, so that the best row of each label is one reduction over neighbours.
        by_label = np.argsort(np.argsort(frequent)[found], kind="stable")
        self.titles_ = titles[np.array([row for _, row in pairs])[by_label]]
        self.starts_ = np.concatenate([[0], np.cumsum(counts[frequent])[:-1]])
        return self

    def predict(self, X: "DataFrame") -> np.ndarray:
        """Return the (n,) best labels."""
        return self.rank(X, 1)[:, 0]

    def rank(self, X: "DataFrame", k: int) -> np.ndarray:
        """Return (n, min(k, labels)) labels, best first."""
        queries = self.vectorizer_.transform(X[self.column])
        step = max(_CELLS // self.titles_.shape[0], 1)
        ranked = [self._nearest(queries[first : first + step], k) for first in range(0, queries.shape[0], step)]
        return self.classes_[np.concatenate(ranked)]

    def _nearest(self, queries: "csr_matrix", k: int) -> np.ndarray:
        similar = (queries @ self.titles_.T).toarray()
        best = np.maximum.reduceat(similar, self.starts_, axis=1)
        # Rounded, so that equals stay equal where a processor adds up in another order.
        return np.argsort(-best.round(9), axis=1, kind="stable")[:, :k]
