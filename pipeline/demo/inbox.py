"""The on-call's inbox of the demo: a real HTTP receiver for what Apprise sends."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

from pipeline.alert import TITLES
from pipeline.trouble import Kind


class Inbox:
    """Receives pages at ``url`` from entering the context until leaving it."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        inbox = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.titles.append(json.loads(body)["title"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.url = f"json://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def has(self, model: str, kind: Kind) -> bool:
        """Tell whether a page of this kind about the model came."""
        return f"{model}: {TITLES[kind]}" in self.titles
