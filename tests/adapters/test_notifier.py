import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.adapters import notifier
from pipeline.alert import Outcome, build, over
from pipeline.errors import ConfigError, Temporary
from pipeline.trouble import Kind, Trouble

AT = datetime(2026, 3, 3, 5, tzinfo=UTC)
OUTCOME = Outcome("sites", AT, owner="listing-ml", links=(("MLflow run", "http://127.0.0.1:5500/#/runs/1"),))
ALERT = build(Kind.DATA_BAD, replace(OUTCOME, reasons=("42 % nulls in タイトル <&> `title`",)))


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; answers 500 to /broken."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[dict] = []
        self.address = f"json://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/broken"):
            self.send_error(500)
            return
        self.server.received.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("ZETA_ALERT_ONCALL", f"{server.address}/")
        monkeypatch.setenv("ZETA_ALERT_BROKEN", f"{server.address}/broken")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_an_alert_arrives_whole(receiver):
    notifier.send(ALERT, ["oncall"])
    [message] = receiver.received
    assert message["title"] == "sites: the data is bad"
    assert message["message"].splitlines() == ALERT.text.splitlines()
    assert message["type"] == "failure"


@pytest.mark.parametrize(
    ("alert", "type_"),
    [(over(Trouble(Kind.DATA_BAD, AT), OUTCOME), "success"), (build(Kind.PROMOTED, OUTCOME), "info")],
)
def test_good_news_is_not_sent_as_a_failure(receiver, alert, type_):
    notifier.send(alert, ["oncall"])
    assert receiver.received[0]["type"] == type_


def test_those_that_work_get_it_and_one_error_names_those_that_do_not(receiver, dead_port, monkeypatch):
    monkeypatch.setenv("ZETA_ALERT_DEAD", f"json://127.0.0.1:{dead_port}")
    monkeypatch.setenv("ZETA_ALERT_LAST", f"{receiver.address}/")
    with pytest.raises(Temporary) as raised:
        notifier.send(ALERT, ["broken", "unset", "oncall", "dead", "last"])
    assert len(receiver.received) == 2
    said = str(raised.value)
    assert "did not reach 3 of 5" in said
    assert "broken: not delivered" in said
    assert "500" in said
    assert "dead: not delivered" in said
    assert "ZETA_ALERT_UNSET is not set" in said


def test_wrong_settings_alone_are_a_config_error_that_keeps_the_secret(receiver, monkeypatch):
    monkeypatch.setenv("ZETA_ALERT_TYPO", "slakc://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    with pytest.raises(ConfigError, match="typo: its URL does not fit") as raised:
        notifier.send(ALERT, ["oncall", "typo"])
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in str(raised.value)
    assert len(receiver.received) == 1


def test_without_a_destination_the_page_is_logged_as_an_error(caplog):
    notifier.send(ALERT, [])
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert ALERT.title in record.getMessage()
    assert ALERT.text in record.getMessage()
