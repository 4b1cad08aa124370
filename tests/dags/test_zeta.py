"""The DAGs, read and run by the real Airflow in its own environment; the ``zeta`` command is a script of the test's."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.dags.played import airflow, play

AT = "2026-03-03T05:00:00+00:00"
MODEL = """\
name: {name}
owner: listing-ml
task: classification
schedule: "0 5 * * *"
timezone: Asia/Tokyo
data: {{source: rows, query: rows.sql, key: id, time: at, label: label, features: [title]}}
evaluation: {{score: accuracy}}
gate: {{baseline: most_frequent}}
alerts: [oncall]
"""
FAKE = """\
import json, sys
from pathlib import Path
step, model, _, at, *options = sys.argv[1:]
folder = Path(__file__).parent
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([model, step, at, options]) + "\\n")
before = [json.loads(line)[:2] for line in (folder / "calls").read_text().splitlines()].count([model, step]) - 1
answers = json.loads((folder / "answers").read_text())[model].get(step, [[0, {}]])
code, answer = answers[min(before, len(answers) - 1)]
print(answer if code else "working", file=sys.stderr)
print("not the answer\\n" + json.dumps(answer))
sys.exit(code)
"""
STEPS = ["evaluate", "decide", "train", "gate", "build-image", "roll-out", "announce"]
TASKS = [step.replace("-", "_") for step in STEPS]
KEEP = {"verdict": "keep", "announce": False}
RETRAIN = {"decide": [[0, {"verdict": "retrain", "announce": False}]]}
SCENARIOS: dict[str, Any] = {
    "keep": {"decide": [[0, KEEP]]},
    "bad-data": {"decide": [[0, {"verdict": "data_bad", "announce": True}]]},
    "promote": RETRAIN | {"gate": [[0, {"verdict": "promote_not_recovered"}]]},
    "reject": RETRAIN | {"gate": [[0, {"verdict": "reject"}]]},
    "busy": {"decide": [[75, "the registry is away"], [0, KEEP]]},
    "away": {"evaluate": [[75, "the registry is away"]]},
    "wrong": RETRAIN | {"train": [[1, "ran out of rows"]]},
}


def _write_model(home: Path, name: str) -> None:
    folder = home / "models" / name
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL.format(name=name))
    (folder / "model.py").touch()
    (folder / "rows.sql").touch()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two good models, one with faults and one that is not YAML."""
    home = tmp_path_factory.mktemp("fleet")
    for name in ("category", "price", "faulty", "no yaml"):
        _write_model(home, name)
    (home / "models/faulty/model.yaml").write_text(MODEL.format(name="faulty").replace("accuracy", "acuracy"))
    (home / "models/no yaml/model.yaml").write_text("name: [")
    return home


@pytest.fixture(scope="module")
def parsed(fleet: Path) -> dict[str, Any]:
    return play(fleet, "parse", AT, PYTHONHASHSEED="1")


def _tasks(dag: dict[str, Any]) -> dict[str, Any]:
    return {task["__var"]["task_id"]: task["__var"] for task in dag["tasks"]}


def test_every_model_has_its_dag(parsed: dict[str, Any]) -> None:
    assert sorted(parsed["dags"]) == ["zeta_category", "zeta_faulty", "zeta_no_yaml", "zeta_price"]


def test_a_dag_follows_its_model_yaml(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["zeta_category"]
    timetable = dag["timetable"]["__var"]
    assert (timetable["expression"], timetable["timezone"]) == ("0 5 * * *", "Asia/Tokyo")
    assert set(dag["tags"]) == {"classification", "listing-ml"}
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    for part in ("listing-ml", "classification", "accuracy", "oncall"):
        assert part in dag["doc_md"]


def test_the_tasks_are_chained_time_out_and_belong_to_the_owner(parsed: dict[str, Any]) -> None:
    tasks = _tasks(parsed["dags"]["zeta_price"])
    assert list(tasks) == TASKS
    for task, following in pairwise(TASKS):
        assert tasks[task]["downstream_task_ids"] == [following]
    for task in tasks.values():
        assert task["owner"] == "listing-ml"
        assert task["retries"] == 2
        assert 0 < task["execution_timeout"] <= 12 * 3600
    assert tasks["announce"]["trigger_rule"] == "all_done"


def test_a_broken_model_yaml_is_an_import_error_of_its_own_that_names_every_fault(parsed: dict[str, Any]) -> None:
    assert list(parsed["errors"]) == ["broken.py"]
    for part in ("faulty/model.yaml:7", "did you mean 'accuracy'", "no yaml/model.yaml:2"):
        assert part in parsed["errors"]["broken.py"]


@pytest.mark.parametrize("dag_id", ["zeta_faulty", "zeta_no_yaml"])
def test_a_broken_model_yaml_keeps_a_dag_that_fails_and_pages(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]
    assert "broken" in dag["tags"]
    assert "model.yaml" in dag["doc_md"]
    assert list(_tasks(dag)) == ["evaluate", "announce"]


def test_the_dags_are_the_same_at_every_look(fleet: Path, parsed: dict[str, Any]) -> None:
    assert play(fleet, "parse", AT, PYTHONHASHSEED="2") == parsed


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of each scenario: its state, its tasks' states and tries, and the commands that ran."""
    home = tmp_path_factory.mktemp("played")
    for name in SCENARIOS:
        _write_model(home, name)
    command = home / "zeta"
    command.write_text(f"#!{sys.executable}\n{FAKE}")
    command.chmod(0o755)
    (home / "answers").write_text(json.dumps(SCENARIOS))
    airflow(home, "-m", "airflow", "db", "migrate")
    runs = play(home, "play", AT, *(f"zeta_{name}" for name in SCENARIOS), ZETA_COMMAND=str(command))
    calls = [json.loads(line) for line in (home / "calls").read_text().splitlines()]
    return {
        name: runs[f"zeta_{name}"] | {"calls": [call[1:] for call in calls if call[0] == name]} for name in SCENARIOS
    }


def _ran(run: dict[str, Any]) -> list[str]:
    return [step for step, _, _ in run["calls"]]


def _states(run: dict[str, Any]) -> list[str]:
    return [run["tasks"][task][0] for task in TASKS]


def test_a_champion_that_is_kept_ends_the_run_after_decide(played: dict[str, Any]) -> None:
    run = played["keep"]
    assert run["state"] == "success"
    assert _ran(run) == ["evaluate", "decide"]
    assert _states(run) == ["success", "success", *["skipped"] * 5]


def test_each_command_gets_the_logical_time_of_the_run(played: dict[str, Any]) -> None:
    assert {at for run in played.values() for _, at, _ in run["calls"]} == {AT}


def test_what_decide_finds_worth_it_is_announced(played: dict[str, Any]) -> None:
    run = played["bad-data"]
    assert run["state"] == "success"
    assert _ran(run) == ["evaluate", "decide", "announce"]


def test_a_passed_gate_runs_every_step(played: dict[str, Any]) -> None:
    run = played["promote"]
    assert run["state"] == "success"
    assert _ran(run) == STEPS
    assert run["calls"][-1][2] == []


def test_a_rejected_challenger_ends_the_run_after_gate_and_is_announced(played: dict[str, Any]) -> None:
    run = played["reject"]
    assert run["state"] == "success"
    assert _ran(run) == ["evaluate", "decide", "train", "gate", "announce"]
    assert _states(run) == [*["success"] * 4, "skipped", "skipped", "success"]


def test_a_temporary_error_is_tried_again(played: dict[str, Any]) -> None:
    run = played["busy"]
    assert run["state"] == "success"
    assert _ran(run) == ["evaluate", "decide", "decide"]


def test_a_temporary_error_that_lasts_is_announced(played: dict[str, Any]) -> None:
    run = played["away"]
    assert run["state"] == "failed"
    assert _ran(run) == ["evaluate", "evaluate", "evaluate", "announce"]


def test_any_other_error_is_not_tried_again_is_announced_and_turns_the_run_red(played: dict[str, Any]) -> None:
    run = played["wrong"]
    assert run["state"] == "failed"
    assert _ran(run) == ["evaluate", "decide", "train", "announce"]
    assert _states(run) == ["success", "success", "failed", *["upstream_failed"] * 3, "failed"]
    assert run["calls"][-1][2] == ["--failed", "train", "--error", "ran out of rows"]
