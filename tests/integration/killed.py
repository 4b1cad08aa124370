"""Runs ``zeta`` and kills it right after a call: ``killed.py Registry.set_alias 2 run NAME`` after the second one."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pipeline import cli
from pipeline.adapters.local import LocalPlatform
from pipeline.adapters.oci import Layout
from pipeline.adapters.registry import Registry

KINDS = {kind.__name__: kind for kind in (Layout, LocalPlatform, Registry)}


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
    kind, method = KINDS[place.split(".")[0]], place.split(".")[1]
    setattr(kind, method, cut(getattr(kind, method), int(after)))
    del sys.argv[1:3]
    cli.main()
