import numpy as np
import pytest
import skops.io

from pipeline import artifact
from pipeline.components import retrieval
from pipeline.components.retrieval import NearestTitles

TITLES = ["赤い 長靴", "青い 長靴", "赤い 帽子", "冷蔵庫 大型", "冷蔵庫 小型", "冷蔵庫 中古"]
LABELS = np.array(["靴|赤", "靴|青", "帽子|赤", "家電", "家電", "家電|中古"], dtype=object)


def frame(*titles):
    from pandas import DataFrame

    return DataFrame({"name": titles}, dtype=object)


@pytest.fixture
def model():
    return NearestTitles("name").fit(frame(*TITLES), LABELS)


def test_labels_come_by_the_most_similar_row_that_has_them(model):
    ranked = model.rank(frame("赤い 長靴", "冷蔵庫 中古"), 3)
    assert set(ranked[0, :2]) == {"靴", "赤"}
    assert set(ranked[1, :2]) == {"家電", "中古"}
    assert ranked[0, 2] in ("青", "帽子")
    assert model.predict(frame("冷蔵庫 中古")).tolist() == [ranked[1, 0]]


def test_without_a_word_in_common_labels_come_by_frequency(model):
    assert model.rank(frame("zzz", ""), 3).tolist() == [["家電", "赤", "靴"]] * 2


def test_a_ranking_holds_each_label_once_and_no_more_than_there_are(model):
    ranked = model.rank(frame("赤い 冷蔵庫"), 100)
    assert sorted(ranked[0]) == sorted({"靴", "赤", "青", "帽子", "家電", "中古"})
    assert model.rank(frame("赤い", "青い"), 2).shape == (2, 2)


def test_a_ranking_does_not_depend_on_how_many_rows_are_asked_at_a_time(model, monkeypatch):
    titles = frame(*TITLES, "赤い 冷蔵庫", "青い 帽子")
    whole = model.rank(titles, 6)
    monkeypatch.setattr(retrieval, "_CELLS", 1)
    assert model.rank(titles, 6).tolist() == whole.tolist()


def test_it_is_stored_and_loaded_without_a_type_that_nobody_trusts(model):
    stored = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(artifact.TRUSTED)
    loaded = skops.io.loads(stored, trusted=list(artifact.TRUSTED))
    assert loaded.rank(frame("赤い 帽子"), 6).tolist() == model.rank(frame("赤い 帽子"), 6).tolist()
