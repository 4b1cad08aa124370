"""Runs ``zeta`` and kills it right after a call: ``killed.py Registry.set_alias 2 run NAME`` after the second one."""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pipeline import cli

# Imported when asked for: a local run needs nothing of a cluster's.
KINDS = {
    "Helm": "helm", "KubernetesPlatform": "kubernetes", "Layout": "oci", "LocalPlatform": "local",
    "Registry": "registry", "Remote": "remote",
}  # fmt: skip


def cut(call: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Return the same function, which ends the process when it has been called so often."""

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal after
        answer = call(*arguments, **named)
        after -= 1
        if after == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return counted


if __name__ == "__main__":
    place, after = sys.argv[1:3]
    name, method = place.split(".")
    kind = getattr(importlib.import_module(f"pipeline.adapters.{KINDS[name]}"), name)
    setattr(kind, method, cut(getattr(kind, method), int(after)))
    del sys.argv[1:3]
    cli.main()
