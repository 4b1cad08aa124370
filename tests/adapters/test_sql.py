import itertools
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa

from pipeline.adapters import sql
from pipeline.adapters.sql import SqlSource
from pipeline.data import EPOCH, Window, read
from pipeline.errors import ConfigError, DataError, Temporary
from tests.parts import model

START, END = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
TIMES = ["2026-01-04 23:59:59", "2026-01-05 00:00:00", "2026-01-06 23:59:59", "2026-01-07 00:00:00"]
QUERY = "SELECT * FROM listings WHERE at >= :start AND at < :end ORDER BY item_id"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a database with four listings, one a second outside the window on either side."""
    if request.param == "sqlite":
        found, kinds = f"sqlite:///{tmp_path / 'rows.db'}", "item_id INTEGER, at TEXT, title TEXT, price NUMERIC"
    else:
        found, kinds = request.getfixturevalue("postgres_url"), "item_id INT, at TIMESTAMPTZ, title TEXT, price NUMERIC"
    engine = sa.create_engine(found, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS listings")
        connection.exec_driver_sql(f"CREATE TABLE listings ({kinds})")
        for number, at in enumerate(TIMES):
            moment = at if request.param == "sqlite" else f"{at}+00"
            values = {"number": number, "at": moment, "title": None if number == 1 else "100% 青い: it's -- new"}
            connection.execute(sa.text("INSERT INTO listings VALUES (:number, :at, :title, 1.5)"), values)
    yield found
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE listings")


def rows(url, query=QUERY, start=START, end=END):
    """Return all rows as tuples."""
    return [tuple(row) for batch in SqlSource(url).batches(query, start, end) for row in batch.to_numpy().tolist()]


def numbers(url, query=QUERY, **window):
    return [row[0] for row in rows(url, query, **window)]


def test_rows_come_from_the_start_until_just_before_the_end_in_the_querys_order(url):
    assert numbers(url) == [1, 2]
    assert numbers(url, QUERY + " DESC") == [2, 1]
    assert numbers(url, start=START - timedelta(days=1), end=END + timedelta(seconds=1)) == [0, 1, 2, 3]


def test_the_window_is_the_same_in_any_timezone(url):
    tokyo = timezone(timedelta(hours=9))
    assert numbers(url, start=START.astimezone(tokyo), end=END.astimezone(tokyo)) == [1, 2]
    assert numbers(url, start=datetime(2026, 1, 5, tzinfo=tokyo), end=datetime(2026, 1, 7, tzinfo=tokyo)) == [0, 1]


def test_values_come_as_the_database_has_them(url):
    [batch] = SqlSource(url).batches(QUERY, START, END)
    assert list(batch.columns) == ["item_id", "at", "title", "price"]
    assert [dtype.kind for dtype in batch.dtypes] == ["O"] * 4
    assert batch["title"].tolist() == [None, "100% 青い: it's -- new"]
    assert type(batch["item_id"][0]) is int
    assert batch["title"][0] is None
    if url.startswith("sqlite"):
        assert (batch["at"][0], batch["price"][0]) == ("2026-01-05 00:00:00", 1.5)
    else:
        assert (batch["at"][0], batch["price"][0]) == (START, Decimal("1.5"))


def test_both_databases_give_the_same_tidy_rows(url, tmp_path):
    features = {"key": "item_id", "label": "title", "features": ["price"]}
    config = model(tmp_path, timezone="Asia/Tokyo", data=features, evaluation={"slices": []})
    first = (START.date() - EPOCH).days
    [frame] = read(SqlSource(url), config, Window(first, first + 2))
    assert (frame["zeta_day"] - first).tolist() == [0, 0]
    assert frame["zeta_key"].tolist() == [8872142683093127234, 15289156711003816966]
    assert frame["price"].astype(float).tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    "query",
    [
        QUERY + " ; \n",
        "-- from :start until :end, and :nothing else; don't\n" + QUERY + ";  -- done; really\n",
        "/* at 12:30 :start\n ' */" + QUERY.replace("ORDER", "/* or :title */ ORDER"),
        QUERY.replace("WHERE", "WHERE coalesce(title, '') <> 'a :b ''c'' -- 10:30' AND"),
        QUERY.replace("WHERE", "WHERE (title LIKE '100%' OR title IS NULL) AND"),
        QUERY.replace("SELECT *", 'SELECT item_id AS "a:b -- c"'),
        "WITH fresh AS (\n" + QUERY + "\n)\nSELECT * FROM fresh",
    ],
    ids=["semicolon", "comments", "block comments", "quoted colons", "percent", "quoted name", "common table"],
)
def test_a_query_may_be_written_as_people_write_them(url, query):
    assert numbers(url, query) == [1, 2]


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO listings (title) SELECT title FROM listings WHERE at >= :start AND at < :end",
        "INSERT INTO listings (title) SELECT title FROM listings WHERE at >= :start AND at < :end RETURNING *",
        "UPDATE listings SET price = 0 WHERE at >= :start AND at < :end",
        "DELETE FROM listings WHERE at >= :start OR at < :end",
        "CREATE TABLE other AS " + QUERY,
        "DROP TABLE listings -- :start :end",
        QUERY + "; DELETE FROM listings",
        "WITH gone AS (DELETE FROM listings WHERE at >= :start OR at < :end RETURNING *) SELECT * FROM gone",
    ],
)
def test_a_query_that_would_write_fails_and_writes_nothing(url, query):
    with pytest.raises((DataError, ConfigError)):
        rows(url, query)
    assert len(rows(url, start=START - timedelta(days=9), end=END + timedelta(days=9))) == 4
    assert {row[3] for row in rows(url)} == {Decimal("1.5")}


def test_a_function_that_would_write_fails_in_postgresql(postgres_url):
    with sa.create_engine(postgres_url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE IF NOT EXISTS counter")
    with pytest.raises(DataError, match="read-only transaction"):
        rows(postgres_url, "SELECT nextval('counter'), CAST(:start AS text), CAST(:end AS text)")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (QUERY.replace("listings", "connections"), "connections"),
        (QUERY.replace("*", "locked"), "locked"),
        (QUERY.replace("SELECT", "SELEKT"), "syntax error"),
    ],
)
def test_a_query_that_the_database_refuses_is_bad_data_and_not_tried_again(url, query, words):
    with pytest.raises(DataError, match=words):
        rows(url, query)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT * FROM listings", r"\[\]"),
        ("SELECT * FROM listings WHERE at >= :start", r"\['start'\]"),
        (QUERY.replace(":end", ":until"), r"\['start', 'until'\]"),
        (QUERY.replace("WHERE", "WHERE title = :title AND"), r"\['end', 'start', 'title'\]"),
        ("SELECT * FROM listings -- from :start until :end", r"\[\]"),
        ("SELECT * FROM listings WHERE title <> ':start :end'", r"\[\]"),
        ("", r"\[\]"),
    ],
)
def test_a_query_binds_the_start_and_the_end_and_nothing_else(url, query, names):
    with pytest.raises(ConfigError, match=f"the query binds {names}; it must bind :start and :end"):
        rows(url, query)


def test_a_window_without_rows_gives_no_batch(url):
    assert rows(url, start=END + timedelta(days=9), end=END + timedelta(days=10)) == []


def test_whoever_stops_reading_leaves_nothing_locked(url, monkeypatch):
    monkeypatch.setattr(sql, "BATCH_ROWS", 1)
    batches = SqlSource(url).batches(QUERY, START, END)
    assert len(next(batches)) == 1
    batches.close()
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE listings ADD COLUMN later INTEGER")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense", "the source's URL cannot be used: Could not parse"),
        ("nosuchdatabase://host/rows", "the source's URL cannot be used: Can't load plugin"),
        ("oracle://host/rows", "the source's URL cannot be used: No module named"),
        ("postgresql+psycopg://zeta@host:port/rows", "the source's URL cannot be used: invalid literal"),
        ("sqlite:////nowhere/rows.db", "sqlite:////nowhere/rows.db: no such file"),
        ("sqlite:////tmp", "no such file"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_setting_to_mend(given, words):
    with pytest.raises(ConfigError, match=words):
        SqlSource(given)


def test_a_file_that_is_no_database_is_bad_data(tmp_path):
    (tmp_path / "rows.db").write_text("item_id,at,title\n" * 100)
    with pytest.raises(DataError, match="file is not a database"):
        rows(f"sqlite:///{tmp_path / 'rows.db'}")


def test_a_database_that_is_busy_is_asked_again_later(tmp_path):
    with sqlite3.connect(tmp_path / "rows.db") as writer:
        writer.execute("CREATE TABLE listings (item_id, at)")
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Temporary, match="database is locked"):
        rows(f"sqlite:///{tmp_path / 'rows.db'}?timeout=0.05")
    writer.close()


def test_a_database_that_cannot_be_reached_is_asked_again_later_and_its_password_stays_secret():
    with pytest.raises(Temporary, match=r"zeta:\*\*\*@127.0.0.1:9/rows: connection failed") as caught:
        rows("postgresql+psycopg://zeta:hunter2@127.0.0.1:9/rows")
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_is_lost_while_reading_is_tried_again_later(postgres_url, monkeypatch):
    monkeypatch.setattr(sql, "BATCH_ROWS", 10)
    batches = SqlSource(postgres_url).batches(MILLION["postgresql"], START, END)
    next(batches)
    with sa.create_engine(postgres_url, poolclass=sa.NullPool).connect() as connection:
        reading = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle in transaction'"
        assert connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {reading}").scalar() is True
    with pytest.raises(Temporary):
        list(itertools.islice(batches, 10_000))


MILLION = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000000) "
    "SELECT n, 'title ' || n AS title, :start AS a, :end AS b FROM s",
    "postgresql": "SELECT n, 'title ' || n AS title, CAST(:start AS text) AS a, CAST(:end AS text) AS b "
    "FROM generate_series(1, 1000000) AS n",
}


def test_a_million_rows_are_read_in_the_memory_of_a_few_batches(url):
    script = """
        import resource
        import sys
        from datetime import UTC, datetime
        from pipeline.adapters.sql import BATCH_ROWS, SqlSource

        count, first = 0, None
        for batch in SqlSource(sys.argv[1]).batches(sys.argv[2], datetime.now(UTC), datetime.now(UTC)):
            assert len(batch) <= BATCH_ROWS
            count += len(batch)
            first = first or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), url, MILLION[sa.make_url(url).get_backend_name()]]
    count, grown = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert count == 1_000_000
    assert grown < 60 * 1024
