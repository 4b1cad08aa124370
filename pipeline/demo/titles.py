"""The data set: Japanese titles from 1943 to 2026, when each began, its type, and the sites that show it.

From bangumi-data 0.3.208 (https://github.com/bangumi-data/bangumi-data), CC BY 4.0; extract.py says what was taken.
"""

import csv
import gzip
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

from pipeline.demo.extract import TITLES


def write(file: Path) -> int:
    """Make the SQLite database with the table ``titles``, whole or not at all; return how many rows it has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with gzip.open(TITLES, "rt", encoding="utf-8", newline="") as text:
        _, *rows = csv.reader(text)
    with closing(sqlite3.connect(unfinished)) as database:
        database.execute(
            "CREATE TABLE titles (item_id TEXT NOT NULL, began TEXT NOT NULL, title TEXT NOT NULL, type TEXT NOT NULL, "
            "lang TEXT NOT NULL, sites TEXT NOT NULL)"
        )
        database.execute("CREATE INDEX titles_began ON titles (began)")
        database.executemany("INSERT INTO titles VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.commit()
    unfinished.replace(file)
    return len(rows)


def lose_titles(file: Path, start: date, end: date) -> int:
    """Break a partition as a faulty loader would: every title of these days is empty. Return how many rows."""
    with closing(sqlite3.connect(file)) as database:
        cursor = database.execute(
            "UPDATE titles SET title = '' WHERE began >= ? AND began < ?", (start.isoformat(), end.isoformat())
        )
        database.commit()
        return cursor.rowcount


def between(file: Path, start: date, end: date) -> list[str]:
    """Return the titles of these days."""
    with closing(sqlite3.connect(file)) as database:
        found = database.execute(
            "SELECT title FROM titles WHERE began >= ? AND began < ? ORDER BY began, item_id",
            (start.isoformat(), end.isoformat()),
        )
        return [title for (title,) in found]
