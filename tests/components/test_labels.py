import numpy as np
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.tree import DecisionTreeClassifier

from pipeline.components.labels import LabelSets, split

X = np.random.default_rng(0).normal(size=(80, 2))
RIGHT, HIGH = X[:, 0] > 0, X[:, 1] > 0
BOTH = np.array(
    ["|".join(["right"] * int(a) + ["high"] * int(b)) for a, b in zip(RIGHT, HIGH, strict=True)], dtype=object
)
ESTIMATORS = [OneVsRestClassifier(LogisticRegression(C=1e6)), MultiOutputClassifier(LogisticRegression(C=1e6)),
              DecisionTreeClassifier()]  # fmt: skip


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_label_sets_are_learnt_and_answered_in_alphabetical_order(estimator):
    answers = LabelSets(estimator).fit(X, BOTH).predict(X)
    expected = ["|".join(["high"] * int(b) + ["right"] * int(a)) for a, b in zip(RIGHT, HIGH, strict=True)]
    assert (answers == np.array(expected, dtype=object)).mean() > 0.97
    assert "" in answers
    assert answers.dtype == object


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("rows", [1, 2, 80])
def test_one_label_is_a_label_set_too(estimator, rows):
    texts = np.where(RIGHT, "right", "").astype(object)
    answers = LabelSets(estimator).fit(X, texts).predict(X[:rows])
    assert answers.shape == (rows,)
    assert (answers == texts[:rows]).mean() > 0.9


def test_the_estimator_that_is_given_stays_unfitted_and_its_parameters_are_seen():
    given_one = OneVsRestClassifier(LogisticRegression(random_state=3))
    sets = clone(LabelSets(given_one)).set_params(estimator__estimator__random_state=7).fit(X, BOTH)
    assert not hasattr(given_one, "estimators_")
    assert given_one.estimator.random_state == 3
    assert sets.get_params()["estimator__estimator__random_state"] == 7
    assert sets.classes_.tolist() == ["high", "right"]


def test_label_sets_are_stored_without_pickle():
    sets = LabelSets(OneVsRestClassifier(LogisticRegression())).fit(X, BOTH)
    stored = skops.io.dumps(sets)
    assert skops.io.get_untrusted_types(data=stored) == ["pipeline.components.labels.LabelSets"]
    loaded = skops.io.loads(stored, trusted=["pipeline.components.labels.LabelSets"])
    assert loaded.predict(X).tolist() == sets.predict(X).tolist()


@given(sets=st.lists(st.lists(st.text("abc日本 ", min_size=1), max_size=4)))
def test_splitting_undoes_joining(sets):
    assert split(np.array(["|".join(labels) for labels in sets], dtype=object)) == sets


def test_empty_names_are_no_labels():
    assert split(np.array(["", "|", "a||b|"], dtype=object)) == [[], [], ["a", "b"]]
