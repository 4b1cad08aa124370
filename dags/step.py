"""The tasks of a model's DAG: each runs one ``zeta`` command in the jobs environment, so Airflow imports no model code."""

import json
import os
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, SkipMixin
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

COMMAND = os.environ.get("ZETA_COMMAND", str(Path(__file__).resolve().parent.parent / ".venv/bin/zeta"))
TRY_AGAIN = (75, -signal.SIGTERM)
"""Exit codes that a retry may mend: Temporary, and a step that was stopped from outside."""
ERROR_LINES = 20
"""How much of the end of a failed step's log is the error's text."""


class Step(BaseOperator, SkipMixin):
    """Run ``zeta STEP MODEL --at TIME``; its last line on stdout is the answer, a JSON object, kept as XCom.

    ``goes_on`` are the verdicts with which the DAG goes on; with any other the next task is skipped.
    Exit code 75 is tried again, any other fails the task for good; XCom ``error`` then holds the log's end.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, model: str, goes_on: Collection[str] = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.model = model
        self.goes_on = sorted(goes_on)
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the step; return its answer."""
        answer = self.run(context, self.task_id.replace("_", "-"))
        if self.goes_on and answer["verdict"] not in self.goes_on:
            context["ti"].xcom_push("return_value", answer)
            self.skip(context["ti"], self.get_direct_relatives(upstream=False))
        return answer

    def on_kill(self) -> None:
        """Stop the command when Airflow stops the task."""
        if self._process:
            self._process.terminate()

    def run(self, context: Any, step: str, *options: str) -> dict[str, Any]:
        """Run one command for the run's logical date, its log lines in the task's log; return its answer."""
        run = context["dag_run"]
        at = (run.logical_date or run.run_after).isoformat()
        tail: deque[str] = deque(maxlen=ERROR_LINES)
        try:
            code, output = self._follow([COMMAND, step, self.model, "--at", at, *options], tail)
        except AirflowTaskTimeout as timeout:
            tail.append(f"stopped: {step} took longer than {self.execution_timeout}")
            context["ti"].xcom_push("error", "\n".join(tail))
            raise AirflowFailException(tail[-1]) from timeout
        if code:
            context["ti"].xcom_push("error", "\n".join(tail))
            failure = AirflowException if code in TRY_AGAIN else AirflowFailException
            raise failure(f"zeta {step} {self.model}: exit code {code}")
        return json.loads(output.splitlines()[-1])

    def _follow(self, argv: list[str], tail: deque[str]) -> tuple[int, str]:
        self.log.info("%s", " ".join(argv))
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                argv, stdout=output, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
            )
            try:
                for line in self._process.stderr or ():
                    tail.append(line.rstrip("\n"))
                    self.log.info("%s", tail[-1])
                code = self._process.wait()
            finally:
                self._process.kill()
                self._process.wait()
            output.seek(0)
            return code, output.read()


class Announce(Step):
    """Say how the run ended, when there is something to say; fail when a task failed, so that the run is red."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Announce a failed task, or what came of a retraining, or what ``decide`` has to say; else skip."""
        ti = context["ti"]
        states = ti.get_task_states(dag_id=self.dag_id, run_ids=[ti.run_id])[ti.run_id]
        failed = next((task for task, state in states.items() if state == "failed"), None)
        if failed:
            error = ti.xcom_pull(task_ids=failed, key="error") or "it was killed; the task's log says more"
            self.run(context, "announce", "--failed", failed.replace("_", "-"), "--error", error)
            raise AirflowFailException(f"{failed} failed: {error}")
        decided = ti.xcom_pull(task_ids="decide") or {}
        if states.get("train") != "success" and not decided.get("announce"):
            raise AirflowSkipException(f"nothing to say: {decided.get('verdict')}")
        return self.run(context, "announce")
