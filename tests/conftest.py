"""Servers for the tests that want them: PostgreSQL, MLflow; and an installation that uses the latter."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.services import PROGRAMS
from tests import installation as installations
from tests.installation import Installation
from tests.loopback import await_answer
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.bench.statistics.curves import Lines


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database on a server of the test run's own; both are gone afterwards."""
    binaries = _postgres_binaries()
    root = os.geteuid() == 0
    if root and subprocess.run(["id", "postgres"], capture_output=True).returncode:
        pytest.skip("PostgreSQL refuses to run as root and there is no user 'postgres'")
    run_as = ["runuser", "-u", "postgres", "--"] if root else []
    port = free_port()
    # Not below pytest's own directory: that one is closed to the user postgres.
    with tempfile.TemporaryDirectory(prefix="zeta-postgres-") as folder:
        if root:
            shutil.chown(folder, "postgres")
        initdb = f"{binaries}/initdb -D {folder}/data -A trust -U zeta -E UTF8 --no-locale --no-sync".split()
        control = [*run_as, f"{binaries}/pg_ctl", "-D", f"{folder}/data", "-w", "-s"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*run_as, *initdb], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        subprocess.run([*control, "-l", f"{folder}/log", "-o", options, "start"], check=True, cwd=folder)
        try:
            yield f"postgresql+psycopg://zeta@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=folder)


def _postgres_binaries() -> Path:
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    pytest.skip("PostgreSQL's initdb and pg_ctl are not installed (Debian: postgresql)")


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of the test run's own, empty at first."""
    program, folder, port = PROGRAMS["mlflow"], tmp_path_factory.mktemp("mlflow"), free_port()
    if not program.exists():
        pytest.skip(f"{program} is missing; run: make install")
    command = [
        program, "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port), "--serve-artifacts",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
    ]  # fmt: skip
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | settings, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/health", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, tracking_uri: str) -> Iterator[tuple[Installation, str]]:
    """An installation, and its toy that was released and then kept on a morning on which the score held."""
    with installations.opened(tmp_path_factory.mktemp("kept"), tracking_uri) as made:
        name = made.toy(alerts=[])
        installations.run(name, installations.BOOTSTRAP, installations.KEEP)
        yield made, name


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple["Lines", Path]:
    """The curves of `make bench-statistics`, of a few years, and their image."""
    from tests.bench.statistics import curves

    image = tmp_path_factory.mktemp("drawn") / "curves.png"
    with ThreadPoolExecutor(1) as workers:
        lines = curves.lines(workers, 4)
    curves.draw(lines, image)
    return lines, image


@pytest.fixture
def installation(tmp_path: Path, tracking_uri: str) -> Iterator[Installation]:
    """An installation without models, which this process uses."""
    with installations.opened(tmp_path, tracking_uri) as made:
        yield made
