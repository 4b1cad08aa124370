from datetime import UTC, datetime, timedelta

import pytest

from pipeline import config, sample, scaffold
from pipeline.data import KEY, Window
from pipeline.errors import DataError
from pipeline.scaffold import Columns

FIRST = (datetime(2026, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


class Rows:
    """A source of rows, newest first, in batches of ``size``; it remembers how many it has handed out."""

    def __init__(self, frame, size=100):
        self.frame, self.size, self.given = frame.sort_values("created_at", ascending=False), size, 0

    def batches(self, query, start, end):
        inside = self.frame[(self.frame.created_at >= start) & (self.frame.created_at < end)]
        for first in range(0, len(inside), self.size):
            self.given += self.size
            yield inside.iloc[first : first + self.size].astype(object).reset_index(drop=True)


def rows(days, per_day, labels):
    from pandas import DataFrame

    return DataFrame(
        {
            "item_id": range(days * per_day),
            "created_at": [
                datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=i // per_day) for i in range(days * per_day)
            ],
            "title": "本",
            "label": [labels(i) for i in range(days * per_day)],
        }
    )


@pytest.fixture
def rules(tmp_path):
    return config.load(scaffold.new("toy", "classification", tmp_path, columns=Columns())[0])


def read(source, rules, window):
    return sample.read(source, rules, lambda text: None, window)


def test_all_rows_are_counted_and_the_newest_labelled_kept(rules, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 150)
    table = rows(50, 20, lambda i: None if i % 4 == 0 else "ab"[i % 2])
    found = read(Rows(table), rules, Window(FIRST, FIRST + 50))
    assert (found.profile.rows, found.labelled, found.profile.nulls["label"]) == (1000, 750, 250)
    newest = table[table.label.notna()].tail(150)
    kept = found.frame.tail(150)
    assert sorted(kept.item_id) == sorted(newest.item_id)
    assert kept.created_at.is_monotonic_increasing
    assert len(found.frame) <= 150 + 2 * 10


def test_a_label_that_is_rare_is_kept_beside_the_newest_rows(rules, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 100)
    table = rows(50, 20, lambda i: "rare" if i < 30 else "common")
    found = read(Rows(table), rules, Window(FIRST, FIRST + 50))
    assert found.frame.label.value_counts().to_dict() == {"common": 110, "rare": 10}
    assert found.frame[KEY].is_unique
    number = rules.model_copy(update={"task": "multilabel"})
    assert len(read(Rows(table), number, Window(FIRST, FIRST + 50)).frame) == 100


def test_no_rows_are_a_sample_of_none(rules):
    found = read(Rows(rows(5, 2, lambda i: "a")), rules, Window(FIRST + 10, FIRST + 20))
    assert (found.profile.rows, found.labelled, len(found.frame)) == (0, 0, 0)


@pytest.mark.parametrize("late", [0, 1, 40, 2000])
def test_the_newest_rows_are_found_however_far_back_without_reading_them_all(rules, late):
    source = Rows(rows(50, 20, lambda i: "a"), size=10)
    window = sample.newest_window(source, rules, 7, FIRST + 50 + late)
    assert window == Window(FIRST + 43, FIRST + 50)
    assert source.given < 300


def test_no_rows_at_all_are_an_error(rules):
    with pytest.raises(DataError, match=r"toy.sql gives no row before 2026-01-01; fill its table"):
        sample.newest_window(Rows(rows(5, 2, lambda i: "a")), rules, 7, FIRST)
