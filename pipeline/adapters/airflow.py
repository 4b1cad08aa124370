"""Runs of a model's DAG in the Airflow that ``zeta up`` started, over its REST API: ask for one, follow it."""

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from pipeline.adapters.services import check_alive
from pipeline.errors import Permanent, Temporary
from pipeline.settings import Settings

_POLL_SECONDS = 0.5
# Its database may be busy: a refused write has changed nothing and is asked for again.
_PAUSES = (0.5, 1, 2, 4, 8)


@dataclass(frozen=True)
class Run:
    """A run: queued, running, success or failed; the tasks that have a state, by their names, with it."""

    state: str
    tasks: dict[str, str]

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("success", "failed")


def trigger(settings: Settings, model: str, at: datetime) -> str:
    """Ask for a run whose logical time is ``at``; return its id. Permanent when there is one for that time."""
    return str(_ask(settings, "POST", f"{_dag(model)}/dagRuns", {"logical_date": at.isoformat()})["dag_run_id"])


def look(settings: Settings, model: str, run: str) -> Run:
    """Return how far a run has come."""
    path = f"{_dag(model)}/dagRuns/{run}"
    state = _ask(settings, "GET", path)["state"]
    tasks = _ask(settings, "GET", f"{path}/taskInstances")["task_instances"]
    return Run(state, {task["task_id"]: task["state"] for task in tasks if task["state"]})


def wait(
    settings: Settings, model: str, run: str, seconds: float = 3600, on_look: Callable[[Run], None] = lambda run: None
) -> Run:
    """Return a run when it has finished; Permanent when it takes longer or a service ends meanwhile."""
    deadline = time.monotonic() + seconds
    while not (found := look(settings, model, run)).finished:
        on_look(found)
        check_alive(settings)
        if time.monotonic() > deadline:
            raise Permanent(f"{model}: run {run} has not finished after {seconds:g} s; it stands at {found.tasks}")
        time.sleep(_POLL_SECONDS)
    return found


def wait_for_dags(settings: Settings, models: Iterable[str], seconds: float = 60) -> None:
    """Return when Airflow has read the DAGs of these models; Permanent, with its import errors, when it does not."""
    deadline = time.monotonic() + seconds
    missing = set(models)
    while missing := {model for model in missing if not _is_read(settings, model)}:
        check_alive(settings)
        if time.monotonic() > deadline:
            errors = [error["stack_trace"] for error in _ask(settings, "GET", "importErrors")["import_errors"]]
            raise Permanent("\n".join([f"no DAG after {seconds:g} s for: {', '.join(sorted(missing))}", *errors]))
        time.sleep(_POLL_SECONDS)


def _dag(model: str) -> str:
    return f"dags/zeta_{model}"


def _is_read(settings: Settings, model: str) -> bool:
    dags = _ask(settings, "GET", f"dags?dag_id_pattern=zeta_{model}&limit=100")["dags"]
    return f"zeta_{model}" in {dag["dag_id"] for dag in dags}


def _ask(settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    url = f"{settings.airflow_url}/api/v2/{path}"
    for pause in _PAUSES:
        try:
            answer = _client().request(method, url, json=body)
        except httpx.TransportError as error:
            raise Temporary(f"Airflow does not answer at {url} ({error}); start it: make up") from error
        if not answer.is_server_error:
            break
        time.sleep(pause)
    if answer.is_error:
        raise Permanent(f"Airflow refused {method} {url}: {answer.status_code} {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


@functools.cache
def _client() -> httpx.Client:
    # One client for all: each new one reads the certificates anew, which costs more than the question.
    return httpx.Client(timeout=30, trust_env=False)
