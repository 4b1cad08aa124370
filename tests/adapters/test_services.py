"""The platform's services: a real MLflow server and a real Airflow, with a ``zeta`` command of the test's own."""

import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from pipeline import settings as settings_module
from pipeline.adapters import airflow, services
from pipeline.adapters.processes import Processes
from pipeline.errors import ConfigError, Permanent
from tests.ports import free_port

MODEL = """\
name: {name}
owner: listing-ml
task: classification
schedule: "* * * * *"
data: {{source: rows, query: rows.sql, key: id, time: at, label: label, features: [title]}}
evaluation: {{score: accuracy}}
gate: {{baseline: most_frequent}}
"""
FAKE = """\
import json, signal, sys, time
step, model = sys.argv[1:3]
if (step, model) == ("train", "stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
verdict = {"decide": "retrain" if model == "stubborn" else "keep"}.get(step)
print(json.dumps({"verdict": verdict, "announce": False}))
"""
AT = datetime(2026, 3, 3, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    mlflow, api = free_port(), free_port()
    home = tmp_path_factory.mktemp("platform")
    return replace(
        settings_module.load(), home=home, models=home / "models", mlflow_port=mlflow, airflow_port=api,
        tracking_uri=f"http://127.0.0.1:{mlflow}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def platform(settings):
    """The platform with four models, one of them broken, without schedules."""
    for program in services.PROGRAMS.values():
        if not program.exists():
            pytest.skip(f"{program} is missing; run: make install")
    for name in ("category", "stubborn", "paused", "broken"):
        folder = settings.models / name
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(MODEL.format(name=name) + ("oops: 1\n" if name == "broken" else ""))
        (folder / "model.py").touch()
        (folder / "rows.sql").touch()
    command = settings.home / "zeta"
    command.write_text(f"#!{sys.executable}\n{FAKE}")
    command.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZETA_COMMAND", str(command))
        try:
            services.up(settings, schedules=False)
            airflow.wait_for_dags(settings, ["category", "stubborn", "paused", "broken"])
            yield Processes(settings.home / "run", settings.home / "log")
        finally:
            services.down(settings)


def _commands(home):
    """What runs with this home in its environment: session -> commands."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"ZETA_HOME={home}\0".encode() in (entry / "environ").read_bytes():
                found.setdefault(os.getsid(int(entry.name)), []).append((entry / "cmdline").read_bytes())
    return found


def _listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_run_is_asked_for_and_followed_to_its_end(platform, settings):
    run = airflow.wait(settings, "category", airflow.trigger(settings, "category", AT), seconds=60)
    assert run.state == "success"
    assert run.tasks["decide"] == "success"
    assert {run.tasks[task] for task in ("train", "gate", "build_image", "roll_out", "announce")} == {"skipped"}


def test_runs_that_are_asked_for_at_the_same_time_all_come(platform, settings):
    httpx.patch(f"{settings.airflow_url}/api/v2/dags/zeta_paused", json={"is_paused": True}, timeout=60)
    times = [AT + timedelta(minutes=minute) for minute in range(40)]
    with ThreadPoolExecutor(2) as threads:
        asked = list(threads.map(lambda at: airflow.trigger(settings, "paused", at), times))
    assert [airflow.look(settings, "paused", run).state for run in asked] == ["queued"] * len(times)


def test_a_second_run_for_the_same_time_is_refused(platform, settings):
    at = AT.replace(day=4)
    airflow.trigger(settings, "category", at)
    with pytest.raises(Permanent, match="409"):
        airflow.trigger(settings, "category", at)


def test_a_broken_model_yaml_leaves_every_dag_readable_and_is_an_import_error_of_its_own(platform, settings):
    api = f"{settings.airflow_url}/api/v2"
    dags = {dag["dag_id"]: dag for dag in httpx.get(f"{api}/dags").json()["dags"]}
    assert sorted(dags) == ["zeta_broken", "zeta_category", "zeta_paused", "zeta_stubborn"]
    assert not any(dag["is_stale"] or dag["has_import_errors"] for dag in dags.values())
    errors = httpx.get(f"{api}/importErrors").json()["import_errors"]
    assert [error["filename"] for error in errors] == ["broken.py"]
    assert "models/broken/model.yaml" in errors[0]["stack_trace"]


def test_without_schedules_only_what_is_asked_for_runs(platform, settings):
    runs = httpx.get(f"{settings.airflow_url}/api/v2/dags/~/dagRuns").json()["dag_runs"]
    assert {run["run_type"] for run in runs} <= {"manual"}


def test_secrets_are_the_owners_alone(platform, settings):
    for name in ("airflow.cfg", "secret"):
        assert (settings.home / "airflow" / name).stat().st_mode & 0o077 == 0


def test_everything_listens_on_the_loopback_address_alone(platform, settings):
    sockets = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    listening = [local.split(":") for _, local, _, state, *_ in sockets if state == "0A"]
    for port in (settings.mlflow_port, settings.airflow_port):
        assert [address for address, number in listening if number == f"{port:04X}"] == ["0100007F"]


def test_a_second_up_leaves_what_runs_and_starts_what_died_with_what_it_left_behind(platform, settings):
    killed = {"mlflow", "airflow-scheduler"}
    before = {name: platform.pid(name) for name in services.NAMES}
    for name in killed:
        os.kill(before[name], signal.SIGKILL)
    while any(platform.alive(name) for name in killed):
        time.sleep(0.02)
    with pytest.raises(Permanent, match="mlflow does not run"):
        services.check_alive(settings)
    services.up(settings, schedules=False)
    after = {name: platform.pid(name) for name in services.NAMES}
    assert {name for name in services.NAMES if after[name] != before[name]} == killed
    assert not {before[name] for name in killed} & _commands(settings.home).keys()


def test_down_leaves_nothing_running_not_even_a_step_that_ignores_sigterm(platform, settings, monkeypatch):
    monkeypatch.setattr(services, "STOP_SECONDS", 3)
    run = airflow.trigger(settings, "stubborn", AT)
    deadline = time.monotonic() + 60
    while airflow.look(settings, "stubborn", run).tasks.get("train") != "running" or not any(
        b"train" in command for commands in _commands(settings.home).values() for command in commands
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    services.down(settings)
    assert _commands(settings.home) == {}
    assert not _listening(settings.mlflow_port)
    assert not _listening(settings.airflow_port)


@pytest.fixture
def failing(settings, tmp_path, monkeypatch):
    """Programs that say why they fail, but for the database's migration."""
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\n[ "$1" = db ] && exit 0\necho the disk is full\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(services, "PROGRAMS", {"airflow": program, "mlflow": program})
    yield replace(settings, home=tmp_path)
    services.down(replace(settings, home=tmp_path))


def test_a_service_that_ends_while_it_starts_is_named_with_the_end_of_its_log(failing):
    with pytest.raises(Permanent, match=r"(?s)ended while it started.*\.log ends with.*the disk is full"):
        services.up(failing)


@pytest.mark.parametrize("variable", ["ZETA_MLFLOW_PORT", "ZETA_AIRFLOW_PORT"])
def test_a_port_that_is_taken_is_named_with_its_setting(failing, variable):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        field = variable.removeprefix("ZETA_").lower()
        with pytest.raises(ConfigError, match=rf"port {taken}.*{variable}"):
            services.up(replace(failing, **{field: taken}))
        assert not Processes(failing.home / "run", failing.home / "log").alive("mlflow")


def test_without_the_environments_the_error_says_how_to_install_them(settings, monkeypatch):
    monkeypatch.setattr(services, "PROGRAMS", {"airflow": Path("/nowhere/airflow")})
    with pytest.raises(ConfigError, match="make install"):
        services.up(settings)
