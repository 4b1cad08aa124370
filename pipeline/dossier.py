"""The dossier of a champion: what the registry holds of it, as the inputs of a verdict."""

from datetime import datetime

import msgspec

from pipeline import data, decision
from pipeline.adapters.registry import CHAMPION, GAP, PAUSED, Version
from pipeline.decision import Inputs, Row
from pipeline.errors import Permanent
from pipeline.evaluation import Evaluation
from pipeline.workspace import Workspace


def champion(work: Workspace, run: str) -> Version | None:
    """Return the champion that a run is about: the one when it began, whatever has been promoted since."""
    name, known = work.config.name, work.registry.run_tags(run).get("champion")
    if known is None:
        return work.registry.aliased(name, CHAMPION)
    return work.registry.version(name, known) if known else None


def same_score(work: Workspace, champion: Version) -> bool:
    """Tell whether the champion's history is one of the score that is configured now."""
    return champion.tag("score") == work.config.evaluation.score


def first_loss_key(score: str) -> str:
    """Return the note of a model that holds the loss of its first deployed version, frozen."""
    return f"first_loss.{score}"


def first_loss(work: Workspace) -> float | None:
    """Return the loss of the first deployed version at its deployment, None before there was one."""
    text = work.registry.note(work.config.name, first_loss_key(work.config.evaluation.score))
    return None if text is None else float(text)


def inputs(work: Workspace, run: str, at: datetime) -> Inputs:
    """Return what the verdict of a run is made from; Permanent when the run has not scored the champion."""
    config, registry = work.config, work.registry
    judged, text = champion(work, run), registry.read(run, "evaluation.json")
    known = Inputs(
        at=at, score=config.evaluation.score, rule=config.degradation.model_dump(),
        minimum_rows=config.evaluation.minimum_rows, cooldown=config.training.cooldown,
        retrained=max((one.at for one in registry.versions(config.name) if one.at < at), default=None),
        paused=registry.note(config.name, PAUSED),
    )  # fmt: skip
    if judged is None:
        return known
    if text is None:
        raise Permanent(f"{config.name}: this run has not scored the champion; run `zeta evaluate` first")
    known = msgspec.structs.replace(known, champion=judged.number, history_score=judged.tag("score"))
    if not same_score(work, judged):
        return known
    end, earlier = data.matured_end(at, config), _earlier(work, judged)
    reference, since = _history(work, judged, end)
    slices = {name: [one for one in held if one.day < end] for name, held in registry.slices(judged).items()}
    return msgspec.structs.replace(
        known,
        evaluation=decision.seen(msgspec.json.decode(text, type=Evaluation)),
        reference=reference,
        since=since,
        earlier=[_history(work, one, end)[0] for one in earlier],
        gaps=None if config.evaluation.control is None else _gaps(work, judged, end),
        slices=decision.divided(slices, int(judged.tag("gate_end"))),
        first=first_loss(work) if earlier else None,
    )


def _history(work: Workspace, version: Version, end: int) -> tuple[list[Row], list[Row]]:
    points = [point for point in work.registry.points(version) if point.day < end]
    return decision.split(points, int(version.tag("gate_end")))


def _gaps(work: Workspace, version: Version, end: int) -> list[Row]:
    return decision.rows(point for point in work.registry.points(version, GAP) if point.day < end)


def _earlier(work: Workspace, champion: Version) -> list[Version]:
    """Return the versions that were champion before this one, oldest first, and whose history is of the same score."""
    known, score = work.registry.versions(champion.model), champion.tag("score")
    deployed = [one for one in known if "digest" in one.tags and one.tags.get("score") == score]
    return [one for one in reversed(deployed) if int(one.number) < int(champion.number)]
