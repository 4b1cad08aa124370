"""The other ends of HTTP on this machine: a client that never pauses, a receiver of pages, the wait for a server."""

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

_START_SECONDS = 120


def await_answer(url: str, server: subprocess.Popen, log: Path) -> None:
    """Return when the URL answers; fail with what the server has logged when it ends before, or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer:\n{log.read_text()}")


@dataclass
class Client(threading.Thread):
    """Asks a model the same again and again, as long as it is entered.

    Keeps every failure, and of each answer (begin, end, (version, *labels)), by the monotonic clock.
    """

    address: str
    model: str
    inputs: list[dict]
    keep_alive: bool = True
    pause: float = 0.02
    answers: list[tuple[float, float, tuple[str, ...]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    __hash__ = threading.Thread.__hash__

    def __post_init__(self):
        super().__init__(daemon=True)
        self._ended = threading.Event()

    def run(self):
        limits = httpx.Limits(max_keepalive_connections=1 if self.keep_alive else 0)
        with httpx.Client(base_url=self.address, limits=limits, trust_env=False, timeout=120) as client:
            while not self._ended.wait(self.pause):
                begin = time.monotonic()
                try:
                    reply = client.post(f"/v2/models/{self.model}/infer", json={"inputs": self.inputs})
                    answer = reply.raise_for_status().json()
                    said = (answer["model_version"], *answer["outputs"][0]["data"])
                    self.answers.append((begin, time.monotonic(), said))
                except Exception as error:
                    self.failures.append(repr(error))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


class Receiver(ThreadingHTTPServer):
    """Keeps every message that it is sent, with the path it came to; answers 500 to what comes to /broken."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[dict] = []

    def url(self, path: str = "") -> str:
        """Return the destination as ZETA_ALERT_... names it."""
        return f"json://127.0.0.1:{self.server_port}/{path}"

    def titles(self, name: str) -> list[str]:
        """Return what the messages are headed with, but for the model's name."""
        return [message["title"].removeprefix(f"{name}: ") for message in self.messages]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.strip("/")
        if path == "broken":
            self.send_error(500)
            return
        self.server.messages.append(message | {"path": path})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass
