"""The served release as one ASGI application: /, /invocations, the Open Inference Protocol v2, /metrics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from pipeline.components.labels import split
from pipeline.serving import protocol
from pipeline.serving.metrics import Metrics
from pipeline.serving.query import Limits, Query, Refusal
from pipeline.serving.served import Served

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_SECONDS = 30
_JSON: Headers = [(b"content-type", b"application/json")]
_PROMETHEUS: Headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_CLIENT_CLOSED = 499
_LOG = logging.getLogger("zeta.serving")


class Disconnected(Exception):
    """The client went away before its request was whole."""


@dataclass(frozen=True)
class Reply:
    """A status, a body, and the headers beside content-length."""

    status: int
    body: bytes
    headers: Headers


class App:
    """One model behind HTTP. Bodies are read in the event loop; the model runs in the one thread it has.

    ``stopping``: once set, each answer asks its client to close the connection.
    """

    def __init__(self, served: Served, limits: Limits | None = None) -> None:
        self.stopping = False
        self.in_flight = 0
        self._served = served
        self._limits = limits or Limits()
        self._metrics = Metrics(served.manifest.name, served.version, served.digest, lambda: self.in_flight)
        self._thread = ThreadPoolExecutor(1, "model")
        model = f"/v2/models/{served.manifest.name}"
        self._gets: dict[str, Callable[[], Reply]] = {
            "/": lambda: _json(200, served.describe()),
            "/metrics": lambda: Reply(200, self._metrics.text(), _PROMETHEUS),
            "/v2/health/live": lambda: _json(200, {"live": True}),
            "/v2/health/ready": self._ready,
            model: lambda: Reply(200, protocol.metadata(served.manifest, served.version), _JSON),
            f"{model}/ready": self._ready,
        }
        self._posts = {"/invocations": self._invoke, f"{model}/infer": self._infer}
        self._paths = [*self._gets, *self._posts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = perf_counter()
        path = scope["path"] if scope["path"] in self._paths else "unknown"
        try:
            reply = await self._reply(scope, receive)
        except Disconnected:
            self._metrics.request(path, _CLIENT_CLOSED, perf_counter() - started)
            return
        except Refusal as refusal:
            reply = _json(refusal.status, {"error": str(refusal)}, refusal.headers)
        headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
        if self.stopping:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        self._metrics.request(path, reply.status, perf_counter() - started)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        get, post = self._gets.get(path), self._posts.get(path)
        if get is not None and method == "GET":
            return get()
        if post is not None and method == "POST":
            return Reply(200, await self._inferred(post, scope, receive), _JSON)
        if path in self._paths:
            allow = "GET" if get else "POST"
            raise Refusal(405, f"{path} takes {allow}, not {method}", [(b"allow", allow.encode())])
        raise Refusal(404, f"there is nothing at {path[:200]!r}; expected one of {self._paths}")

    async def _inferred(self, work: Callable[[bytes], bytes], scope: Scope, receive: Receive) -> bytes:
        if self._served.faults:
            raise Refusal(503, self._served.fault)
        if self.in_flight >= self._limits.in_flight:
            sentence = f"{self.in_flight} requests are in flight, as many as are taken; try again in a second"
            raise Refusal(503, sentence, [(b"retry-after", b"1")])
        self.in_flight += 1
        try:
            body = await _body(scope, receive, self._limits.body)
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, body)
        finally:
            self.in_flight -= 1

    def _ready(self) -> Reply:
        if self._served.faults:
            return _json(503, {"ready": False, "error": self._served.fault})
        return _json(200, {"name": self._served.manifest.name, "ready": True})

    def _invoke(self, body: bytes) -> bytes:
        query = protocol.invocation(body, self._served.manifest, self._limits)
        return protocol.predictions(self._answers(query), self._served.manifest)

    def _infer(self, body: bytes) -> bytes:
        query = protocol.inference(body, self._served.manifest, self._limits)
        return protocol.tensors(self._answers(query), query.id, self._served.manifest, self._served.version)

    def _answers(self, query: Query) -> np.ndarray:
        try:
            answers = self._served.answer(query.columns, query.k)
        except Exception as error:
            self._metrics.error()
            _LOG.exception("the model failed on a request of %d rows", query.rows)
            fault = f"the model failed on this request: {type(error).__name__}: {error}"
            raise Refusal(500, fault) from error
        self._metrics.rows(query.rows)
        if self._served.manifest.task == "regression":
            self._metrics.numbers(answers.tolist())
        else:
            self._metrics.predictions(self._labels(answers))
        return answers

    def _labels(self, answers: np.ndarray) -> list[str]:
        if self._served.manifest.task == "multilabel":
            return [label for labels in split(answers) for label in labels]
        best = answers if answers.ndim == 1 else answers[:, 0]
        return best.tolist()


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    # A refused body is left to the HTTP layer, which drops it unread: closing the connection at once would
    # reset it under a client that still sends, and the client would never see the answer.
    too_large = Refusal(413, f"the body is too large; expected at most {limit} bytes")
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                body += message["body"]
                if len(body) > limit:
                    raise too_large
                if not message["more_body"]:
                    return bytes(body)
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS} seconds") from error


def _json(status: int, body: Any, headers: Headers | None = None) -> Reply:
    return Reply(status, msgspec.json.encode(body), _JSON + (headers or []))
