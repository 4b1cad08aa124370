"""The SQL table `listings`: a day of rows is written whole or not at all."""

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from rich.console import Console
from rich.progress import track
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.listings.stream import rows

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH_ROWS = 10_000
# SQLite has no type for time: it keeps the text 'YYYY-MM-DD HH:MM:SS', which sorts as time does.
_MOMENT = sa.DateTime(timezone=True).with_variant(sqlite.DATETIME(truncate_microseconds=True), "sqlite")

TABLE = sa.Table(
    "listings",
    sa.MetaData(),
    sa.Column("item_id", sa.String(20), primary_key=True),
    sa.Column("listed_at", _MOMENT, nullable=False, index=True),
    sa.Column("labelled_at", _MOMENT, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("channel", sa.String(3), nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("price", sa.Integer, nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("violation", sa.Integer, nullable=False),
)
_NAMES = list(TABLE.c.keys())


def write(url: str, start: date, end: date, per_day: int, seed: int) -> int:
    """Write stream.rows(start, end, per_day, seed) into the table, made if absent; return how many rows.

    A day that is there already is replaced in one transaction, so a rerun changes nothing. Progress is shown
    on stderr. Raises ConfigError for a URL that is none, Temporary when the database cannot be reached or is
    locked, Permanent when it refuses the rows.
    """
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
    except (SQLAlchemyError, ImportError) as error:
        raise ConfigError(f"the listings' URL cannot be used: {error}; expected an SQLAlchemy URL") from error
    frames = rows(start, end, per_day, seed)
    console = Console(stderr=True)
    written = 0
    try:
        TABLE.metadata.create_all(engine)
        for offset, frame in enumerate(track(frames, "listings", (end - start).days, console=console)):
            _replace(engine, start + timedelta(days=offset), frame)
            written += len(frame)
    except DBAPIError as error:
        text = str(error.orig).strip()
        kind = Temporary if "connect" in text or "locked" in text else Permanent
        raise kind(f"{engine.url.render_as_string()}: {text}; expected a database to write to") from error
    return written


def _replace(engine: sa.Engine, day: date, frame: "DataFrame") -> None:
    midnight = datetime.combine(day, time(), UTC)
    listed = TABLE.c.listed_at
    cells = zip(*(frame[name].astype(object) for name in _NAMES), strict=True)
    records = [dict(zip(_NAMES, row, strict=True)) for row in cells]
    with engine.begin() as connection:
        connection.execute(sa.delete(TABLE).where(listed >= midnight, listed < midnight + timedelta(days=1)))
        for first in range(0, len(records), BATCH_ROWS):
            connection.execute(sa.insert(TABLE), records[first : first + BATCH_ROWS])
