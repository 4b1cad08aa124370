"""The command ``zeta``, each time a process of its own."""

import json
import re

import pytest

from pipeline import workspace
from pipeline.demo.inbox import Inbox
from tests.installation import BOOTSTRAP, at, opened
from tests.ports import free_port

STEPS = ("evaluate", "decide", "train", "gate", "build-image", "roll-out", "announce")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An installation whose MLflow server cannot be reached, and whoever is paged."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with opened(tmp_path, f"http://127.0.0.1:{free_port()}") as made, Inbox() as inbox:
        monkeypatch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        yield made, inbox


@pytest.mark.parametrize("command", ["run", "evaluate", "announce", "rollback", "status"])
def test_an_unknown_model_is_told_to_who_typed_it_and_pages_nobody(offline, command):
    made, inbox = offline
    known = made.toy()
    done = made.zeta(command, "tyo")
    assert done.returncode == 2
    assert "'tyo'" in done.stderr
    assert known in done.stderr
    assert inbox.titles == []


@pytest.mark.parametrize("command", ["run", "decide"])
def test_a_time_that_is_none_is_refused(offline, command):
    done = offline[0].zeta(command, offline[0].toy(), "--at", "yesterday")
    assert done.returncode == 2
    assert "--at 'yesterday': expected ISO 8601" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_model_yaml_is_an_error_of_its_own_that_names_the_line(offline):
    made, inbox = offline
    name = made.toy(schedule="every morning")
    done = made.zeta("run", name, "--at", at(BOOTSTRAP))
    assert done.returncode == 2
    assert re.search(rf"models/{name}/model\.yaml:\d+: schedule: 'every morning'", done.stderr)
    assert inbox.titles == [f"{name}: model.yaml is broken, the model is not watched"]


def test_a_registry_that_cannot_be_reached_is_tried_again_later_and_paged(offline):
    made, inbox = offline
    name = made.toy()
    done = made.zeta("run", name, "--at", at(BOOTSTRAP))
    assert done.returncode == 75
    assert "Temporary: MLflow: " in done.stderr
    assert inbox.titles == [f"{name}: step evaluate failed"]


def test_a_failure_keeps_its_exit_code_when_nobody_can_be_paged(offline, monkeypatch):
    monkeypatch.delenv("ZETA_ALERT_ONCALL")
    done = offline[0].zeta("run", offline[0].toy(), "--at", at(BOOTSTRAP))
    assert done.returncode == 75
    assert "nobody was paged" in done.stderr
    assert "ZETA_ALERT_ONCALL is not set" in done.stderr


@pytest.mark.parametrize("command", ["run", "evaluate", "rollback"])
def test_while_a_model_has_a_run_another_one_is_to_come_later(offline, command):
    made, inbox = offline
    name, other = made.toy(), made.toy()
    with workspace.alone(name):
        done = made.zeta(command, name)
        assert (done.returncode, inbox.titles) == (75, [])
        assert f"{name}: another run is under way" in done.stderr
        assert f"{other}: another run" not in made.zeta("evaluate", other).stderr


def test_a_run_and_its_steps_one_by_one_come_to_the_same(installation):
    whole, single = installation.toy(alerts=[]), installation.toy(alerts=[])
    done = installation.zeta("run", whole, "--at", at(BOOTSTRAP))
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for step in STEPS:
        done = installation.zeta(step, single, "--at", at(BOOTSTRAP))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer.keys() == answers[step].keys()
        assert {key: answer[key] for key in answer.keys() - IDS} == {
            key: answers[step][key] for key in answer.keys() - IDS
        }
    seen = [installation.seen(name) for name in (whole, single)]
    for what in ("aliases", "notes", "runs", "statuses", "points"):
        assert seen[0][what] == seen[1][what]


IDS = {"run", "digest"}


def test_a_step_whose_forerunner_is_missing_says_so(installation):
    name = installation.toy()
    done = installation.zeta("gate", name, "--at", at(BOOTSTRAP))
    assert done.returncode == 1
    assert "run `zeta train` first" in done.stderr


def test_without_a_predecessor_there_is_nothing_to_roll_back_to(installation):
    name = installation.toy()
    done = installation.zeta("rollback", name)
    assert done.returncode == 1
    assert f"{name}: there is no previous champion" in done.stderr
