"""Rolling a release out: canary, proof, watch, promotion; whatever fails leaves the old version serving.

The steps are the same on every platform. What a platform cannot do, send it a share of the live requests, is replaced
by a replay of fresh rows; a canary that nobody has asked anything is never promoted beside a champion.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pipeline.canary import Watch, apart
from pipeline.config import Canary
from pipeline.errors import Permanent
from pipeline.manifest import Golden
from pipeline.observation import Observation, grouped
from pipeline.verdict import Rollout, Verdict

LOOK_SECONDS = 2.0
_BATCH = 200
_REPLAYED = 100
Role = Literal["stable", "canary", "baseline"]


@dataclass(frozen=True)
class Target:
    """A model version and the digest of its image."""

    version: str
    digest: str


@dataclass(frozen=True)
class Release(Target):
    """A target that a platform runs, where it answers, such as http://127.0.0.1:8100, and how many servers it has:
    those that are ready, those that there are to be."""

    ready: bool
    address: str
    servers: tuple[int, int] = (1, 1)


class Platform(Protocol):
    """Where releases run. Each method may be called again after a crash and then ends in the same state."""

    def release(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role, None when nothing does."""

    def seen(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role as it is at this moment, without starting or awaiting anything."""

    def start_canary(self, name: str, version: str, digest: str) -> Release:
        """Start a canary, and beside it a baseline: what is stable, as freshly started; return it when it is ready.

        Permanent, with its log's last lines, when it never is.
        """

    def predict(self, name: str, role: Role, rows: list[dict[str, Any]]) -> list[Any]:
        """Return what a role answers for rows of features; Permanent when it answers with an error."""

    def split(self, name: str, percent: int) -> bool:
        """Send the canary, and the baseline too, a share of the live requests; False where that cannot be."""

    def observe(self, name: str, role: Role) -> Observation:
        """Return what a role has counted since it was started; Permanent when one of its servers has died."""

    def promote(self, name: str) -> Release:
        """Let the canary's digest take over the stable address without a failed request; return it."""

    def remove_canary(self, name: str) -> None:
        """Stop the canary and its baseline if they are there."""

    def remove(self, name: str) -> None:
        """Stop all that runs of a model."""


@dataclass(frozen=True)
class Proof:
    """What a server must answer: golden rows as when it was trained, fresh rows as the image does without a server."""

    golden: Golden
    fresh: Golden


def roll_out(
    platform: Platform,
    name: str,
    target: Target,
    proof: Proof,
    champion: Target | None,
    rules: Canary | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Roll a target out; the verdict is promoted, or rolled_back or held with the reasons.

    ``rules``: how it is compared with what serves; None for one that has proven itself before.
    What served before is brought back; the champion, when the target itself serves since a run that was cut short;
    nothing, when a model's first version is not fit.
    """
    stable = platform.release(name, "stable")
    served = stable if stable and stable.digest == target.digest else None
    try:
        found = _attempt(platform, name, target, proof, stable, rules, sleep)
    except Permanent as error:
        found = Verdict(Rollout.ROLLED_BACK, (str(error),))
    if found.outcome == Rollout.PROMOTED:
        platform.remove_canary(name)
        return found
    try:
        restore(platform, name, champion if served else stable)
    except Permanent as error:
        unfit = f"version {target.version} is not fit: {'; '.join(found.reasons)}"
        raise Permanent(f"{unfit}; bringing back: {error}") from error
    return found


def _attempt(
    platform: Platform,
    name: str,
    target: Target,
    proof: Proof,
    stable: Release | None,
    rules: Canary | None,
    sleep: Callable[[float], None],
) -> Verdict:
    """Bring a target from its canary to the stable address, unless it serves there already; prove it there."""
    found = Verdict(Rollout.PROMOTED, ())
    if not (stable and stable.ready and stable.digest == target.digest):
        compared = rules if stable and stable.ready else None
        found = _introduce(platform, name, target, proof, compared, sleep)
    if found.outcome != Rollout.PROMOTED:
        return found
    if faults := prove(platform, name, "stable", proof):
        return Verdict(Rollout.ROLLED_BACK, tuple(faults))
    rows = [len(known.rows) for known in (proof.golden, proof.fresh)]
    proven = f"{rows[0]} golden rows answered as trained, {rows[1]} fresh rows as without a server"
    return Verdict(Rollout.PROMOTED, (proven, *found.reasons), found.numbers)


def _introduce(
    platform: Platform,
    name: str,
    target: Target,
    proof: Proof,
    rules: Canary | None,
    sleep: Callable[[float], None],
) -> Verdict:
    """Start the canary, prove it, compare it by ``rules`` with its baseline, promote it."""
    platform.start_canary(name, target.version, target.digest)
    if faults := prove(platform, name, "canary", proof):
        return Verdict(Rollout.ROLLED_BACK, tuple(faults))
    found = _watch(platform, name, proof, rules, sleep) if rules else Verdict(Rollout.PROMOTED, ())
    if found.outcome == Rollout.PROMOTED:
        platform.promote(name)
    return found


def prove(platform: Platform, name: str, role: Role, proof: Proof) -> list[str]:
    """Return what is wrong with a role's answers."""
    golden = proof.golden.differences(_ask(platform, name, role, proof.golden))
    fresh = proof.fresh.differences(_ask(platform, name, role, proof.fresh), "fresh", "outside the server")
    return [f"{role}: {text}" for text in golden + fresh]


def _ask(platform: Platform, name: str, role: Role, known: Golden) -> list[Any]:
    starts = range(0, len(known.rows), _BATCH)
    return [answer for first in starts for answer in platform.predict(name, role, known.rows[first : first + _BATCH])]


def _watch(platform: Platform, name: str, proof: Proof, rules: Canary, sleep: Callable[[float], None]) -> Verdict:
    """Compare the canary with its baseline, on live requests by steps, on replayed rows when those are too few."""
    # The canary has just been proven to answer so.
    first, second = grouped(proof.fresh.predictions), grouped(_ask(platform, name, "baseline", proof.fresh))
    watch = Watch(usual=apart(first, second), shift=rules.shift)
    meter, shares = _Meter(platform, name, watch), []
    for percent in rules.steps:
        if not platform.split(name, percent):
            break
        meter.begin()
        for _ in range(math.ceil(rules.hold.total_seconds() / LOOK_SECONDS)):
            sleep(LOOK_SECONDS)
            if faults := meter.look():
                return Verdict(Rollout.ROLLED_BACK, tuple(faults), watch.numbers())
        shares.append(f"; at {percent} % it had {meter.share():.0%} of the requests")
    told = f"compared on {watch.canary.requests} live requests, {watch.baseline.requests} of the champion beside it"
    told += "".join(shares)
    if watch.canary.requests < rules.requests:
        if not proof.fresh.rows:
            return Verdict(Rollout.HELD, (f"{told}; no fresh rows to replay instead",), watch.numbers())
        faults = _replay(platform, name, proof.fresh, meter)
        told += f"; replayed {min(_REPLAYED, len(proof.fresh.rows))} fresh rows one by one"
        if faults:
            return Verdict(Rollout.ROLLED_BACK, tuple(faults), watch.numbers())
    return Verdict(Rollout.PROMOTED, (told,), watch.numbers())


class _Meter:
    """Reads what canary, baseline and stable count, from one look to the next."""

    def __init__(self, platform: Platform, name: str, watch: Watch) -> None:
        self._platform, self._name, self._watch = platform, name, watch
        self.begin()

    def begin(self) -> None:
        """Count from here on: the servers may be others than before, which have counted nothing yet."""
        self._first = self._then = self._read()

    def share(self) -> float:
        """Return what share of the requests since ``begin`` were the canary's; 0 when there were none."""
        requests = [then.since(first).requests for then, first in zip(self._then, self._first, strict=True)]
        return requests[0] / max(1, sum(requests))

    def look(self) -> list[str]:
        """Return what is wrong with the canary by all that has been counted."""
        then, self._then = self._then, self._read()
        new, old, _ = (now.since(before) for now, before in zip(self._then, then, strict=True))
        return self._watch.look(new, old)

    def _read(self) -> list[Observation]:
        roles: tuple[Role, ...] = ("canary", "baseline", "stable")
        return [self._platform.observe(self._name, role) for role in roles]


def _replay(platform: Platform, name: str, fresh: Golden, meter: _Meter) -> list[str]:
    for row in fresh.rows[-_REPLAYED:]:
        for role in ("canary", "baseline"):
            platform.predict(name, role, [row])
    return meter.look()


def restore(platform: Platform, name: str, back: Target | None) -> None:
    """Remove the canary and bring back what is to serve; with nothing to bring back, nothing serves."""
    platform.remove_canary(name)
    now = platform.release(name, "stable")
    if back is None:
        platform.remove(name)
    elif now is None or now.digest != back.digest:
        platform.start_canary(name, back.version, back.digest)
        platform.promote(name)
        platform.remove_canary(name)
