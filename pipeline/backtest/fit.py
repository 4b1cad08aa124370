"""A training of a backtest: the real one, in a folder that is gone afterwards."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline import artifact, data, evaluation, training
from pipeline.artifact import Model
from pipeline.backtest.outcome import Cost
from pipeline.checks import Profile
from pipeline.data import KEY
from pipeline.evaluation import Subject
from pipeline.tally import Tally
from pipeline.training import Record, Split
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Fitted:
    """A trained version, loaded as it would be deployed; ``seen``: the sorted keys that it was trained on."""

    windows: Split
    record: Record
    subject: Subject
    seen: np.ndarray

    @property
    def cost(self) -> Cost:
        """What it took."""
        seconds = self.record.seconds.values()
        return Cost(len(seconds), round(sum(seconds), 3))


def fit(work: Workspace, windows: Split, usual: Profile | None) -> Fitted:
    """Train as the step does; DataError when there are too few rows."""
    config = work.config
    rows = training.rows(data.read(work.source, config, windows.training), config, windows.training, usual)
    held_out = list(data.read(work.source, config, windows.gate))
    seen = np.unique(rows[KEY].to_numpy(np.uint64))

    def loss(model: Model) -> float:
        return evaluation.score_rows(held_out, {"": subject(model)}, work.score, config, seen).tallies[""].loss()

    with TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        record = training.train(config, work.own, rows, windows, loss, None, directory)
        return Fitted(windows, record, subject(artifact.load(directory, config.folder / config.code)), seen)


def subject(model: Model) -> Subject:
    """Return a model of this process as something that predicts."""
    return Subject(model.manifest.features, model.answer)


def loss(tally: Tally, days: list[int]) -> float | None:
    """Return the loss on pooled days, None where it is not defined."""
    found = float(tally.score.loss(tally.matrix(days).sum(axis=0)))
    return found if np.isfinite(found) else None
