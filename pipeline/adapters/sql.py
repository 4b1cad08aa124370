"""Rows from any database that SQLAlchemy speaks to, read-only, a batch at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pipeline.errors import ConfigError, DataError, Temporary

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH_ROWS = 20_000


class SqlSource:
    """One database; Zeta never writes to it."""

    def __init__(self, url: str) -> None:
        """Take an SQLAlchemy URL; ConfigError when it is none."""
        try:
            self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(
                f"the source's URL cannot be used: {error}; expected an SQLAlchemy URL"
            ) from error
        self._sqlite = self._engine.dialect.name == "sqlite"
        file = self._engine.url.database
        if self._sqlite and file and file != ":memory:" and not Path(file).is_file():
            raise ConfigError(f"{url}: no such file; expected an SQLite database that is there already")

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator["DataFrame"]:
        """Yield the rows of a query that binds :start and :end, in the query's order, as objects.

        Raises Temporary when the database cannot be reached, DataError when it refuses the query.
        """
        from pandas import DataFrame

        statement = sa.text(query.strip().rstrip(";"))
        bound = {"start": self._moment(start), "end": self._moment(end)}
        unbound = set(bound) - set(statement.compile().params)
        if unbound:
            raise ConfigError(f"the query does not bind {sorted(unbound)}; write ':start' and ':end' in it")
        try:
            with self._engine.connect() as connection:
                result = self._read_only(connection).execute(statement, bound)
                names = list(result.keys())
                for rows in result.partitions(BATCH_ROWS):
                    yield DataFrame(list(rows), columns=names, dtype=object)
        except DBAPIError as error:
            reachable = not (error.connection_invalidated or "connect" in str(error.orig).lower())
            kind = DataError if reachable and "locked" not in str(error.orig) else Temporary
            raise kind(f"{self._engine.url.render_as_string()}: {str(error.orig).strip()}") from error

    def _read_only(self, connection: sa.Connection) -> sa.Connection:
        if self._sqlite:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            return connection.execution_options(yield_per=BATCH_ROWS)
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        return connection.execution_options(stream_results=True, yield_per=BATCH_ROWS)

    def _moment(self, moment: datetime) -> Any:
        # SQLite keeps time as text: the same text form as the rows', in UTC, compares in order.
        return (
            moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if self._sqlite else moment.astimezone(UTC)
        )
