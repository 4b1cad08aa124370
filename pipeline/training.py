"""Training a challenger: the configured window, several seeds, the median kept."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline import artifact, baseline, checks, data, fingerprint
from pipeline.baseline import Baseline
from pipeline.checks import Profile
from pipeline.config import ModelConfig
from pipeline.data import DAY, KEY, Window, inputs, kinds, whole_days
from pipeline.errors import ConfigError, DataError, Permanent
from pipeline.manifest import Golden, Kind, Manifest

if TYPE_CHECKING:
    from pandas import DataFrame

GOLDEN_ROWS = 20


class Record(msgspec.Struct, frozen=True):
    """What must be remembered of a training, kept as training.json in the model directory.

    ``losses`` and ``seconds`` are by seed; a loss is missing where the gate's rows do not define it.
    """

    training: str
    gate: str
    rows: int
    data: str
    profile: Profile
    baseline: Baseline
    seed: int
    losses: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Split:
    """Time-ordered: the gate's days follow the training's and are held out of it."""

    training: Window
    gate: Window


def split(config: ModelConfig, end: int) -> Split:
    """Return the windows of a training whose labels are mature before day ``end``."""
    gate = Window(end - whole_days(config.gate.window), end)
    return Split(Window(gate.first - whole_days(config.training.window), gate.first), gate)


def rows(batches: Iterator["DataFrame"], config: ModelConfig, window: Window, reference: Profile | None) -> "DataFrame":
    """Collect the labelled rows of a training window; days that fail the data checks are left out.

    Raises DataError when too few are left.
    """
    import pandas as pd

    held = list(batches)
    frame = pd.concat(held, ignore_index=True) if held else pd.DataFrame()
    if reference is not None and len(frame):
        frame = frame[~frame[DAY].isin(checks.bad_days(Profile.by_day(frame, config), reference, config))]
    frame = frame[frame[config.data.label].notna()] if len(frame) else frame
    if len(frame) < config.evaluation.minimum_rows:
        raise DataError(
            f"{config.name}: {len(frame)} labelled rows in the training window {window}; at least "
            f"{config.evaluation.minimum_rows} (evaluation.minimum_rows) are needed: is {config.data.source} filled?"
        )
    return frame.sort_values([DAY, KEY], kind="stable", ignore_index=True)


def fit(config: ModelConfig, own: ModuleType, frame: "DataFrame", features: dict[str, Kind], seed: int) -> Any:
    """Fit one estimator on tidy rows; ConfigError when the model's build() or fit() fails."""
    from pipeline.components.labels import LabelSets

    try:
        estimator = own.build(config.training.params)
        if config.task == "multilabel":
            estimator = LabelSets(estimator)
        seeds = {name: seed for name in estimator.get_params() if name.split("__")[-1] == "random_state"}
        estimator.set_params(**seeds).fit(inputs(frame, features), frame[config.data.label].to_numpy())
    except Exception as error:
        where = f"{config.folder / config.code}: build() and fit()"
        raise ConfigError(f"{where} failed: {type(error).__name__}: {error}") from error
    return _fortran(estimator)


def median_seed(losses: dict[int, float]) -> int:
    """Return the seed whose loss is the median (the worse one of two); nan is the worst."""
    return sorted(losses, key=lambda seed: (math.isnan(losses[seed]), losses[seed], seed))[len(losses) // 2]


def train(
    config: ModelConfig,
    own: ModuleType,
    frame: "DataFrame",
    windows: Split,
    loss: Callable[[artifact.Model], float],
    commit: str | None,
    directory: Path,
) -> Record:
    """Fit every seed, keep the one whose ``loss`` on the gate's rows is the median, write its model directory."""
    features = kinds(frame, config)
    described = manifest(config, features, commit)
    models, seconds = {}, {}
    for seed in range(config.training.seeds):
        started = time.monotonic()
        models[seed] = artifact.Model(described, fit(config, own, frame, features, seed))
        seconds[str(seed)] = round(time.monotonic() - started, 3)
    losses = {seed: loss(model) for seed, model in models.items()}
    kept = median_seed(losses)
    chosen = models[kept]
    described = msgspec.structs.replace(described, golden=_golden(chosen, frame, features))
    artifact.save(directory, described, chosen.estimator, frame[KEY].to_numpy(np.uint64))
    record = Record(
        str(windows.training), str(windows.gate), len(frame), _snapshot(frame),
        Profile.of(frame, config, windows.training.days), _baseline(config, frame),
        kept, {str(seed): value for seed, value in losses.items() if math.isfinite(value)}, seconds,
    )  # fmt: skip
    (directory / "training.json").write_bytes(msgspec.json.encode(record))
    return record


def manifest(config: ModelConfig, features: dict[str, Kind], commit: str | None) -> Manifest:
    """Return what describes a fit of this environment, without golden rows yet."""
    trusted = [*artifact.TRUSTED, *config.training.trusted]
    made_with = fingerprint.current(config.components)
    return Manifest(
        config.name, config.task, features, list(config.components), made_with, Golden([], []), trusted, commit
    )


def record(directory: Path) -> Record:
    """Read the training record of a model directory; Permanent when it is missing or not one."""
    try:
        return msgspec.json.decode((directory / "training.json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise Permanent(f"{directory}: no training record: {error}; expected the files that training wrote") from error


def _baseline(config: ModelConfig, frame: "DataFrame") -> Baseline:
    kind = config.gate.baseline
    default = "median" if config.task == "regression" else "most_frequent"
    truth = frame[config.data.label].to_numpy()
    return baseline.fit(default if kind.startswith("model.") else kind, config.task, truth, config.evaluation.k)


def _golden(model: artifact.Model, frame: "DataFrame", features: dict[str, Kind]) -> Golden:
    chosen = inputs(frame.iloc[np.linspace(0, len(frame) - 1, min(GOLDEN_ROWS, len(frame))).astype(int)], features)
    return Golden(data.records(chosen), model.predict(chosen).tolist())


def _snapshot(frame: "DataFrame") -> str:
    from pandas import util

    return hashlib.sha256(util.hash_pandas_object(frame.astype(str), index=False).to_numpy().tobytes()).hexdigest()


def _fortran(estimator: Any) -> Any:
    """Store the coefficients of linear models by column: a sparse row times 1,000 classes is 100 times faster."""
    coefficients = getattr(estimator, "coef_", None)
    if isinstance(coefficients, np.ndarray) and coefficients.ndim == 2:
        estimator.coef_ = np.asfortranarray(coefficients)
    for value in vars(estimator).values() if hasattr(estimator, "__dict__") else ():
        for part in value if isinstance(value, list | tuple) else [value]:
            inner = part[1] if isinstance(part, tuple) and len(part) > 1 else part
            if hasattr(inner, "get_params") and not isinstance(inner, type):
                _fortran(inner)
    return estimator
