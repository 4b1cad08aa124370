"""Words and word pairs of the title, one linear classifier a site."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from pipeline.components.japanese import words_and_pairs


def build(params: dict[str, Any]) -> BaseEstimator:
    """Return an unfitted estimator."""
    titles = TfidfVectorizer(analyzer=words_and_pairs, sublinear_tf=True)
    return make_pipeline(make_column_transformer((titles, "title")), OneVsRestClassifier(LinearSVC(random_state=0)))
