"""Who is told what: runs on a real registry, pages received over real HTTP."""

import json
import shutil
from collections.abc import Iterator

import pytest

from pipeline import announcement, morning
from pipeline.errors import ConfigError, Temporary
from tests.installation import BOOTSTRAP, HOPELESS, KEEP, RECOVERED, at, run
from tests.loopback import Receiver

BROKEN = f"{at(30):%Y-%m-%d}", f"{at(31):%Y-%m-%d}"
"""A day whose titles are lost: on the morning of BAD it is the newest."""
BAD = 31
REJECTED = "the challenger did not pass the gate"
# Four rows a day are too few for three days, though enough for the gate.
SPARSE = {
    "data": {"query": "sparse.sql"},
    "evaluation": {"window": "3d", "minimum_rows": 25},
    "training": {"window": "12d"},
    "gate": {"window": "25d"},
}


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    with Receiver() as server:
        monkeypatch.setenv("ZETA_ALERT_ONCALL", server.url("oncall"))
        yield server


def test_a_rejected_challenger_is_paged_once_with_the_evidence_and_again_when_it_is_over(
    installation, receiver, monkeypatch
):
    monkeypatch.setenv("ZETA_MLFLOW_URL", "https://mlflow.example/")
    name = installation.toy(owner="listing-ml")
    run(name, BOOTSTRAP)
    assert receiver.messages == []
    for day in (HOPELESS, HOPELESS, HOPELESS + 1):
        run(name, day)
        assert receiver.titles(name) == [REJECTED]
    run(name, KEEP)
    assert receiver.titles(name) == [REJECTED]
    run(name, RECOVERED)
    assert receiver.titles(name) == [REJECTED, f"over after {RECOVERED - HOPELESS} days: {REJECTED}"]
    [text, _] = [message["message"] for message in receiver.messages]
    link = installation.registry.link(installation.registry.run(name, at(HOPELESS)))
    link = link.replace(installation.tracking_uri, "https://mlflow.example")
    for part in ("Version 1 goes on serving", "not shown to be better than the champion", "lower bound", "listing-ml",
                 "channel = ", link):  # fmt: skip
        assert part in text


def test_another_trouble_is_paged_anew(installation, receiver):
    name = installation.toy()
    run(name, BOOTSTRAP)
    rows = installation.folder / "rows.db"
    shutil.move(rows, rows.with_suffix(".away"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="no such file"):
            run(name, KEEP)
    shutil.move(rows.with_suffix(".away"), rows)
    assert receiver.titles(name) == ["step evaluate failed"]
    assert "no such file" in receiver.messages[0]["message"]
    installation.change_rows("UPDATE listings SET title = '' WHERE at >= ? AND at < ?", *BROKEN)
    run(name, BAD)
    run(name, BAD)
    assert receiver.titles(name) == ["step evaluate failed", "the data is bad"]
    assert "title is null in 100.0% of 40 rows" in receiver.messages[1]["message"]
    installation.change_rows("UPDATE listings SET title = '文庫' WHERE title = ''")
    assert run(name, BAD)["decide"]["verdict"] == "keep"
    run(name, BAD + 1)
    assert receiver.titles(name)[2:] == ["over after less than an hour: the data is bad"]


def test_a_bug_in_a_models_code_is_paged_like_any_failure(installation, receiver):
    name = installation.toy()
    (installation.folder / "models" / name / "model.py").write_text("raise RuntimeError('oops')")
    with pytest.raises(ConfigError, match="RuntimeError: oops"):
        run(name, BOOTSTRAP)
    assert receiver.titles(name) == ["step train failed"]
    assert installation.seen(name)["statuses"] == {at(BOOTSTRAP).isoformat(): "FAILED"}


def test_what_airflow_reports_is_paged(installation, receiver, monkeypatch):
    name = installation.toy()
    monkeypatch.setenv("ZETA_AIRFLOW_RUN", "http://127.0.0.1:8080/dags/zeta_toy/runs/1")
    done = installation.zeta("announce", name, "--at", at(0), "--failed", "train", "--error", "ran out of rows")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"page": "failed"})
    [message] = receiver.messages
    assert message["title"] == f"{name}: step train failed"
    assert "ran out of rows" in message["message"]
    assert "Airflow run: http://127.0.0.1:8080/dags/zeta_toy/runs/1" in message["message"]


def test_a_broken_model_yaml_is_told_once_to_every_destination_there_is(installation, receiver, monkeypatch):
    for destination in ("TEAM_A", "SECOND"):
        monkeypatch.setenv(f"ZETA_ALERT_{destination}", receiver.url(destination))
    name = installation.toy()
    run(name, BOOTSTRAP)
    file = installation.folder / "models" / name / "model.yaml"
    whole = file.read_text(encoding="utf-8")
    file.write_text(f"{whole}oops: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="oops: unknown key"):
        run(name, KEEP)
    assert announcement.announce(name, at(KEEP), "evaluate", "exit code 2") == {"page": None}
    assert sorted(message["path"] for message in receiver.messages) == ["SECOND", "TEAM_A", "oncall"]
    assert {message["title"] for message in receiver.messages} == {
        f"{name}: model.yaml is broken, the model is not watched"
    }
    assert all("oops: unknown key" in message["message"] for message in receiver.messages)
    file.write_text(whole, encoding="utf-8")
    run(name, KEEP)
    assert receiver.titles(name)[3:] == ["over after less than an hour: model.yaml is broken, the model is not watched"]
    assert receiver.messages[-1]["path"] == "oncall"


def test_too_few_rows_are_paged_only_when_they_were_too_few_for_a_whole_window(installation, receiver):
    name = installation.toy(**SPARSE)
    query = "SELECT * FROM listings WHERE at >= :start AND at < :end AND item_id LIKE '%7'"
    (installation.folder / "models" / name / "sparse.sql").write_text(query)
    assert run(name, 70)["roll-out"]["outcome"] == "promoted"
    for day, pages in ((71, []), (73, []), (74, ["too few labelled rows"]), (75, ["too few labelled rows"])):
        assert run(name, day)["decide"]["verdict"] == "insufficient"
        assert receiver.titles(name) == pages


def test_a_page_that_nobody_received_is_sent_again(installation, receiver, monkeypatch):
    name = installation.toy()
    monkeypatch.setenv("ZETA_ALERT_ONCALL", "json://127.0.0.1:9")
    with pytest.raises(Temporary, match="did not reach 1 of 1"):
        announcement.announce(name, at(0), "train", "ran out of rows")
    monkeypatch.setenv("ZETA_ALERT_ONCALL", receiver.url())
    assert announcement.announce(name, at(0), "train", "ran out of rows") == {"page": "failed"}
    assert receiver.titles(name) == ["step train failed"]


def test_the_model_that_was_promoted_is_no_page(installation, receiver, caplog):
    with caplog.at_level("INFO"):
        assert morning.run(installation.toy(), at(BOOTSTRAP))["announce"] == {"page": None}
    assert receiver.messages == []
    assert "Version 1 serves now." in caplog.text
