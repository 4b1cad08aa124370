"""Airflow on a cluster, as somebody asks it who has logged in; and what it says that its tasks took."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from kubernetes import client

_RUN_SECONDS = 420


@dataclass(frozen=True)
class Airflow:
    """Airflow's REST API, for one who has logged in."""

    asked: httpx.Client

    @classmethod
    def at(cls, address: str, password: str) -> "Airflow":
        """Log in as admin."""
        asked = httpx.Client(base_url=address, timeout=60, trust_env=False)
        answer = asked.post("/auth/token", json={"username": "admin", "password": password}).raise_for_status()
        asked.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return cls(asked)

    def get(self, path: str) -> dict[str, Any]:
        return self.asked.get(f"/api/v2/{path}").raise_for_status().json()

    def await_dag(self, dag: str) -> None:
        """Return when Airflow has a DAG."""
        deadline = time.monotonic() + 120
        while self.asked.get(f"/api/v2/dags/{dag}").status_code != 200:
            assert time.monotonic() < deadline, f"Airflow has no DAG {dag}: {self.get('importErrors')}"
            time.sleep(0.5)

    def trigger(self, dag: str, at: str) -> str:
        """Ask for a run of a logical time; return its path."""
        answer = self.asked.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": at}).raise_for_status()
        return f"dags/{dag}/dagRuns/{answer.json()['dag_run_id']}"

    def ended(self, run: str, namespace: str) -> tuple[str, dict[str, Any]]:
        """Return the state in which a run has ended, and the pods of its tasks, by task, seen meanwhile."""
        core, pods = client.CoreV1Api(), {}
        deadline = time.monotonic() + _RUN_SECONDS
        while (state := self.get(run)["state"]) not in ("success", "failed"):
            assert time.monotonic() < deadline, f"{run} is {state} after {_RUN_SECONDS} s"
            found = core.list_namespaced_pod(namespace, label_selector="kubernetes_executor=True").items
            pods |= {pod.metadata.labels["task_id"]: pod for pod in found}
            time.sleep(0.5)
        return state, pods


def told(triggered: str, tasks: Iterable[dict[str, Any]]) -> None:
    """Print how long the tasks took, as Airflow has it, those that ran."""
    for task in filter(lambda one: one["end_date"] and one["queued_when"], tasks):
        names = ("queued_when", "start_date", "end_date")
        asked, begun, ended = (datetime.fromisoformat(task[name]).timestamp() for name in names)
        since = ended - datetime.fromisoformat(triggered).timestamp()
        print(
            f"{task['task_id']}, try {task['try_number']}: {begun - asked:.1f} s until its pod runs, "
            f"{ended - begun:.1f} s in it; {since:.1f} s since the trigger"
        )
