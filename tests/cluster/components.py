"""What runs on the node, from config/components.yaml: filled in, started, asked whether it is ready."""

import os
import shutil
import socket
import string
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import yaml

from tests.cluster import processes
from tests.cluster.machine import LOCAL, NODE
from tests.cluster.steps import Failed

CONFIG = Path(__file__).parent / "config"
_SECONDS = 180


@dataclass(frozen=True)
class Component:
    """One process: its command, more variables for it, where it tells that it is ready, and what must be so before."""

    name: str
    command: tuple[str, ...]
    ready: str
    environment: dict[str, str]
    after: tuple[str, ...]


def configure(state: Path, programs: Path, port: int, without: Collection[str] = ()) -> list[Component]:
    """Write the configuration files to ``state``; return the components in the order of the file, some left out."""
    values = {
        "state": str(state), "node": NODE, "local": LOCAL, "port": str(port), "pods": "10.244.0.0/24",
        "services": "10.96.0.0/16",
    }  # fmt: skip
    for template in CONFIG.iterdir():
        (state / "config" / template.name).write_text(string.Template(template.read_text()).substitute(values))
    described = yaml.safe_load((state / "config/components.yaml").read_text())
    return [_component(name, programs, about) for name, about in described.items() if name not in without]


def _component(name: str, programs: Path, about: dict[str, Any]) -> Component:
    program, *arguments = about["command"]
    found = shutil.which(program, path=f"{programs}:{os.environ['PATH']}")
    if found is None:
        raise Failed(f"{program} is missing")
    after = tuple(about.get("after", ()))
    return Component(name, (found, *arguments), about["ready"], about.get("environment", {}), after)


def start(components: list[Component], state: Path) -> None:
    """Start what does not run, when what it needs is ready; return when all are. Raises Failed with a log's end."""
    names, running = {one.name for one in components}, processes.running()
    started: dict[str, Popen[bytes] | None] = {}
    ready: set[str] = set()
    deadline = time.monotonic() + _SECONDS
    while ready < names:
        for one in components:
            if one.name not in started and set(one.after) & names <= ready:
                runs = one.command in running
                process = None if runs else processes.start(one.command, one.environment, _log(state, one))
                started[one.name] = process
            elif one.name in started.keys() - ready:
                ready |= {one.name} if _answers(one.ready) else set()
                process = started[one.name]
                # One that ran may end yet: those that elect a leader do a while after the API server went.
                if process is None and one.command not in processes.running():
                    process = started[one.name] = processes.start(one.command, one.environment, _log(state, one))
                died = process is not None and process.poll() is not None
                if one.name not in ready and (died or time.monotonic() > deadline):
                    raise Failed(f"{one.name} does not answer at {one.ready}; the end of its log:\n{_end(state, one)}")
        time.sleep(0.05)


def _answers(address: str) -> bool:
    scheme, _, path = address.partition(":")
    try:
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.connect(path)
            return True
        # Some of them answer with certificates that they made themselves.
        return httpx.get(address, verify=False, trust_env=False, timeout=5).is_success
    except (OSError, httpx.TransportError):
        return False


def _log(state: Path, component: Component) -> Path:
    return state / "log" / f"{component.name}.log"


def _end(state: Path, component: Component) -> str:
    lines = _log(state, component).read_text(errors="replace").splitlines()[-15:]
    return "\n".join(line[:300] for line in lines)
