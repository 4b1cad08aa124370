"""Rows from any database that SQLAlchemy speaks to, read-only, a batch at a time."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from pipeline.errors import ConfigError, DataError, Temporary

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH_ROWS = 20_000
_QUOTED_OR_COMMENT = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_SQLITE_PASSES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR")


class SqlSource:
    """One database; Zeta never writes to it."""

    def __init__(self, url: str) -> None:
        """Take an SQLAlchemy URL; ConfigError when it is none."""
        try:
            self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            raise ConfigError(f"the source's URL cannot be used: {error}; expected an SQLAlchemy URL") from error
        self._sqlite = self._engine.dialect.name == "sqlite"
        file = self._engine.url.database
        if self._sqlite and file and file != ":memory:" and not Path(file).is_file():
            raise ConfigError(f"{url}: no such file; expected an SQLite database that is there already")

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator["DataFrame"]:
        """Yield the rows of a query that binds :start and :end, in the query's order, as objects.

        Raises Temporary when the database cannot be reached or is busy, DataError when it refuses the query,
        ConfigError when the query binds anything else.
        """
        from pandas import DataFrame

        statement = sa.text(_bare(query))
        bound = {"start": self._moment(start), "end": self._moment(end)}
        if (names := set(statement.compile().params)) != set(bound):
            raise ConfigError(f"the query binds {sorted(names)}; it must bind :start and :end, and nothing else")
        try:
            with self._engine.connect() as connection:
                result = self._read_only(connection).execute(statement, bound)
                columns = list(result.keys())
                for rows in result.partitions(BATCH_ROWS):
                    yield DataFrame(list(map(tuple, rows)), columns=columns, dtype=object)
        except SQLAlchemyError as error:
            why = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            kind = Temporary if self._passes(error) else DataError
            raise kind(f"{self._engine.url.render_as_string()}: {why}") from error

    def _passes(self, error: SQLAlchemyError) -> bool:
        """Tell whether trying again may help. SQLite calls nearly every error operational."""
        if not isinstance(error, DBAPIError):
            return False
        if self._sqlite:
            return getattr(error.orig, "sqlite_errorname", "").startswith(_SQLITE_PASSES)
        return error.connection_invalidated or isinstance(error, OperationalError)

    def _read_only(self, connection: sa.Connection) -> sa.Connection:
        if self._sqlite:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        return connection.execution_options(yield_per=BATCH_ROWS)

    def _moment(self, moment: datetime) -> Any:
        # SQLite keeps time as text: the same text form as the rows', in UTC, compares in order.
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if self._sqlite else moment.astimezone(UTC)


def _bare(query: str) -> str:
    """Return a query without comments, where a colon would bind, and with the colons of its quoted texts kept."""
    bare = _QUOTED_OR_COMMENT.sub(lambda found: (found[1] or " ").replace(":", r"\:"), query)
    return bare.strip().rstrip(";")
