"""The processes of the cluster: whatever is in its control groups is its own, even when the one who started it died."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.steps import wait

OWN = "zeta-cluster"
GROUPS = (OWN, "kubepods", "zeta-docker")
"""Control groups: of the components, of the pods, of Docker's containers."""


def hierarchies() -> dict[Path, frozenset[str]]:
    """Return where control groups are mounted, and the controllers there: version 2 has one place and calls it ''."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return {
        Path(folder): frozenset({""} if kind == "cgroup2" else folder.rpartition("/")[2].split(","))
        for _, folder, kind, *_ in mounts
        if kind in ("cgroup", "cgroup2")
    }


def members(group: str) -> set[int]:
    """Return the processes in a control group and in those below it."""
    found: set[int] = set()
    for root in hierarchies():
        for path in (root / group).rglob("cgroup.procs"):
            # A group may go while it is looked at.
            with contextlib.suppress(OSError):
                found |= {int(number) for number in path.read_text().split()}
    return found


def running() -> set[tuple[str, ...]]:
    """Return the commands of the components that run."""
    found = set()
    for pid in members(OWN):
        with contextlib.suppress(OSError):
            found.add(tuple(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]))
    return found


def exists(name: str) -> bool:
    """Whether a process of this name runs on this machine, anybody's."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == name:
                return True
    return False


def memory() -> int:
    """Return the bytes that the components take; what several of them share is divided among them."""
    total = 0
    for pid in members(OWN):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def start(command: tuple[str, ...], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a component that outlives this process."""
    with _joined(), log.open("a") as output:
        return subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
            start_new_session=True,
        )  # fmt: skip


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    """Be in the components' group: a child is born there, so it is found even if this process is killed right then."""
    mounted = hierarchies()
    chosen = {root: names for root, names in mounted.items() if names & {"cpu", "memory"}} or mounted
    groups = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    homes = {frozenset(names.split(",")): path.lstrip("/") for names, path in groups}
    for root in chosen:
        (root / OWN).mkdir(exist_ok=True)
        (root / OWN / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        for root, names in chosen.items():
            (root / homes[names] / "cgroup.procs").write_text(str(os.getpid()))


def kill() -> None:
    """Kill all that is in the cluster's groups, and remove these. Raises Failed when something does not go."""
    groups = [root / group for root in hierarchies() for group in GROUPS]

    def gone() -> bool:
        for pid in {pid for group in GROUPS for pid in members(group)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in (folder for group in groups for folder, _, _ in os.walk(group, topdown=False)):
            # As long as a process in it has not ended, it is busy.
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not any(group.exists() for group in groups)

    wait("the end of the cluster's processes", gone)
