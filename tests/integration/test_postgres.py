"""The loop with its rows in PostgreSQL, read by a role that may do nothing but read."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from tests.installation import BOOTSTRAP, KEEP, at, rows, run


@pytest.fixture
def reader(postgres_url):
    """The URL, for a reader, of a database of its own that holds the toy's rows."""
    import pandas as pd

    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        for statement in ("CREATE DATABASE loop", "CREATE ROLE reader LOGIN"):
            connection.execute(sa.text(statement))
    url = sa.make_url(postgres_url).set(database="loop")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    listings = rows()
    listings.assign(at=pd.to_datetime(listings["at"], utc=True)).to_sql("listings", engine, index=False)
    with engine.begin() as connection:
        connection.execute(sa.text("GRANT SELECT ON listings TO reader"))
    yield url.set(username="reader").render_as_string()
    with admin.connect() as connection:
        for statement in ("DROP DATABASE loop WITH (FORCE)", "DROP ROLE reader"):
            connection.execute(sa.text(statement))


def test_a_model_is_released_and_kept_on_rows_that_zeta_may_only_read(installation, reader, monkeypatch):
    with pytest.raises(ProgrammingError), sa.create_engine(reader).begin() as connection:
        connection.execute(sa.text("DELETE FROM listings"))
    name, twin = installation.toy(alerts=[]), installation.toy(alerts=[], data={"source": "twin"})
    monkeypatch.setenv("ZETA_SOURCE_TWIN", reader)
    for one in (name, twin):
        assert run(one, BOOTSTRAP)["roll-out"] == {"version": "1", "outcome": "promoted"}
        assert run(one, KEEP)["decide"]["verdict"] == "keep"
    seen, other = installation.seen(name), installation.seen(twin)
    assert other["points"] == seen["points"]
    assert other["runs"][at(KEEP).isoformat()] == seen["runs"][at(KEEP).isoformat()]
    assert other["releases"]["stable"] == ("1", other["versions"]["1"]["digest"])
