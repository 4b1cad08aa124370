"""A trial of a model: fitted on a few rows, stored, loaded and asked, as training, image and gate would."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline import artifact, baseline, data, evaluation, training
from pipeline.artifact import Model
from pipeline.data import KEY
from pipeline.errors import ConfigError, Permanent, ZetaError
from pipeline.evaluation import Subject
from pipeline.manifest import Manifest
from pipeline.sample import Sample
from pipeline.slices import Better
from pipeline.tally import Tally
from pipeline.training import Record
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Trial:
    """What came of it. The scores and the variance of one row's loss are of ``unseen`` rows: None when there are none,
    or when they do not define it."""

    manifest: Manifest
    record: Record
    unseen: int
    score: float | None
    baseline: float | None
    row_variance: float | None
    better: Better


def own_baseline(work: Workspace) -> Callable[..., Any] | None:
    """Return the model's own baseline as something that predicts; None when it names one of Zeta's."""
    kind = work.config.gate.baseline
    return baseline.rule(kind, work.own) if kind.startswith("model.") else None


def run(work: Workspace, rows: Sample, unseen: Sample) -> Trial:
    """Fit one seed on ``rows`` and score it on those of ``unseen`` that it has not been fitted on.

    Raises ConfigError when it cannot be fitted, stored or asked, Permanent when it cannot be loaded or then answers
    otherwise.
    """
    file = work.config.folder / work.config.code
    try:
        model, record = _stored(work, rows, unseen)
        golden = model.manifest.golden
        answers = model.predict(data.frame(golden.rows, model.manifest.features))
        if answers.shape != (len(golden.rows),):
            raise ConfigError(
                f"{file}: {len(golden.rows)} rows get answers of the shape {answers.shape}; expected one each"
            )
        different = golden.differences(answers.tolist())
        found = _scored(work, model, record, rows, unseen)
    except ZetaError:
        raise
    except Exception as error:
        asked = f"asking the fitted model, or scoring it by {work.config.evaluation.score},"
        raise ConfigError(f"{file}: {asked} failed: {type(error).__name__}: {error}") from error
    if different:
        raise Permanent(f"{file}: loaded again it answers otherwise: {different[0]}; leave nothing in it to chance")
    return found


def _stored(work: Workspace, rows: Sample, unseen: Sample) -> tuple[Model, Record]:
    once = work.config.training.model_copy(update={"seeds": 1})
    config = work.config.model_copy(update={"training": once})
    windows = training.split(config, unseen.window.end)
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        record = training.train(config, work.own, rows.frame, windows, lambda model: 0.0, None, directory)
        return artifact.load(directory, config.folder / config.code), record


def _scored(work: Workspace, model: Model, record: Record, rows: Sample, unseen: Sample) -> Trial:
    features = model.manifest.features
    simple = baseline.subject(work.config.gate.baseline, work.own, record.baseline, features)
    subjects = {"model": Subject(features, model.answer), "baseline": simple}
    seen = np.unique(rows.frame[KEY].to_numpy(np.uint64))
    score = work.score
    batches = [unseen.frame] if unseen.labelled else []
    scored = evaluation.score_rows(batches, subjects, score, work.config, seen, "model")
    rows_scored = sum(profile.rows for profile in scored.profiles.values())
    values = {name: _value(tally) for name, tally in scored.tallies.items()}
    variance = _row_variance(scored.tallies["model"])
    return Trial(model.manifest, record, rows_scored, values["model"], values["baseline"], variance, score.better)


def _row_variance(tally: Tally) -> float | None:
    if not (days := tally.days()):
        return None
    point = tally.point(days, len(days))
    return point.variance * point.rows if np.isfinite(point.variance) else None


def _value(tally: Tally) -> float | None:
    loss = tally.loss()
    return None if np.isnan(loss) else tally.score.from_loss(loss)
