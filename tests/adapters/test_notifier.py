import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.adapters import notifier
from pipeline.alert import Outcome, build, over
from pipeline.errors import ConfigError, Temporary
from pipeline.trouble import Kind, Trouble
from tests.loopback import Receiver
from tests.ports import free_port

AT = datetime(2026, 3, 3, 5, tzinfo=UTC)
OUTCOME = Outcome("sites", AT, owner="listing-ml", links=(("MLflow run", "http://127.0.0.1:5500/#/runs/1"),))
ALERT = build(Kind.DATA_BAD, replace(OUTCOME, reasons=("42 % nulls in タイトル <&> `title`",)))


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    with Receiver() as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("ZETA_ALERT_ONCALL", server.url())
        monkeypatch.setenv("ZETA_ALERT_BROKEN", server.url("broken"))
        yield server


def test_an_alert_arrives_whole(receiver):
    notifier.send(ALERT, ["oncall"])
    [message] = receiver.messages
    assert message["title"] == "sites: the data is bad"
    assert message["message"].splitlines() == ALERT.text.splitlines()
    assert message["type"] == "failure"


@pytest.mark.parametrize(
    ("alert", "type_"),
    [
        (over(Trouble(Kind.DATA_BAD, AT), OUTCOME), "success"),
        (build(Kind.PROMOTED, OUTCOME), "info"),
        (build(Kind.WARNING, OUTCOME), "warning"),
    ],
)
def test_good_news_is_not_sent_as_a_failure(receiver, alert, type_):
    notifier.send(alert, ["oncall"])
    assert receiver.messages[0]["type"] == type_


def test_those_that_work_get_it_and_one_error_names_those_that_do_not(receiver, monkeypatch):
    monkeypatch.setenv("ZETA_ALERT_DEAD", f"json://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ZETA_ALERT_LAST", receiver.url())
    with pytest.raises(Temporary) as raised:
        notifier.send(ALERT, ["broken", "unset", "oncall", "dead", "last"])
    assert len(receiver.messages) == 2
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
    assert len(receiver.messages) == 1


def test_without_a_destination_the_page_is_logged_as_an_error(caplog):
    notifier.send(ALERT, [])
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert ALERT.title in record.getMessage()
    assert ALERT.text in record.getMessage()
