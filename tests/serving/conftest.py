import importlib.util
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
_toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_toy)


@dataclass
class Running:
    """A server process that answers."""

    process: subprocess.Popen
    port: int
    log: Path

    def __post_init__(self):
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=60)

    def metric(self, line):
        found = [one for one in self.http.get("/metrics").text.splitlines() if one.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def memory(self):
        """The most bytes that it ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@contextmanager
def running(root, log, *options, shared=None):
    """Serve an unpacked image as version 7 until the context ends; wait until it answers, ready or not."""
    with socket.socket() as own, log.open("wb") as output:
        own.bind(("127.0.0.1", 0))
        fds = {"--fd": own} | ({"--shared-fd": shared} if shared else {})
        passed = [word for option, sock in fds.items() for word in (option, str(sock.fileno()))]
        where = ["--model", str(root / "model"), *passed, "--version", "7", "--digest", "sha256:abc"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.serving.server", *where, *options],
            cwd=root / "app", env=os.environ | {"PYTHONPATH": str(root / "app"), "OMP_NUM_THREADS": "1"},
            pass_fds=[sock.fileno() for sock in fds.values()], stderr=output,
        )  # fmt: skip
        server = Running(process, own.getsockname()[1], log)
    try:
        _await_answer(server)
        yield server
    finally:
        server.http.close()
        process.kill()
        process.wait()


def _await_answer(server):
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.http.get("/v2/health/live")
        except httpx.TransportError:
            assert server.process.poll() is None, server.log.read_text()
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="session")
def toy():
    return _toy


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Unpacked images by the name of their model."""
    folder = tmp_path_factory.mktemp("images")
    return {
        "titles": _toy.titles(folder / "titles", 1),
        "prices": _toy.prices(folder / "prices"),
        "tags": _toy.tags(folder / "tags"),
        "slow": _toy.slow(folder / "slow"),
    }


@pytest.fixture(scope="session")
def serve(images, tmp_path_factory):
    """Return a context manager that serves an image (its root, or the name of its model)."""

    def start(what, *options, shared=None):
        log = tmp_path_factory.mktemp("server") / "log"
        return running(images.get(what, what), log, *options, shared=shared)

    return start


@pytest.fixture(scope="module")
def titles(serve):
    with serve("titles") as server:
        yield server


@pytest.fixture(scope="module")
def prices(serve):
    with serve("prices") as server:
        yield server


@pytest.fixture(scope="module")
def slow(serve):
    """A server of the slow model that takes two requests at a time."""
    with serve("slow", "--max-in-flight", "2") as server:
        yield server
