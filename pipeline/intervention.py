"""What a person does by hand: pause a model, promote a version past the gate. Both leave a trace."""

from datetime import datetime

from pipeline import alert, delivery
from pipeline.adapters import notifier
from pipeline.adapters.registry import BY_HAND, PAUSED
from pipeline.alert import Outcome
from pipeline.errors import ConfigError, Permanent
from pipeline.trouble import Kind
from pipeline.verdict import Rollout, Verdict
from pipeline.workspace import Workspace


def pause(work: Workspace, reason: str, at: datetime) -> None:
    """Let the model be scored but not retrained until ``resume``."""
    work.registry.set_note(work.config.name, PAUSED, f"{_given(reason)} (since {at:%Y-%m-%d %H:%M} UTC)")


def resume(work: Workspace) -> None:
    """Let the model be retrained again."""
    work.registry.set_note(work.config.name, PAUSED, None)


def promote(work: Workspace, number: str, reason: str, at: datetime) -> Verdict:
    """Roll a version out whatever the gate said of it, behind a canary as always; tag it with the reason and tell.

    Permanent for a version that the gate has not scored: nothing would tell when it degrades.
    """
    name = work.config.name
    version = work.registry.version(name, number)
    if "reference_loss" not in version.tags:
        raise Permanent(f"{name} version {number} was not scored at the gate; promote one that was, or run the model")
    why = f"{_given(reason)} ({at:%Y-%m-%d %H:%M} UTC; the gate said {version.tags.get('gate')})"
    work.registry.tag(version, {BY_HAND: why})
    verdict = delivery.deliver(work, work.registry.version(name, number), at, work.config.rollout.canary)
    if verdict.outcome == Rollout.PROMOTED:
        outcome = Outcome(name, at, work.config.owner, version=number, challenger=number, reasons=(why,))
        notifier.send(alert.build(Kind.PROMOTED_BY_HAND, outcome), work.config.alerts)
    return verdict


def _given(reason: str) -> str:
    if not reason.strip():
        raise ConfigError("--reason is empty; say why, whoever comes after you will want to know")
    return reason.strip()
