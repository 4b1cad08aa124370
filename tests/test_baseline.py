from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline import baseline
from pipeline.baseline import Baseline
from pipeline.errors import ConfigError


def fit(kind, task, labels, k=10):
    return baseline.fit(kind, task, np.array(labels, dtype=object), k)


def test_the_most_frequent_label_answers_every_row_and_the_others_follow_it():
    found = fit("most_frequent", "classification", list("bbcbac"))
    assert found.predict(2, "labels").tolist() == ["b", "b"]
    assert found.predict(2, "ranking").tolist() == [["b", "c", "a"]] * 2
    assert found.predict(2, "scores").tolist() == [0.0, 0.0]


def test_a_multilabel_answer_is_the_labels_of_most_rows_or_else_the_commonest():
    assert fit("most_frequent", "multilabel", ["a|b", "a", "b|c", "a|b"]).answer == "a|b"
    assert fit("most_frequent", "multilabel", ["a|b", "b|c", "a|d", "e"]).answer == "a"
    assert fit("most_frequent", "multilabel", ["", "", "", "a"]).answer == ""


def test_a_ranking_is_as_long_as_the_score_wants_and_no_longer_than_there_are_labels():
    labels = [f"l{i:02}" for i in range(30) for _ in range(40 - i)]
    assert fit("most_frequent", "retrieval", labels, k=12).predict(3, "ranking").shape == (3, 12)
    assert fit("most_frequent", "retrieval", labels, k=2).ranking == [f"l{i:02}" for i in range(5)]
    assert fit("most_frequent", "retrieval", ["a|b", "b"], k=12).predict(1, "ranking").tolist() == [["b", "a"]]


def test_numbers_are_answered_by_their_median_or_by_the_last_one():
    labels = [1.0, 2.0, 30.0, 4.0]
    assert fit("median", "regression", labels).predict(2, "labels").tolist() == [3.0, 3.0]
    assert fit("last_value", "regression", labels).answer == 4.0


def test_a_rule_of_the_models_own_answers_from_the_rows():
    own = SimpleNamespace(heavy=lambda frame: np.where(frame["weight"] > 1, "heavy", "light"), limit=1)
    answers = baseline.rule("model.heavy", own)(pd.DataFrame({"weight": [0.5, 2.0]}), "labels", 1)
    assert answers.tolist() == ["light", "heavy"]
    assert answers.dtype == object
    for kind in ("model.nowhere", "model.limit"):
        with pytest.raises(ConfigError, match=f"gate.baseline: '{kind}' is not there"):
            baseline.rule(kind, own)


def test_a_baseline_is_remembered_as_it_was():
    import msgspec

    for kept in (fit("median", "regression", [1.0, 2.0]), fit("most_frequent", "classification", ["a", "b", "a"])):
        assert msgspec.json.decode(msgspec.json.encode(kept), type=Baseline) == kept
