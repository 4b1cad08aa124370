"""A PostgreSQL server for the tests that want one."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database on a server of the test run's own; both are gone afterwards."""
    binaries = _postgres_binaries()
    root = os.geteuid() == 0
    if root and subprocess.run(["id", "postgres"], capture_output=True).returncode:
        pytest.skip("PostgreSQL refuses to run as root and there is no user 'postgres'")
    run_as = ["runuser", "-u", "postgres", "--"] if root else []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
