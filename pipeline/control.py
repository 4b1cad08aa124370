"""The control: a cheap fresh fit that answers the same rows as the champion.

If both fall, the data got harder, and a retraining may not help; if the champion alone falls, it is stale. A control is
fitted on the newest rows before those that it answers, with one seed and nothing held out, and serves for a while.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline import artifact, data, fingerprint, training
from pipeline.artifact import Model
from pipeline.checks import Profile
from pipeline.data import KEY, Window
from pipeline.errors import DataError
from pipeline.evaluation import Control, Subject
from pipeline.workspace import Workspace

KIND, FOLDER = "control", "control"
"""The kind of a run that holds one, and where in it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A fit on the rows before day ``end``, in so many ``seconds``; ``keys`` (rows,) uint64 of them."""

    end: int
    model: Model
    keys: np.ndarray
    seconds: float = 0.0

    @property
    def control(self) -> Control:
        """The fit as something that answers."""
        return Control(Subject(self.model.manifest.features, self.model.answer), np.unique(self.keys))


def fit(work: Workspace, end: int, usual: Profile | None) -> Fitted:
    """Fit on the training window before day ``end``; DataError when it holds too few rows."""
    config, window = work.config, Window(end - data.whole_days(work.config.training.window), end)
    rows = training.rows(data.read(work.source, config, window), config, window, usual)
    features, started = data.kinds(rows, config), time.monotonic()
    estimator = training.fit(config, work.own, rows, features, 0)
    model = Model(training.manifest(config, features, None), estimator)
    return Fitted(end, model, rows[KEY].to_numpy(np.uint64), time.monotonic() - started)


def serves(work: Workspace, end: int, since: int) -> bool:
    """Tell whether a fit on the rows before day ``end`` is young enough to answer those from day ``since`` on."""
    oldest = work.config.evaluation.control
    return oldest is not None and end <= since < end + data.whole_days(oldest)


def current(work: Workspace, since: int, usual: Profile | None) -> Control | None:
    """Return the control for the rows from day ``since`` on, fitted now when none is there that serves.

    It is kept in a run of its own. One of another environment is of no use: it might not even load. None, and a line in
    the log, when there are too few rows to fit one.
    """
    name, registry = work.config.name, work.registry
    made_with = fingerprint.digest(fingerprint.current(work.config.components))
    for run in registry.runs(name, KIND):
        tags = run.data.tags
        if tags.get("zeta.fingerprint") == made_with and serves(work, int(tags["zeta.end"]), since):
            with TemporaryDirectory() as folder:
                directory = registry.fetch(run.info.run_id, FOLDER, Path(folder))
                model = artifact.load(directory, work.config.folder / work.config.code)
                keys = np.load(directory / "keys.npy", allow_pickle=False)
                return Fitted(int(tags["zeta.end"]), model, keys).control
    try:
        fitted = fit(work, since, usual)
    except DataError as error:
        _log.warning("%s: no control: %s", name, error)
        return None
    _keep(work, fitted, made_with)
    return fitted.control


def _keep(work: Workspace, fitted: Fitted, made_with: str) -> None:
    moment = data.midnight(fitted.end, work.config).isoformat()
    run = work.registry.find_or_create(work.config.name, {"kind": KIND, "at": moment}, f"control before {moment[:10]}")
    with TemporaryDirectory() as folder:
        directory = Path(folder) / FOLDER
        artifact.save(directory, fitted.model.manifest, fitted.model.estimator, fitted.keys)
        work.registry.keep(run, directory)
    # Last: a run without it holds nothing whole.
    work.registry.record(run, {"fingerprint": made_with, "end": str(fitted.end)})
    work.registry.finish(run)
