"""Releases on this machine: one supervisor process a model, which is told by a file what to run."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from pipeline import observation
from pipeline.adapters.processes import Processes, last_lines
from pipeline.adapters.releases import Desired, Observed, Releases, Seen, Wanted
from pipeline.adapters.replica import START_SECONDS
from pipeline.adapters.supervisor import LOOK_AGAIN, STOP_SECONDS
from pipeline.errors import Permanent
from pipeline.observation import Observation
from pipeline.rollout import Release, Role
from pipeline.settings import ROOT, Settings

_SETTLE_SECONDS = START_SECONDS + 2 * STOP_SECONDS
_POLL_SECONDS = 0.05
_MOST_STARTS = 3
_ROWS = 5_000
_ANSWER_SECONDS = 120.0


class LocalPlatform:
    """The platform that needs nothing but Python. ``unpack`` turns an image's digest into its unpacked root.

    A supervisor that is gone is started again by whatever is asked next.
    """

    def __init__(self, settings: Settings, unpack: Callable[[str], Path]) -> None:
        self._settings = settings
        self._unpack = unpack
        self._processes = Processes(settings.home / "run", settings.home / "log")
        # No connection is kept: behind the same address there may be another server by the next request.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(timeout=_ANSWER_SECONDS, limits=limits, trust_env=False)

    def release(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role, when nothing is under way any more; None when nothing does."""
        return _in(role, self.ensure(name))

    def seen(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role as it is at this moment, without starting or awaiting anything."""
        return _in(role, self._releases(name).observed() if self._processes.alive(_process(name)) else None)

    def start_canary(self, name: str, version: str, digest: str) -> Release:
        """Start a canary and return it when it is ready.

        Permanent, with its log's last lines, when it never is; then there is no canary.
        """
        wanted = Wanted(version, digest, str(self._unpack(digest)))
        canary = self._wish(name, lambda desired: replace(desired, canary=wanted)).canary
        if canary is None or canary.state != "ready":
            self.remove_canary(name)
            raise self._failure(name, "canary", canary)
        return _release(canary)

    def split(self, name: str, percent: int) -> bool:
        """Return False: all live requests are the stable server's."""
        return False

    def observe(self, name: str, role: Role) -> Observation:
        """Return what a role's server has counted; Permanent when it does not answer."""
        return observation.read(self._ask(name, role, "/metrics").text)

    def predict(self, name: str, role: Role, rows: list[dict[str, Any]]) -> list[Any]:
        """Return what a role answers over HTTP: a number, a text or a list of labels a row.

        Permanent when it answers with an error or not at all.
        """
        answers: list[Any] = []
        for first in range(0, len(rows), _ROWS):
            body = msgspec.json.encode({"dataframe_records": rows[first : first + _ROWS]})
            answers += self._ask(name, role, "/invocations", body).json()["predictions"]
        return answers

    def promote(self, name: str) -> Release:
        """Let the canary's digest take over the stable address; return when the old server is gone.

        Permanent when it does not become ready there; then what was stable still serves.
        """

        def promoted(desired: Desired) -> Desired:
            return replace(desired, stable=desired.canary or desired.stable, canary=None)

        observed = self._wish(name, promoted)
        newest = observed.incoming or observed.stable
        if newest is None:
            raise Permanent(f"{name}: there is no canary to promote; start one first")
        if newest.state != "ready":
            self._wish(name, lambda desired: replace(desired, stable=observed.serving))
            raise self._failure(name, "stable", newest)
        return _release(newest)

    def remove_canary(self, name: str) -> None:
        """Stop the canary if there is one; return when it is gone."""
        if self._releases(name).desired().canary is not None:
            self._wish(name, lambda desired: replace(desired, canary=None))

    def remove(self, name: str) -> None:
        """Stop all that runs of a model; return when it is gone."""
        if (self._releases(name).desired().stable or self._releases(name).desired().canary) is not None:
            self._wish(name, lambda desired: replace(desired, stable=None, canary=None))
        self.stop(name)

    def ensure(self, name: str) -> Observed | None:
        """Start the supervisor if need be, wait until nothing is under way; None when nothing is to run."""
        desired = self._releases(name).desired()
        return self._settled(name, desired.generation) if desired.stable or desired.canary else None

    def stop(self, name: str) -> None:
        """Stop the model's supervisor and its servers; ``ensure`` starts them again."""
        self._processes.stop(_process(name), 2 * STOP_SECONDS)

    def _ask(self, name: str, role: Role, path: str, body: bytes | None = None) -> httpx.Response:
        release = self._ready(name, role)
        try:
            reply = self._client.request("GET" if body is None else "POST", f"{release.address}{path}", content=body)
            return reply.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise Permanent(f"{name}: the {role} answers: {error.response.text}") from error
        except httpx.TransportError as error:
            raise Permanent(f"{name}: the {role} at {release.address} does not answer: {error}") from error

    def _ready(self, name: str, role: Role) -> Release:
        # What is stable has been running for long: it is its own baseline.
        release = self.release(name, "canary" if role == "canary" else "stable")
        if release is None or not release.ready:
            raise Permanent(f"{name}: there is no {role} that is ready to be asked; start one first")
        return release

    def _releases(self, name: str) -> Releases:
        return Releases(self._settings.home, name)

    def _wish(self, name: str, change: Callable[[Desired], Desired]) -> Observed:
        """Change what is desired and wait until the supervisor is done with it."""
        releases = self._releases(name)
        with _locked(releases.folder / "desired.lock"):
            before = releases.desired()
            desired = replace(change(before), generation=before.generation + 1)
            releases.write(desired)
        observed, pid = releases.observed(), self._processes.pid(_process(name))
        # Only a supervisor that has published something listens; a younger one reads the file anyway.
        if pid is not None and observed is not None and observed.supervisor == pid:
            with suppress(ProcessLookupError):
                os.kill(pid, LOOK_AGAIN)
        return self._settled(name, desired.generation)

    def _settled(self, name: str, generation: int) -> Observed:
        deadline = time.monotonic() + _SETTLE_SECONDS
        pids: set[int] = set()
        while time.monotonic() < deadline and len(pids) <= _MOST_STARTS:
            pid = self._supervisor(name)
            pids.add(pid)
            observed = self._releases(name).observed()
            if observed and observed.supervisor == pid and observed.generation >= generation and observed.settled:
                return observed
            time.sleep(_POLL_SECONDS)
        log = self._processes.log(_process(name))
        raise Permanent(f"{name}: its release does not settle; {log} ends with:\n{last_lines(log)}")

    def _supervisor(self, name: str) -> int:
        pid = self._processes.pid(_process(name))
        if pid is not None:
            return pid
        desired, observed = self._releases(name).desired(), self._releases(name).observed()
        for wanted in (desired.stable, desired.canary, observed.serving if observed else None):
            if wanted is not None:
                self._unpack(wanted.digest)
        environment = os.environ | {
            "ZETA_HOME": str(self._settings.home),
            "ZETA_MODEL_PORT": str(self._settings.model_port),
        }
        command = [sys.executable, "-m", "pipeline.adapters.supervisor", name]
        return self._processes.start(_process(name), command, environment, ROOT)

    def _failure(self, name: str, role: Role, seen: Seen | None) -> Permanent:
        log = self._settings.home / "log" / f"{name}-{role}.log"
        what = f"version {seen.version} ({seen.digest}): {seen.error}" if seen else "it is gone"
        return Permanent(
            f"{name}: the {role} server does not become ready: {what}; {log} ends with:\n{last_lines(log)}"
        )


def _process(name: str) -> str:
    return f"model-{name}"


def _in(role: Role, observed: Observed | None) -> Release | None:
    seen = observed and (observed.stable if role == "stable" else observed.canary)
    return _release(seen) if seen else None


def _release(seen: Seen) -> Release:
    ready = seen.state == "ready"
    return Release(seen.version, seen.digest, ready, seen.address, (int(ready), 1))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        flock(lock, LOCK_EX)
        yield
