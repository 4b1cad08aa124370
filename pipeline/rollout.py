"""Rolling a release out: canary, proof, promotion; whatever fails leaves the old version serving."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pipeline.artifact import Golden
from pipeline.errors import Permanent
from pipeline.verdict import Rollout, Verdict

_BATCH = 200
Role = Literal["stable", "canary"]


@dataclass(frozen=True)
class Release:
    """A model version that a platform runs, and where it answers, such as http://127.0.0.1:8100."""

    version: str
    digest: str
    ready: bool
    address: str


class Platform(Protocol):
    """Where releases run. Each method may be called again after a crash and then ends in the same state."""

    def release(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role, None when nothing does."""

    def seen(self, name: str) -> Release | None:
        """Return the stable release as it is at this moment, without starting or awaiting anything."""

    def start_canary(self, name: str, version: str, digest: str) -> Release:
        """Start a canary and return it when it is ready; Permanent, with its log's last lines, when it never is."""

    def predict(self, name: str, role: Role, rows: list[dict[str, Any]]) -> list[Any]:
        """Return what a role answers for rows of features; Permanent when it answers with an error."""

    def promote(self, name: str) -> Release:
        """Let the canary's digest take over the stable address without a failed request; return it."""

    def remove_canary(self, name: str) -> None:
        """Stop the canary if there is one."""


@dataclass(frozen=True)
class Proof:
    """What a canary must answer: its golden rows as when it was trained, and fresh rows without an error."""

    golden: Golden
    fresh: Sequence[dict[str, Any]]


def roll_out(platform: Platform, name: str, version: str, digest: str, proof: Proof) -> Verdict:
    """Roll a version out; the verdict is promoted, or rolled_back with the reasons."""
    stable = platform.release(name, "stable")
    if stable is not None and stable.digest == digest and stable.ready:
        platform.remove_canary(name)
        return Verdict(Rollout.PROMOTED, (f"version {version} serves already",))
    try:
        platform.start_canary(name, version, digest)
        faults = prove(platform, name, "canary", proof)
        if not faults:
            platform.promote(name)
            faults = prove(platform, name, "stable", proof)
    except Permanent as error:
        faults = [str(error)]
    if faults:
        try:
            restore(platform, name, stable)
        except Permanent as error:
            raise Permanent(f"version {version} is not fit: {'; '.join(faults)}; bringing back: {error}") from error
        return Verdict(Rollout.ROLLED_BACK, tuple(faults))
    platform.remove_canary(name)
    proven = f"{len(proof.golden.rows)} golden rows answered as trained, {len(proof.fresh)} fresh rows without an error"
    return Verdict(Rollout.PROMOTED, (proven,))


def prove(platform: Platform, name: str, role: Role, proof: Proof) -> list[str]:
    """Return what is wrong with a role's answers."""
    faults = [f"{role}: {text}" for text in proof.golden.differences(platform.predict(name, role, proof.golden.rows))]
    for first in range(0, len(proof.fresh), _BATCH):
        rows = list(proof.fresh[first : first + _BATCH])
        answers = platform.predict(name, role, rows)
        if len(answers) != len(rows) or any(answer is None for answer in answers):
            faults.append(f"{role}: {len(rows)} fresh rows got {len(answers)} answers, or an empty one")
    return faults


def restore(platform: Platform, name: str, stable: Release | None) -> None:
    """Bring the release back that served before, and remove the canary."""
    platform.remove_canary(name)
    now = platform.release(name, "stable")
    if stable is not None and (now is None or now.digest != stable.digest):
        platform.start_canary(name, stable.version, stable.digest)
        platform.promote(name)
        platform.remove_canary(name)
