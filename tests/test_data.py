from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from pipeline import data
from pipeline.data import DAY, EPOCH, KEY, Window
from pipeline.errors import DataError
from tests.parts import Frames, listings, model, tidy

NEW_YEAR = (date(2026, 1, 5) - EPOCH).days
TOKYO = timezone(timedelta(hours=9))


def rows(**columns):
    """Return as many rows as a column has values, usual but for the columns given."""
    n = len(next(iter(columns.values())))
    usual = listings(NEW_YEAR, 1, n)
    for column, values in columns.items():
        usual[column] = pd.Series(values, dtype=object)
    return usual


def read(config, frame, window=None):
    [found] = tidy(config, frame, window=window or Window(NEW_YEAR, NEW_YEAR + 1))
    return found


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("UTC", "2026-01-05 00:00:00", 0),
        ("UTC", "2026-01-05T23:59:59.999999", 0),
        ("UTC", "2026-01-05", 0),
        ("UTC", datetime(2026, 1, 4, 23, 59, 59), -1),
        ("UTC", datetime(2026, 1, 5, 8, 59, tzinfo=TOKYO), -1),
        ("Asia/Tokyo", "2026-01-04 14:59:59", -1),
        ("Asia/Tokyo", "2026-01-04 15:00:00", 0),
        ("Asia/Tokyo", "2026-01-05T00:00:00+09:00", 0),
        ("Asia/Tokyo", datetime(2026, 1, 5, 0, 0, tzinfo=TOKYO), 0),
        ("Asia/Tokyo", datetime(2026, 1, 5, 15, 0, tzinfo=UTC), 1),
        ("Asia/Tokyo", date(2026, 1, 5), 0),
        ("America/New_York", "2026-01-05T04:59:59Z", -1),
        ("America/New_York", "2026-01-05T05:00:00Z", 0),
    ],
)
def test_a_row_belongs_to_the_day_that_it_is_in_the_models_timezone(tmp_path, zone, at, day):
    config = model(tmp_path, timezone=zone)
    window = Window(NEW_YEAR - 1, NEW_YEAR + 2)
    assert read(config, rows(at=[at]), window)[DAY].tolist() == [NEW_YEAR + day]


def test_texts_and_times_may_stand_in_one_column(tmp_path):
    at = ["2026-01-05", "2026-01-05T10:00:00.5Z", datetime(2026, 1, 5, 3), "2026-01-05 23:00:00+01:00"]
    assert read(model(tmp_path), rows(at=at))[DAY].tolist() == [NEW_YEAR] * 4


def test_every_hour_of_a_day_with_a_clock_change_is_of_that_day(tmp_path):
    config = model(tmp_path, timezone="America/New_York")
    changed = (date(2026, 3, 8) - EPOCH).days
    start, end = (data.midnight(day, config) for day in (changed, changed + 1))
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=23)
    hours = [start.astimezone(UTC) + timedelta(hours=hour) for hour in range(23)]
    assert read(config, rows(at=hours), Window(changed, changed + 1))[DAY].tolist() == [changed] * 23


@pytest.mark.parametrize(
    ("zone", "matures", "at", "day"),
    [
        ("UTC", "0d", datetime(2026, 1, 5, 0, 0, tzinfo=UTC), 0),
        ("UTC", "0d", datetime(2026, 1, 4, 23, 59, tzinfo=UTC), -1),
        ("UTC", "2d", datetime(2026, 1, 7, 5, tzinfo=UTC), 0),
        ("UTC", "36h", datetime(2026, 1, 6, 11, tzinfo=UTC), -1),
        ("UTC", "36h", datetime(2026, 1, 6, 12, tzinfo=UTC), 0),
        ("Asia/Tokyo", "0d", datetime(2026, 1, 4, 14, 59, tzinfo=UTC), -1),
        ("Asia/Tokyo", "0d", datetime(2026, 1, 4, 15, 0, tzinfo=UTC), 0),
        ("Asia/Tokyo", "2d", datetime(2026, 1, 7, 5, tzinfo=ZoneInfo("Asia/Tokyo")), 0),
    ],
)
def test_a_day_counts_once_all_its_labels_are_mature(tmp_path, zone, matures, at, day):
    config = model(tmp_path, timezone=zone, data={"matures_after": matures})
    assert data.matured_end(at, config) == NEW_YEAR + day


def test_the_source_is_asked_for_midnight_to_midnight_with_the_models_query(tmp_path):
    config = model(tmp_path, timezone="Asia/Tokyo")
    source = Frames()
    assert list(data.read(source, config, Window(NEW_YEAR, NEW_YEAR + 7))) == []
    [(query, start, end)] = source.asked
    assert query == (tmp_path / "toy" / "rows.sql").read_text()
    assert (start.isoformat(), end.isoformat()) == ("2026-01-05T00:00:00+09:00", "2026-01-12T00:00:00+09:00")


@pytest.mark.parametrize(("text", "days"), [("0d", 1), ("3h", 1), ("24h", 1), ("25h", 2), ("7d", 7), ("2w", 14)])
def test_a_started_day_counts_whole(tmp_path, text, days):
    assert data.whole_days(model(tmp_path, training={"window": text}).training.window) == days


def test_a_window_says_its_first_and_last_day():
    assert (str(Window(NEW_YEAR, NEW_YEAR + 7)), Window(NEW_YEAR, NEW_YEAR + 7).days) == ("2026-01-05..2026-01-11", 7)
    assert Window(NEW_YEAR, NEW_YEAR - 3).days == 0


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (rows(title=["a"]).drop(columns=["title", "channel"]), "must give each of ['title', 'channel'] once"),
        (pd.concat([rows(title=["a"]), rows(title=["a"])[["title"]]], axis=1), "must give each of ['title'] once"),
        (rows(at=["2026-01-05", "last week"]), "at is not a time: Time data last week is not ISO8601"),
        (rows(at=["2026-01-05", ""]), "at is not a time: ''"),
        (rows(at=["2026-01-05", "2026-13-05"]), "at is not a time"),
        (rows(at=[b"2026-01-05"]), "at is not a time"),
        (rows(at=["2026-01-05", None]), "1 rows have no at"),
        (rows(item_id=["a", None, float("nan")]), "2 rows have no item_id"),
        (rows(at=["2026-01-05", "2026-01-04 23:59:59"]), "rows.sql gives rows outside 2026-01-05..2026-01-05"),
        (rows(at=["2026-01-06 00:00:00"]), "rows outside 2026-01-05..2026-01-05, such as '2026-01-06 00:00:00'"),
        (rows(at=[1767571200]), "rows outside 2026-01-05..2026-01-05, such as 1767571200"),
        (rows(category=["a|b"]), "category is 'a|b'; '|' separates the labels of a multilabel"),
    ],
)  # fmt: skip
def test_rows_from_which_nothing_can_be_computed_are_refused(tmp_path, frame, words):
    with pytest.raises(DataError) as caught:
        read(model(tmp_path), frame)
    assert str(caught.value).startswith("toy: ")
    assert words in str(caught.value)


def test_nulls_are_kept_for_the_data_checks_to_count(tmp_path):
    found = read(
        model(tmp_path), rows(title=[None, "a"], weight=[1, None], channel=[None, "app"], category=[None, "本"])
    )
    assert found[["title", "weight", "channel", "category"]].isna().to_numpy().tolist() == [
        [True, False, True, True],
        [False, True, False, False],
    ]


@pytest.mark.parametrize(
    ("task", "values", "labels"),
    [
        ("classification", [1, 2.5, True, "x", "", None, float("nan")], ["1", "2.5", "True", "x", "", None, None]),
        ("multilabel", ["a|b", "", None], ["a|b", "", None]),
        ("regression", [1, Decimal("2.5"), "3", True, None, "much"], [1.0, 2.5, 3.0, 1.0, None, None]),
    ],
)
def test_labels_are_texts_or_for_a_regression_floats(tmp_path, task, values, labels):
    fits = {"classification": ("accuracy", "most_frequent"), "multilabel": ("micro_f1", "most_frequent")}
    score, baseline = fits.get(task, ("mae", "median"))
    config = model(tmp_path, task=task, evaluation={"score": score}, gate={"baseline": baseline})
    found = read(config, rows(category=values))["category"]
    assert [None if value != value or value is None else value for value in found] == labels
    assert found.dtype == (float if task == "regression" else object)


def test_a_key_is_the_same_entity_whether_it_comes_as_a_number_or_a_text(tmp_path):
    config = model(tmp_path)
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    keys = read(config, rows(item_id=[7, "7", Decimal(7), np.int64(7), 7.0, uuid, str(uuid)]))[KEY]
    assert keys.dtype == np.uint64
    assert [keys[0] == key for key in keys] == [True, True, True, True, False, False, False]
    assert keys[5] == keys[6]


def test_keys_are_hashed_for_ever_alike(tmp_path):
    # keys.npy of every model ever trained holds these: another hash would let trained rows back into the evaluation.
    found = read(model(tmp_path), rows(item_id=["1", "m12345", "商品"]))[KEY].tolist()
    assert found == [15289156711003816966, 11905439666191845858, 16673690506542588780]


def test_one_batch_or_many_give_the_same_rows(tmp_path):
    config = model(tmp_path)
    whole = listings(NEW_YEAR, 3, 10)
    parts = [whole.iloc[:7], whole.iloc[7:8], whole.iloc[8:]]
    together = pd.concat(tidy(config, *parts), ignore_index=True)
    pd.testing.assert_frame_equal(together, tidy(config, whole)[0].reset_index(drop=True))


def test_a_slice_column_that_is_a_feature_too_stays_a_feature(tmp_path):
    config = model(tmp_path, evaluation={"slices": ["weight", "category"]})
    found = read(config, rows(weight=[1, None, 2.5], category=["本", None, "家電"]))
    assert data.kinds(found, config)["weight"] == "number"
    assert found["weight"].isna().tolist() == [False, True, False]
    assert found["category"].notna().tolist() == [True, False, True]
    assert data.slice_values(found["weight"]).tolist() == ["1", "(none)", "2.5"]
    assert data.slice_values(found["category"]).tolist() == ["本", "(none)", "家電"]


@pytest.mark.parametrize(
    ("values", "kind", "seen"),
    [
        (["a", None, 3], "string", ["a", "", "3"]),
        ([1, None, 2], "number", [1.0, None, 2.0]),
        ([Decimal("1.5"), True, float("nan")], "number", [1.5, 1.0, None]),
        ([None, None], "number", [None, None]),
        (["", "2.5"], "string", ["", "2.5"]),
    ],
)
def test_a_feature_is_a_text_or_a_number_however_it_arrives(tmp_path, values, kind, seen):
    config = model(tmp_path)
    found = read(config, rows(weight=values))
    kinds = data.kinds(found, config)
    assert kinds == {"title": "string", "weight": kind}
    inputs = data.inputs(found, kinds)
    assert list(inputs) == ["title", "weight"]
    assert inputs["weight"].dtype == (object if kind == "string" else float)
    assert [row["weight"] for row in data.records(inputs)] == seen


def test_a_feature_keeps_the_kind_that_it_had_at_training():
    arrived = pd.DataFrame({"title": [3, None], "weight": ["7", "heavy"]}, dtype=object)
    assert data.records(data.inputs(arrived, {"weight": "number", "title": "string"})) == [
        {"weight": 7.0, "title": "3"},
        {"weight": None, "title": ""},
    ]


@pytest.mark.parametrize("odd", [datetime(2026, 1, 5), date(2026, 1, 5), b"bytes", ["a"], {"a": 1}])
def test_a_feature_that_is_neither_text_nor_number_is_refused_at_training(tmp_path, odd):
    config = model(tmp_path)
    with pytest.raises(DataError, match=rf"weight holds \['{type(odd).__name__}'\]; a feature is a text or a number"):
        data.kinds(read(config, rows(weight=[1, odd])), config)


def test_rows_that_a_client_sends_back_are_seen_as_they_were(tmp_path):
    config = model(tmp_path)
    found = read(config, rows(title=["青い万年筆", None, ""], weight=[1, None, Decimal("0.1")]))
    kinds = data.kinds(found, config)
    seen = data.inputs(found, kinds)
    pd.testing.assert_frame_equal(data.frame(data.records(seen), kinds), seen.reset_index(drop=True))
