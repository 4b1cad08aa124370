"""The tasks of a DAG: each runs one ``zeta`` command in the jobs environment, so Airflow imports no model code."""

import json
import os
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, SkipMixin, conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

COMMAND = os.environ.get("ZETA_COMMAND", str(Path(__file__).resolve().parent.parent / ".venv/bin/zeta"))
TRY_AGAIN = (75, -signal.SIGTERM)
"""Exit codes after which a retry may succeed: Temporary's, and that of a command that was stopped."""
ERROR_LINES = 20
"""How much of the end of a command's log is the text of its error."""


class Command(BaseOperator):
    """Run ``zeta ARGUMENTS``. What it says on stdout is kept as XCom.

    A task whose command fails keeps the end of its log as XCom ``error``; only the exit codes of TRY_AGAIN are tried
    again.
    """

    def __init__(self, *, arguments: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> Any:
        """Run the command; return what it says."""
        return self.zeta(context, *self.arguments)

    def on_kill(self) -> None:
        """Stop the command when Airflow stops the task."""
        if self._process:
            self._process.terminate()

    def zeta(self, context: Any, *arguments: str) -> str:
        """Run one command; return what it says."""
        ti, run = context["ti"], context["dag_run"]
        link = f"{conf.get('api', 'base_url', fallback='')}/dags/{self.dag_id}/runs/{run.run_id}"
        tail: deque[str] = deque(maxlen=ERROR_LINES)
        try:
            code, output = self._follow([COMMAND, *arguments], link, tail)
        except AirflowTaskTimeout as timeout:
            tail.append(f"{arguments[0]} was stopped: it took longer than {self.execution_timeout}")
            ti.xcom_push("error", "\n".join(tail))
            raise AirflowFailException(tail[-1]) from timeout
        if code:
            ti.xcom_push("error", "\n".join(tail))
            failure = AirflowException if code in TRY_AGAIN else AirflowFailException
            raise failure(f"zeta {' '.join(arguments[:2])}: exit code {code}")
        return output

    def _follow(self, argv: list[str], link: str, tail: deque[str]) -> tuple[int, str]:
        """Run a command, what it says on stderr in the task's log; return its exit code and its stdout."""
        self.log.info("%s", " ".join(argv))
        environment = os.environ | {"ZETA_AIRFLOW_RUN": link}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                argv, env=environment, stdout=output, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
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


class Step(Command, SkipMixin):
    """Run ``zeta STEP MODEL --at TIME``. Its last line on stdout, a JSON object, is the answer and kept as XCom.

    ``goes_on`` are the verdicts with which the DAG goes on; with any other the next task is skipped.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, model: str, goes_on: Collection[str] = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.model = model
        self.goes_on = goes_on

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the step; return its answer."""
        answer = self.run_command(context, command_name(self.task_id))
        if self.goes_on and answer["verdict"] not in self.goes_on:
            context["ti"].xcom_push("return_value", answer)
            self.skip(context["ti"], self.get_direct_relatives(upstream=False))
        return answer

    def run_command(self, context: Any, step: str, *options: str) -> dict[str, Any]:
        """Run one command for the time that the run stands for; return its answer."""
        run = context["dag_run"]
        at = (run.logical_date or run.run_after).isoformat()
        answer: dict[str, Any] = json.loads(self.zeta(context, step, self.model, "--at", at, *options).splitlines()[-1])
        return answer


class Announce(Step):
    """Say how the run ended when there is something to say; fail when a task failed, so that the run is red."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Announce a failed task, what came of a retraining, or what ``decide`` found worth it; else skip."""
        ti = context["ti"]
        states = ti.get_task_states(dag_id=self.dag_id, run_ids=[ti.run_id])[ti.run_id]
        failed = next((task for task, state in states.items() if state == "failed"), None)
        if failed:
            error = ti.xcom_pull(task_ids=failed, key="error") or "it gave no reason; the task's log says more"
            self.run_command(context, "announce", "--failed", command_name(failed), "--error", error)
            raise AirflowFailException(f"{failed} failed: {error}")
        decided = ti.xcom_pull(task_ids="decide") or {}
        if states.get("train") != "success" and not decided.get("announce"):
            raise AirflowSkipException(f"nothing to say: {decided.get('verdict')}")
        return self.run_command(context, "announce")


def command_name(task: str) -> str:
    """Return the command of a task: build_image -> build-image."""
    return task.replace("_", "-")
