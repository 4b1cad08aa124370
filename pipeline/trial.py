"""A trial of a model: fitted on a few rows, stored, loaded and asked, as training, image and gate would."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline import artifact, baseline, data, evaluation, training
from pipeline.artifact import Manifest, Model
from pipeline.data import KEY
from pipeline.errors import ConfigError, Permanent
from pipeline.evaluation import Subject
from pipeline.sample import Sample
from pipeline.training import Record
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Trial:
    """What came of it. The scores are on ``unseen`` rows, None when they hold none or the score is not defined."""

    manifest: Manifest
    record: Record
    unseen: int
    score: float | None
    baseline: float | None


def own_baseline(work: Workspace) -> Callable[..., Any] | None:
    """Return the model's own baseline as something that predicts; None when it names one of Zeta's."""
    kind = work.config.gate.baseline
    if not kind.startswith("model."):
        return None
    rule = getattr(work.own, kind.removeprefix("model."), None)
    if not callable(rule):
        raise ConfigError(f"gate.baseline: {kind!r} is not there; expected a function of the rows in model.py")
    return baseline.rule(rule)


def run(work: Workspace, rows: Sample, unseen: Sample) -> Trial:
    """Fit one seed on ``rows`` and score it on those of ``unseen`` that it has not been fitted on.

    Raises ConfigError when it cannot be fitted or stored, Permanent when it cannot be loaded or then answers otherwise.
    """
    once = work.config.training.model_copy(update={"seeds": 1})
    config = work.config.model_copy(update={"training": once})
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        windows = training.split(config, unseen.window.end)
        record = training.train(config, work.own, rows.frame, windows, lambda model: 0.0, None, directory)
        model = artifact.load(directory, config.folder / config.code)
    golden = model.manifest.golden
    answers = model.predict(data.frame(golden.rows, model.manifest.features)).tolist()
    if different := golden.differences(answers):
        raise Permanent(f"loaded again it answers otherwise: {different[0]}; is anything in model.py left to chance?")
    return _scored(work, model, record, rows, unseen)


def _scored(work: Workspace, model: Model, record: Record, rows: Sample, unseen: Sample) -> Trial:
    features, own = model.manifest.features, own_baseline(work)
    simple = own or (lambda frame, output, k: record.baseline.predict(len(frame), output))
    subjects = {"model": Subject(features, model.answer), "baseline": Subject(features, simple)}
    seen = np.unique(rows.frame[KEY].to_numpy(np.uint64))
    batches = [unseen.frame] if unseen.labelled else []
    scored = evaluation.score_rows(batches, subjects, work.score, work.config, seen)
    values = []
    for tally in scored.tallies.values():
        loss = tally.loss()
        values.append(None if np.isnan(loss) else tally.score.from_loss(loss))
    return Trial(model.manifest, record, sum(profile.rows for profile in scored.profiles.values()), *values)
