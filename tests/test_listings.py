import socket
import sqlite3
import unicodedata
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.components.japanese import words_and_pairs
from pipeline.components.labels import split
from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.listings import catalogue, rows, tree, words, write
from pipeline.listings.table import TABLE

SEED = 7
MONDAY = date(2025, 9, 1)
YEAR = timedelta(days=365)


def frame(start, days, per_day, seed=SEED):
    from pandas import concat

    return concat(rows(start, start + timedelta(days=days), per_day, seed), ignore_index=True)


@pytest.fixture(scope="module")
def month():
    return frame(MONDAY, 28, 3000)


def test_a_day_is_the_same_whatever_range_it_is_asked_in():
    from pandas.testing import assert_frame_equal

    day = MONDAY + timedelta(days=40)
    alone = frame(day, 1, 200)
    within = list(rows(MONDAY, MONDAY + timedelta(days=60), 200, SEED))[40]
    assert_frame_equal(alone, within)
    assert not alone.equals(frame(day, 1, 200, seed=SEED + 1))
    assert list(rows(day, day, 200, SEED)) == []


def test_the_tree_has_a_thousand_leaves_and_more_open_each_season(month):
    now, year_later = (set(tree.leaves(SEED, catalogue.season_of(day)).category) for day in (MONDAY, MONDAY + YEAR))
    assert len(now) >= 1000
    assert now < year_later
    assert len(year_later - now) == 4 * tree.NEW_LEAVES
    assert {leaf.rpartition("/")[0] for leaf in year_later} == {leaf.rpartition("/")[0] for leaf in now}
    assert all(leaf.count("/") == 2 for leaf in year_later)
    seen, seen_later = set(month["category"]), set(frame(MONDAY + YEAR, 7, 3000)["category"])
    assert 1000 <= len(seen) <= len(now)
    assert len(seen_later - now) >= 2 * tree.NEW_LEAVES


def test_rows_are_what_the_columns_promise(month):
    assert list(month) == list(TABLE.c.keys())
    assert not month.isna().any().any()
    assert month["item_id"].is_unique
    assert month["title"].str.strip().str.len().min() > 0
    assert all(unicodedata.is_normalized("NFC", title) for title in month["title"])
    assert set(month["channel"]) == {"app", "web"}
    assert month["price"].min() >= 300
    assert month["weight"].min() > 0
    assert all(labels == sorted(set(labels)) for labels in split(month["tags"]))


def test_labels_mature_one_to_two_days_after_the_listing(month):
    delay = month["labelled_at"] - month["listed_at"]
    assert delay.min() >= timedelta(days=1)
    assert delay.max() <= timedelta(days=2)
    assert month["listed_at"].is_monotonic_increasing
    assert month["listed_at"].iloc[0] >= datetime(2025, 9, 1, tzinfo=UTC)
    assert month["listed_at"].iloc[-1] < datetime(2025, 9, 29, tzinfo=UTC)


def test_weekends_are_busier_and_the_mean_is_as_asked(month):
    volume = month.groupby(month["listed_at"].dt.day_of_week).size() / 4
    assert volume[[5, 6]].min() > 1.05 * volume[[0, 1, 2, 3, 4]].max()
    assert volume.mean() == pytest.approx(3000, rel=0.03)


def test_prices_inflate_year_by_year():
    early, late = (np.log(frame(date(year, 9, 1), 7, 5000)["price"]).mean() for year in (2022, 2026))
    assert (late - early) / 4 == pytest.approx(np.log(1.05), abs=0.015)


def test_violations_are_rare_follow_risky_phrases_and_these_change(month):
    assert 0.003 < month["violation"].mean() < 0.007
    phrases = month["title"].map(risky_phrases)
    rates = month.groupby(phrases.map(bool))["violation"].mean()
    assert rates[True] > 0.4
    assert rates[False] < 0.002
    in_use, later = (
        set().union(*told) for told in (phrases, frame(MONDAY + YEAR, 7, 3000)["title"].map(risky_phrases))
    )
    assert in_use
    assert later
    assert not in_use & later


def risky_phrases(title):
    return set(words.lists()["risky"]).intersection(title.split(" "))


def test_a_frozen_model_decays_within_two_seasons_and_a_retrained_one_recovers():
    trained, later = date(2025, 4, 1), date(2025, 10, 1)
    frozen, retrained = fitted(trained), fitted(later)
    at_home, baseline = accuracy(frozen, trained)
    decayed, _ = accuracy(frozen, later)
    recovered, _ = accuracy(retrained, later)
    assert at_home > baseline + 0.5
    assert decayed < at_home - 0.05
    assert recovered > decayed + 0.6 * (at_home - decayed)


def hobby_rows(start, days):
    listings = frame(start, days, 1000)
    return listings[listings["category"].str.match("ゲーム・ホビー/|楽器/")]


def fitted(end):
    """A model of some 120 leaves, trained on the season before ``end``."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    listings = hobby_rows(end - timedelta(days=90), 90)
    model = make_pipeline(
        TfidfVectorizer(analyzer=words_and_pairs, min_df=2),
        SGDClassifier(alpha=1e-5, max_iter=5, tol=None, random_state=0),
    )
    return model.fit(listings["title"], listings["category"])


def accuracy(model, start):
    """The model's accuracy in the fortnight after the gap of two days, and that of the most frequent leaf."""
    listings = hobby_rows(start + timedelta(days=2), 14)
    frequent = listings["category"].value_counts(normalize=True).iloc[0]
    return (model.predict(listings["title"]) == listings["category"]).mean(), frequent


def content(url):
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.execute(sa.select(TABLE).order_by(TABLE.c.item_id)).all()


def test_sqlite_keeps_time_as_text_and_a_rerun_changes_nothing(tmp_path):
    url = f"sqlite:///{tmp_path}/rows.db"
    end = MONDAY + timedelta(days=3)
    written = write(url, MONDAY, end, 100, SEED)
    first = content(url)
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        stored = connection.execute("select * from listings order by item_id").fetchall()
    expected = frame(MONDAY, 3, 100)
    for moment in ("listed_at", "labelled_at"):
        expected[moment] = expected[moment].dt.strftime("%Y-%m-%d %H:%M:%S")
    assert written == len(stored) == len(expected)
    assert stored == [tuple(row) for row in expected.astype(object).to_numpy()]
    assert write(url, MONDAY + timedelta(days=1), end, 100, SEED) < written
    assert content(url) == first


def test_a_day_is_replaced_whole_or_not_at_all(tmp_path):
    url = f"sqlite:///{tmp_path}/rows.db"
    write(url, MONDAY, MONDAY + timedelta(days=2), 100, SEED)
    before = content(url)
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute(
            "create trigger refusal before insert on listings when new.item_id = '20250902-0000050' "
            "begin select raise(abort, 'refused'); end"
        )
    with pytest.raises(Permanent, match="refused"):
        write(url, MONDAY, MONDAY + timedelta(days=2), 120, SEED)
    after = content(url)
    assert [row for row in after if row.item_id.startswith("20250902")] == [
        row for row in before if row.item_id.startswith("20250902")
    ]
    assert len(after) > len(before)


def test_postgresql_takes_the_same_rows_and_a_rerun_changes_nothing(postgres_url):
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    end = MONDAY + timedelta(days=2)
    try:
        written = write(postgres_url, MONDAY, end, 100, SEED)
        first = content(postgres_url)
        write(postgres_url, MONDAY, end, 100, SEED)
        assert content(postgres_url) == first
        assert [tuple(row) for row in first] == [tuple(row) for row in frame(MONDAY, 2, 100).astype(object).to_numpy()]
        assert len(first) == written
    finally:
        TABLE.drop(engine)


@pytest.mark.parametrize("url", ["no url", "nosuch://host/rows"])
def test_a_url_that_is_none_is_a_config_error(url):
    with pytest.raises(ConfigError, match="expected an SQLAlchemy URL"):
        write(url, MONDAY, MONDAY, 1, SEED)


def test_a_database_that_does_not_answer_is_temporary_and_its_password_stays_unsaid():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(Temporary, match=address) as raised:
            write(f"postgresql+psycopg://zeta:secret@{address}/rows", MONDAY, MONDAY + YEAR, 1, SEED)
    assert "secret" not in str(raised.value)
