"""The services that ``zeta up`` keeps on this machine: the MLflow server and Airflow, all on the loopback address."""

import base64
import hashlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL
from string import Template

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.adapters.processes import Processes, last_lines
from pipeline.errors import ConfigError, Permanent
from pipeline.settings import ROOT, Settings

NAMES = ("mlflow", "airflow-api-server", "airflow-dag-processor", "airflow-scheduler")
"""In the order in which they start."""
PROGRAMS = {name: ROOT / f".zeta/envs/{name}/bin/{name}" for name in ("airflow", "mlflow")}
_TEMPLATE = ROOT / "images/airflow/airflow.cfg"
_START_SECONDS = 180.0
STOP_SECONDS = 20.0
_LEFT_SECONDS = 3.0
_POLL_SECONDS = 0.25
# The API server notes who asked for a run on its event loop, in a write that may wait for a request's of its own, whose
# commit waits for the loop: both stand until the first gives up. Both who ask, Zeta and tasks, then ask again.
_API_SERVER_PATIENCE = 2


def up(settings: Settings, schedules: bool = True) -> None:
    """Start what does not run yet, with progress on stderr; return when everything is healthy.

    Without ``schedules`` Airflow starts only the runs that are asked for. Changed settings restart everything.
    ConfigError when a port is taken, Permanent with the log's last lines when a service does not become healthy.
    """
    for program in PROGRAMS.values():
        if not program.exists():
            raise ConfigError(f"{program} is missing; install it: make install")
    _configure(settings, schedules)
    missing = [name for name in NAMES if not _processes(settings).alive(name)]
    for name in missing:
        # Of a service that was killed its children may be left; they hold its port, or wait for work in vain.
        _stop(settings, name, _LEFT_SECONDS)
    _check_ports(settings, missing)
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        since = datetime.now(UTC) if missing else datetime.min.replace(tzinfo=UTC)
        for name in missing:
            if name == "airflow-api-server":
                _migrate(settings, progress)
            _start(settings, name)
        _wait_until_healthy(settings, progress, since)


def down(settings: Settings) -> None:
    """Stop every service and the tasks that run; return when they are gone."""
    # A task that ends with the scheduler still tells the API server how.
    _stop(settings, NAMES[-1], STOP_SECONDS)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: _stop(settings, name, STOP_SECONDS), NAMES[:-1]))


def addresses(settings: Settings) -> dict[str, str]:
    """Where people look at what runs: service -> URL."""
    return {"Airflow": settings.airflow_url, "MLflow": f"http://127.0.0.1:{settings.mlflow_port}"}


def check_alive(settings: Settings) -> None:
    """Raise Permanent, with the log's last lines, when a service does not run."""
    processes = _processes(settings)
    for name in NAMES:
        if not processes.alive(name):
            raise _failure(processes, name, "does not run")


def _processes(settings: Settings) -> Processes:
    return Processes(settings.home / "run", settings.home / "log")


def _configure(settings: Settings, schedules: bool) -> None:
    """Write airflow.cfg, readable by its owner alone; stop what runs with other settings."""
    folder = settings.home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    secret, file = _secret(folder / "secret"), folder / "airflow.cfg"
    text = Template(_TEMPLATE.read_text()).substitute(
        root=_escaped(ROOT), home=_escaped(settings.home), schedules=schedules, secret=secret,
        fernet_key=base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).decode(),
        airflow_port=settings.airflow_port, airflow_url=settings.airflow_url, tracking_uri=settings.tracking_uri,
        mlflow_port=settings.mlflow_port, models=settings.models,
    )  # fmt: skip
    if not file.exists() or file.read_text() != text:
        down(settings)
        _write_private(file, text)


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _secret(file: Path) -> str:
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(64))
    return file.read_text()


def _write_private(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(file)


def _check_ports(settings: Settings, missing: Sequence[str]) -> None:
    listeners = {
        "mlflow": (settings.mlflow_port, "ZETA_MLFLOW_PORT"),
        "airflow-api-server": (settings.airflow_port, "ZETA_AIRFLOW_PORT"),
    }
    for name, (port, variable) in listeners.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if name in missing:
                    probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    f"port {port}, where {name} is to listen, is taken ({error.strerror}); "
                    f"stop what listens there or set {variable} to a free port"
                ) from error


def _environment(settings: Settings) -> dict[str, str]:
    # A person's own Airflow and Python settings would reach into this installation, or this one into theirs.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    no_proxy = ",".join(filter(None, (os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), "127.0.0.1")))
    return inherited | {
        "no_proxy": no_proxy,
        "NO_PROXY": no_proxy,
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "PYTHONPATH": str(ROOT),
        "ZETA_HOME": str(settings.home),
        "ZETA_MODELS": str(settings.models),
        "ZETA_MLFLOW_PORT": str(settings.mlflow_port),
        "ZETA_AIRFLOW_PORT": str(settings.airflow_port),
        "ZETA_MODEL_PORT": str(settings.model_port),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }


def _command(settings: Settings, name: str) -> list[str]:
    if name != "mlflow":
        options = {"airflow-api-server": ["--workers", "1"], "airflow-scheduler": ["--skip-serve-logs"]}
        return [str(PROGRAMS["airflow"]), name.removeprefix("airflow-"), *options.get(name, [])]
    folder = settings.home / "mlflow"
    return [
        str(PROGRAMS["mlflow"]), "server", "--workers", "1", "--host", "127.0.0.1",
        "--port", str(settings.mlflow_port), "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--serve-artifacts", "--artifacts-destination", f"{folder}/artifacts",
    ]  # fmt: skip


def _start(settings: Settings, name: str) -> None:
    folder = settings.home / name.partition("-")[0]
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(settings)
    if name == "airflow-api-server":
        database = f"sqlite:///{folder}/airflow.db?timeout={_API_SERVER_PATIENCE}"
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database
    _processes(settings).start(name, _command(settings, name), environment, folder)


def _stop(settings: Settings, name: str, grace: float) -> None:
    processes = _processes(settings)
    leader = processes.pid(name)
    processes.stop(name, grace)
    if leader:
        _kill_session(leader)


def _migrate(settings: Settings, progress: Progress) -> None:
    row = progress.add_task("airflow's database", total=1)
    command = [str(PROGRAMS["airflow"]), "db", "migrate"]
    done = subprocess.run(command, env=_environment(settings), capture_output=True, text=True)
    if done.returncode:
        raise Permanent(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    progress.update(row, completed=1)


def _wait_until_healthy(settings: Settings, progress: Progress, since: datetime) -> None:
    processes, deadline = _processes(settings), time.monotonic() + _START_SECONDS
    rows = {name: progress.add_task(name, total=1) for name in NAMES}
    while rows:
        for name in _healthy(settings, since) & rows.keys():
            progress.update(rows.pop(name), completed=1)
        for name in rows:
            if not processes.alive(name):
                raise _failure(processes, name, "ended while it started")
            if time.monotonic() > deadline:
                raise _failure(processes, name, f"is not healthy after {_START_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


def _failure(processes: Processes, name: str, what: str) -> Permanent:
    log = processes.log(name)
    return Permanent(f"{name} {what}; its log {log} ends with:\n{last_lines(log)}")


def _healthy(settings: Settings, since: datetime) -> set[str]:
    """Return the services that answer, or have told the API server's database after ``since`` that they live."""
    urls = addresses(settings)
    healthy = {"mlflow"} if _answer(f"{urls['MLflow']}/health") else set()
    answer = _answer(f"{urls['Airflow']}/api/v2/monitor/health")
    # The part that tasks talk to is made at its first request, in seconds that the first task would wait for.
    if answer and _answer(f"{urls['Airflow']}/execution/health"):
        healthy.add("airflow-api-server")
        for name in ("scheduler", "dag_processor"):
            told = answer.json()[name]
            if told["status"] == "healthy" and datetime.fromisoformat(told[f"latest_{name}_heartbeat"]) > since:
                healthy.add(f"airflow-{name.replace('_', '-')}")
    return healthy


def _answer(url: str) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        answer = httpx.get(url, timeout=5, trust_env=False)
        return answer if answer.is_success else None
    return None


def _kill_session(leader: int) -> None:
    """Kill what a service that is gone has left: a task's processes have a group, but no session, of their own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == leader:
                    os.kill(int(entry.name), SIGKILL)
