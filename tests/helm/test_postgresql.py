"""helm/zeta's PostgreSQL: its start script, run with real binaries."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests.helm.chart import REPOSITORY
from tests.ports import free_port

SCRIPT = REPOSITORY / "helm/zeta/postgresql.sh"
_SECONDS = 60


class Start:
    """A way to start PostgreSQL as the pod does, in a folder of its own."""

    def __init__(self, binaries, folder):
        self.port = free_port()
        self.data = folder / "postgresql"
        shutil.copy(SCRIPT, folder)
        self.variables = {
            "PATH": f"{binaries}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PGDATA": str(self.data),
            "PGPORT": str(self.port),
        }
        self.folder = folder

    def url(self, role, password, options=""):
        return f"postgresql+psycopg://{role}:{password}@127.0.0.1:{self.port}/{role}{options}"

    def process(self, airflow, mlflow):
        run_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        urls = {"AIRFLOW_URL": airflow, "MLFLOW_URL": mlflow}
        return subprocess.Popen(
            [*run_as, "sh", "postgresql.sh"], cwd=self.folder, env=self.variables | urls, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def ask(self, url, statement):
        """Return the rows of a statement as soon as there is a server to ask."""
        engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": 5})
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                with engine.begin() as connection:
                    answer = connection.execute(sqlalchemy.text(statement))
                    return answer.all() if answer.returns_rows else []
            except sqlalchemy.exc.OperationalError as error:
                if not re.search("refused|starting up", str(error)) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


@pytest.fixture
def start():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if not found:
        pytest.skip("PostgreSQL's initdb is not installed (Debian: postgresql)")
    if os.geteuid() == 0 and subprocess.run(["id", "postgres"], capture_output=True).returncode:
        pytest.skip("PostgreSQL refuses to run as root and there is no user 'postgres'")
    # Not below pytest's own directory: that one is closed to the user postgres.
    with tempfile.TemporaryDirectory(prefix="zeta-postgresql-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        yield Start(found[0].parent, Path(folder))


def stop(server):
    os.killpg(server.pid, signal.SIGINT)
    server.wait(_SECONDS)


def test_the_first_start_makes_both_databases_the_next_one_keeps_them(start):
    airflow, mlflow = start.url("airflow", "0a1b"), start.url("mlflow", "2c3d", "?sslmode=prefer&sslrootcert=/a/b")
    server = start.process(airflow, mlflow)
    try:
        start.ask(airflow, "create table kept (value int)")
        assert start.ask(mlflow.split("?")[0], "select current_user, current_database()") == [("mlflow", "mlflow")]
        with pytest.raises(sqlalchemy.exc.OperationalError, match="password authentication failed"):
            start.ask(start.url("mlflow", "wrong"), "select 1")
    finally:
        stop(server)
    start.data.chmod(0o770)
    server = start.process(airflow, mlflow)
    try:
        assert start.ask(airflow, "select count(*) from kept") == [(0,)]
    finally:
        stop(server)


def test_a_first_start_that_fails_leaves_nothing_that_a_second_takes_for_done(start):
    airflow = start.url("airflow", "0a1b")
    server = start.process(airflow, airflow)
    assert server.wait(_SECONDS) != 0
    assert not start.data.exists()
    server = start.process(airflow, start.url("mlflow", "2c3d"))
    try:
        assert start.ask(start.url("mlflow", "2c3d"), "select current_user") == [("mlflow",)]
    finally:
        stop(server)
