"""Delivery: from a version that passed the gate to its image, to the release that serves, to the alias champion."""

from collections import deque
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import data, image, rollout
from pipeline.adapters.registry import BY_HAND, CHAMPION, PREVIOUS, Version
from pipeline.config import Canary
from pipeline.data import Window
from pipeline.dossier import first_loss_key
from pipeline.errors import Permanent
from pipeline.manifest import Golden, Manifest
from pipeline.rollout import Release, Target
from pipeline.settings import ROOT
from pipeline.verdict import Gate, Rollout, Verdict
from pipeline.workspace import Workspace

FRESH_ROWS = 500
_ROLLBACK = "rollback"
"""The note that names the version which a rollback is about to bring back."""


def build(work: Workspace, version: Version) -> str:
    """Build the image of a version that passed the gate, unless it is there; return its digest."""
    if not Gate(version.tags.get("gate", Gate.INSUFFICIENT)).passed and BY_HAND not in version.tags:
        raise Permanent(f"{version.model} version {version.number} has not passed the gate; it gets no image")
    name, reference = version.model, f"{version.model}:{version.number}"
    digest = version.tags.get("digest")
    if digest is None or work.images.find(reference) != digest:
        labels = {
            "zeta.model": name,
            "zeta.version": version.number,
            "zeta.training-window": version.tag("training_window"),
            "zeta.gate-window": version.tag("gate_window"),
            "zeta.fingerprint": version.tag("fingerprint"),
            "org.opencontainers.image.revision": version.tags.get("commit", ""),
        }
        base = work.images.build_base(image.application(ROOT))
        with TemporaryDirectory() as folder:
            model = work.registry.download(version, Path(folder))
            files = {"/model": model, f"/app/models/{name}": work.config.folder}
            digest = str(work.images.append_model(base, files, labels, reference))
        work.registry.tag(version, {"digest": digest})
    return digest


def deliver(work: Workspace, version: Version, at: datetime, rules: Canary | None = None) -> Verdict:
    """Roll a version out, compared by ``rules`` with what serves; once it is promoted, move the aliases."""
    target = Target(version.number, build(work, version))
    golden = Manifest.read(work.unpacked(target.digest) / "model").golden
    proof = rollout.Proof(golden, _fresh(work, at, target.digest))
    champion = work.registry.aliased(version.model, CHAMPION)
    back = _target(champion) if champion else None
    verdict = rollout.roll_out(work.platform, version.model, target, proof, back, rules)
    if verdict.outcome == Rollout.PROMOTED:
        move_aliases(work, version)
    return verdict


def rollback(work: Workspace, at: datetime) -> Verdict:
    """Roll the previous champion out again; the two change places. One that was cut short is completed."""
    name = work.config.name
    number = work.registry.note(name, _ROLLBACK)
    if number is None:
        reconcile(work, at)
        previous = work.registry.aliased(name, PREVIOUS)
        if previous is None:
            raise Permanent(f"{name}: there is no previous champion to go back to; `zeta status` shows what is")
        number = previous.number
        work.registry.set_note(name, _ROLLBACK, number)
    verdict = deliver(work, work.registry.version(name, number), at)
    work.registry.set_note(name, _ROLLBACK, None)
    return verdict


def move_aliases(work: Workspace, version: Version) -> None:
    """Let champion name ``version`` and previous the one that it replaced."""
    first = first_loss_key(version.tag("score"))
    if work.registry.note(version.model, first) is None:
        work.registry.set_note(version.model, first, version.tag("reference_loss"))
    old = work.registry.aliased(version.model, CHAMPION)
    if old is not None and old.number != version.number:
        work.registry.set_alias(version.model, PREVIOUS, old.number)
    work.registry.set_alias(version.model, CHAMPION, version.number)


def reconcile(work: Workspace, at: datetime) -> None:
    """Make the platform serve the champion, and the alias name what was promoted.

    A rollback that was cut short is completed, a canary left over removed; a promoted release whose alias did not
    move is completed; a champion that does not serve is rolled out again.
    """
    name = work.config.name
    if work.registry.note(name, _ROLLBACK):
        rollback(work, at)
    work.platform.remove_canary(name)
    champion, stable = work.registry.aliased(name, CHAMPION), work.platform.release(name, "stable")
    serving = stable if stable is not None and stable.ready else None
    if serving is not None and champion is not None and serving.digest == champion.tags.get("digest"):
        return
    if serving is not None and (promoted := _promoted(work, serving, champion)):
        verdict = deliver(work, promoted, at)
        if verdict.outcome != Rollout.PROMOTED:
            raise Permanent(f"{name}: version {promoted.number} of a run cut short is not fit: {_words(verdict)}")
    elif champion is not None:
        _serve(work, champion)


def _promoted(work: Workspace, serving: Release, champion: Version | None) -> Version | None:
    """Return the version that serves if it came after the champion: aliases move last."""
    least = int(champion.number) if champion else 0
    versions = work.registry.versions(work.config.name)
    return next(
        (one for one in versions if one.tags.get("digest") == serving.digest and int(one.number) >= least), None
    )


def _serve(work: Workspace, champion: Version) -> None:
    target = Target(champion.number, build(work, champion))
    golden = Manifest.read(work.unpacked(target.digest) / "model").golden
    verdict = rollout.roll_out(work.platform, champion.model, target, rollout.Proof(golden, Golden([], [])), target)
    if verdict.outcome != Rollout.PROMOTED:
        raise Permanent(f"{champion.model}: champion version {champion.number} does not serve: {_words(verdict)}")


def _target(version: Version) -> Target:
    return Target(version.number, version.tag("digest"))


def _words(verdict: Verdict) -> str:
    return "; ".join(verdict.reasons)


def _fresh(work: Workspace, at: datetime, digest: str) -> Golden:
    """Return the newest matured rows as a client sends them, and what an image answers by itself."""
    end = data.matured_end(at, work.config)
    window = Window(end - data.whole_days(work.config.gate.window), end)
    newest = deque(data.read(work.source, work.config, window), maxlen=1)
    with work.deployed(digest) as subject:
        for batch in newest:
            rows = data.inputs(batch.tail(FRESH_ROWS), dict(subject.features))
            return Golden(data.records(rows), subject.predict(rows, "labels", 1).tolist())
    return Golden([], [])
