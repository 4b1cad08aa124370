"""Rolling a release out: canary, proof, promotion; whatever fails leaves the old version serving."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pipeline.errors import Permanent
from pipeline.manifest import Golden
from pipeline.verdict import Rollout, Verdict

_BATCH = 200
Role = Literal["stable", "canary"]


@dataclass(frozen=True)
class Target:
    """A model version and the digest of its image."""

    version: str
    digest: str


@dataclass(frozen=True)
class Release(Target):
    """A target that a platform runs, and where it answers, such as http://127.0.0.1:8100."""

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

    def remove(self, name: str) -> None:
        """Stop all that runs of a model."""


@dataclass(frozen=True)
class Proof:
    """What a canary must answer: its golden rows as when it was trained, and fresh rows without an error."""

    golden: Golden
    fresh: Sequence[dict[str, Any]]


def roll_out(platform: Platform, name: str, target: Target, proof: Proof, champion: Target | None) -> Verdict:
    """Roll a target out; the verdict is promoted, or rolled_back with the reasons.

    What served before is brought back; the champion, when the target itself serves since a run that was cut short;
    nothing, when a model's first version is not fit.
    """
    stable = platform.release(name, "stable")
    served = stable if stable and stable.digest == target.digest else None
    back = champion if served else stable
    try:
        faults = [] if served and served.ready else _promote(platform, name, target, proof)
        faults = faults or prove(platform, name, "stable", proof)
    except Permanent as error:
        faults = [str(error)]
    if faults:
        try:
            restore(platform, name, back)
        except Permanent as error:
            raise Permanent(
                f"version {target.version} is not fit: {'; '.join(faults)}; bringing back: {error}"
            ) from error
        return Verdict(Rollout.ROLLED_BACK, tuple(faults))
    platform.remove_canary(name)
    proven = f"{len(proof.golden.rows)} golden rows answered as trained, {len(proof.fresh)} fresh rows without an error"
    return Verdict(Rollout.PROMOTED, (proven,))


def _promote(platform: Platform, name: str, target: Target, proof: Proof) -> list[str]:
    platform.start_canary(name, target.version, target.digest)
    faults = prove(platform, name, "canary", proof)
    if not faults:
        platform.promote(name)
    return faults


def prove(platform: Platform, name: str, role: Role, proof: Proof) -> list[str]:
    """Return what is wrong with a role's answers."""
    faults = [f"{role}: {text}" for text in proof.golden.differences(platform.predict(name, role, proof.golden.rows))]
    for first in range(0, len(proof.fresh), _BATCH):
        rows = list(proof.fresh[first : first + _BATCH])
        answers = platform.predict(name, role, rows)
        if len(answers) != len(rows) or any(answer is None for answer in answers):
            faults.append(f"{role}: {len(rows)} fresh rows got {len(answers)} answers, or an empty one")
    return faults


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
