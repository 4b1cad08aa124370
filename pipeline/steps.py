"""The steps of a run, in order: each looks up what is there, does its part, and returns identifiers only.

evaluate >> decide >> (retrain) train >> gate >> (promote) build_image >> roll_out >> announce

A step's answer depends on the registry, the platform and the logical time ``at`` alone, so it can be run again.
"""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from pipeline import (
    announcement,
    control,
    data,
    decision,
    delivery,
    dossier,
    evaluation,
    fingerprint,
    judgement,
    review,
    training,
)
from pipeline.adapters.registry import CHALLENGER, CHAMPION, GAP, Version
from pipeline.artifact import Model
from pipeline.data import Window
from pipeline.detection import WAITING
from pipeline.errors import Permanent
from pipeline.evaluation import Evaluation, Subject
from pipeline.manifest import Manifest
from pipeline.verdict import Decision, Gate, Rollout
from pipeline.warning import watch
from pipeline.workspace import Workspace, commit

Answer = dict[str, Any]


def evaluate(work: Workspace, at: datetime) -> Answer:
    """Score the champion on fresh labelled rows and append to the history of its score."""
    delivery.reconcile(work, at)
    run = work.registry.run(work.config.name, at)
    champion = dossier.champion(work, run)
    if champion is None:
        work.registry.record(run, {"champion": ""})
        return {"run": run, "champion": None, "data_bad": False}
    with work.deployed(champion.tag("digest")) as subject:
        found = _score_champion(work, champion, subject, at)
        _record(work, run, champion, found)
        watch(work, run, champion, subject, at)
    return {"run": run, "champion": champion.number, "data_bad": bool(found.faults)}


def decide(work: Workspace, at: datetime) -> Answer:
    """Judge the champion from the history of its score; the record of the verdict holds all that it was made from."""
    run = work.registry.run(work.config.name, at)
    found = decision.of(dossier.inputs(work, run, at), commit())
    work.registry.write(run, decision.FILE, msgspec.json.encode(found).decode())
    tags = {"verdict": found.outcome, "reasons": "; ".join(found.reasons)}
    work.registry.record(run, tags | dict.fromkeys(found.numbers.keys() & {WAITING}, "yes"), found.numbers)
    if found.outcome != Decision.RETRAIN:
        work.registry.finish(run)
    return {"verdict": str(found.outcome), "announce": announcement.pending(work, run, at)}


def train(work: Workspace, at: datetime) -> Answer:
    """Train a challenger and register it; a run that has one already keeps it."""
    run = work.registry.run(work.config.name, at)
    made = work.registry.trained_by(work.config.name, run) or _train(work, at, run)
    work.registry.set_alias(work.config.name, CHALLENGER, made.number)
    params = {key: made.tags[key] for key in _PARAMS if key in made.tags}
    work.registry.record(run, {"challenger": made.number}, params=params)
    return {"version": made.number}


def gate(work: Workspace, at: datetime) -> Answer:
    """Compare challenger, champion and baseline on rows that no model has seen; its tags keep which look it was."""
    run = work.registry.run(work.config.name, at)
    challenger = _challenger(work, run)
    if "gate" not in challenger.tags:
        found = judgement.judge(work, run, challenger)
        work.registry.write(run, "report.html", review.page(work, run, found, challenger))
        loss, look = found.evidence.loss, found.evidence.look
        tags = {"against": found.champion or judgement.BASELINE, "score": work.config.evaluation.score}
        tags |= {"look": str(look.number), "alpha": f"{look.alpha:.6g}"}
        tags |= {} if loss is None else {"reference_loss": repr(loss)}
        # Last, so that a judgement that was cut short is made anew.
        tags |= {"gate": found.verdict.outcome}
        work.registry.tag(challenger, tags, "\n\n".join(found.verdict.reasons))
        challenger = _challenger(work, run)
    work.registry.record(run, {"gate": challenger.tag("gate")})
    return {"verdict": challenger.tag("gate")}


def build_image(work: Workspace, at: datetime) -> Answer:
    """Build the challenger's image."""
    challenger = _challenger(work, work.registry.run(work.config.name, at))
    return {"version": challenger.number, "digest": delivery.build(work, challenger)}


def roll_out(work: Workspace, at: datetime) -> Answer:
    """Roll the challenger out behind a canary; the alias champion moves only after it was promoted.

    A run that has promoted its challenger does not do so again: somebody may have rolled it back since.
    """
    run = work.registry.run(work.config.name, at)
    challenger = _challenger(work, run)
    if work.registry.run_tags(run).get("rollout") == Rollout.PROMOTED:
        return {"version": challenger.number, "outcome": str(Rollout.PROMOTED)}
    _check_rival(work, challenger)
    verdict = delivery.deliver(work, challenger, at, work.config.rollout.canary)
    work.registry.write(run, "rollout.json", msgspec.json.encode(verdict).decode())
    work.registry.record(run, {"rollout": verdict.outcome})
    return {"version": challenger.number, "outcome": str(verdict.outcome)}


def _record(work: Workspace, run: str, champion: Version, found: Evaluation) -> None:
    score, reference = work.score, float(champion.tag("reference_loss"))
    if dossier.same_score(work, champion):
        marks = [evaluation.shown(score, point, reference) for point in found.points]
        # Last the points: what is appended next begins after them.
        work.registry.add_slices(champion, found.slice_points)
        if found.gaps:
            work.registry.add_points(champion, found.gaps, [{} for _ in found.gaps], GAP)
        work.registry.add_points(champion, found.points, marks)
    work.registry.write(run, "evaluation.json", msgspec.json.encode(found).decode())
    metrics = (
        {}
        if found.score is None
        else {"score": found.score, "rows": found.rows, "reference": score.from_loss(reference)}
    )
    work.registry.record(run, {"champion": champion.number}, metrics)


def _score_champion(work: Workspace, champion: Version, subject: Subject, at: datetime) -> Evaluation:
    config, end = work.config, data.matured_end(at, work.config)
    directory = work.unpacked(champion.tag("digest")) / "model"
    reference_end, trained_end = int(champion.tag("gate_end")), int(champion.tag("training_end"))
    known = [point.day + 1 for point in work.registry.points(champion) if point.day < end]
    since = max([reference_end, *known])
    window = Window(max(end - data.whole_days(config.evaluation.window), trained_end), end)
    read = Window(min(window.first, since), end)
    seen = np.load(directory / "keys.npy", allow_pickle=False)
    profile = training.record(directory).profile
    fresh = control.current(work, since, profile) if config.evaluation.control and since < end else None
    rows = data.read(work.source, config, read)
    scored = evaluation.score_rows(rows, {CHAMPION: subject}, work.score, config, seen, CHAMPION, fresh)
    return evaluation.evaluate(scored.tallies[CHAMPION], scored.profiles, profile, config, since, window, scored.gap)


def _train(work: Workspace, at: datetime, run: str) -> Version:
    config, made_by = work.config, commit()
    windows = training.split(config, data.matured_end(at, config))
    champion = work.registry.aliased(config.name, CHAMPION)
    usual = training.record(work.unpacked(champion.tag("digest")) / "model").profile if champion else None
    rows = training.rows(data.read(work.source, config, windows.training), config, windows.training, usual)
    held_out = list(data.read(work.source, config, windows.gate))
    seen = np.unique(rows[data.KEY].to_numpy(np.uint64))

    def loss(model: Model) -> float:
        subject = Subject(model.manifest.features, model.answer)
        scored = evaluation.score_rows(held_out, {"": subject}, work.score, config, seen)
        return scored.tallies[""].loss()

    with TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        record = training.train(config, work.own, rows, windows, loss, made_by, directory)
        tags = {
            "at": at.isoformat(),
            "training_window": record.training,
            "training_end": str(windows.training.end),
            "gate_window": record.gate,
            "gate_end": str(windows.gate.end),
            "data": record.data,
            "fingerprint": fingerprint.digest(Manifest.read(directory).fingerprint),
        } | ({"commit": made_by} if made_by else {})
        seconds = {f"seconds_seed_{seed}": value for seed, value in record.seconds.items()}
        losses = {f"loss_seed_{seed}": value for seed, value in record.losses.items()}
        work.registry.record(run, metrics={"training_rows": record.rows} | losses | seconds)
        return work.registry.register(config.name, directory, run, tags)


def _challenger(work: Workspace, run: str) -> Version:
    made = work.registry.trained_by(work.config.name, run)
    if made is None:
        raise Permanent(f"{work.config.name}: this run has trained no challenger; run `zeta train` first")
    return made


def _check_rival(work: Workspace, challenger: Version) -> None:
    """Raise Permanent when the gate compared the challenger with a version that is not the champion any more."""
    champion, rival = work.registry.aliased(challenger.model, CHAMPION), challenger.tag("against")
    if champion is not None and champion.number not in (challenger.number, rival):
        raise Permanent(
            f"{challenger.model} version {challenger.number} was compared with {rival}, but the champion is version "
            f"{champion.number} now; the next run trains and compares anew"
        )


_PARAMS = ("at", "training_window", "training_end", "gate_window", "gate_end", "data", "fingerprint", "commit")
STEPS = {
    "evaluate": evaluate,
    "decide": decide,
    "train": train,
    "gate": gate,
    "build-image": build_image,
    "roll-out": roll_out,
}
GOES_ON = (None, Decision.RETRAIN, Gate.PROMOTE, Gate.PROMOTE_NOT_RECOVERED)
"""The verdicts after which a run goes on (None: the step gives none); with any other it ends."""
