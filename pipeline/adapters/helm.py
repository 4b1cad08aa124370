"""Helm's command line: one method, one command. What a killed Helm left half done is mended before the next change."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, Permanent, Temporary

HISTORY = 20
"""Revisions that are kept of a release."""
_UNREACHABLE = ("unreachable", "connection refused", "EOF", "i/o timeout", "TLS handshake timeout", "connection reset")


class Helm:
    """The releases of one namespace, made from one chart. Raises Temporary when the cluster does not answer."""

    def __init__(self, namespace: str, chart: Path) -> None:
        program = shutil.which(os.environ.get("HELM", "helm"))
        if program is None:
            raise ConfigError("there is no program helm; install Helm 4, or name it with HELM=")
        self._program = program
        self._namespace = namespace
        self._chart = chart

    def values(self, name: str) -> dict[str, Any] | None:
        """Return the values of a release, None when there is none; first a pending one is mended."""
        if not self._mended(name):
            return None
        found: dict[str, Any] | None = json.loads(self._run("get", "values", name, "--output", "json"))
        return found or {}

    def upgrade(self, name: str, values: dict[str, Any]) -> None:
        """Install or change a release; return when the API server has taken it, not when it is done."""
        self._mended(name)
        self._run(
            "upgrade", "--install", name, str(self._chart), "--values", "-", "--reset-values",
            "--server-side=true", "--force-conflicts", "--history-max", str(HISTORY), standard_input=json.dumps(values),
        )  # fmt: skip

    def uninstall(self, name: str) -> None:
        """Remove a release; return when its objects are gone, at once when there is none."""
        if self._mended(name):
            self._uninstall(name)

    def _mended(self, name: str) -> bool:
        """Tell whether there is a release; bring one that a killed Helm left pending to its last whole revision, or
        to none."""
        listed = json.loads(self._run("list", "--filter", f"^{name}$", "--output", "json"))
        status = listed[0]["status"] if listed else ""
        if not status.startswith(("pending-", "uninstalling")):
            return bool(listed)
        history = json.loads(self._run("history", name, "--output", "json", "--max", str(HISTORY)))
        whole = [one["revision"] for one in history if one["status"] in ("deployed", "superseded")]
        if whole and status != "uninstalling":
            self._run("rollback", name, str(max(whole)), "--server-side=true", "--force-conflicts")
            return True
        self._uninstall(name)
        return False

    def _uninstall(self, name: str) -> None:
        # Helm's other way to wait, a watch, may end before it has seen what there is, or never (helm issue 31766).
        self._run("uninstall", name, "--wait=legacy", "--cascade", "foreground")

    def _run(self, *arguments: str, standard_input: str | None = None) -> str:
        command = [self._program, *arguments, "--namespace", self._namespace]
        done = subprocess.run(command, input=standard_input, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or f"it ended with {done.returncode}"
        error = Temporary if any(word in said for word in _UNREACHABLE) else Permanent
        raise error(f"helm {arguments[0]} failed in namespace {self._namespace}: {said}")
