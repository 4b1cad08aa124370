"""The model directory: what training writes and the image carries. skops only: nothing in it can run code on load.

model.skops  the fitted estimator      zeta.json  its manifest
keys.npy     hashes of the keys it was trained on, sorted, uint64
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from scipy.special import logit

from pipeline.errors import ConfigError, Permanent
from pipeline.manifest import Manifest

if TYPE_CHECKING:
    from pandas import DataFrame

# What a model file may hold beyond most of scikit-learn, numpy and scipy, which skops trusts by itself.
TRUSTED = (
    "numpy.dtype",
    "pipeline.components.japanese.tokens",
    "pipeline.components.japanese.words_and_pairs",
    "pipeline.components.labels.LabelSets",
    "pipeline.components.retrieval.NearestTitles",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.multiclass._ConstantPredictor",
)


class Model:
    """A fitted estimator and its manifest."""

    def __init__(self, manifest: Manifest, estimator: Any) -> None:
        self.manifest = manifest
        self.estimator = estimator

    def predict(self, frame: "DataFrame") -> np.ndarray:
        """Return (n,) answers: texts, or floats for a regression. Label sets are texts joined by '|'."""
        if self.manifest.task == "retrieval":
            return self.rank(frame, 1)[:, 0]
        return np.asarray(self.estimator.predict(self._inputs(frame)))

    def answer(self, frame: "DataFrame", output: str, k: int) -> np.ndarray:
        """Return what is wanted: (n,) ``labels``, ``scores`` or ``confidence``, or an (n, k) ``ranking``."""
        if output == "ranking":
            return self.rank(frame, k)
        if output == "confidence":
            return self.confidence(frame)
        return self.scores(frame) if output == "scores" else self.predict(frame)

    def rank(self, frame: "DataFrame", k: int) -> np.ndarray:
        """Return (n, min(k, classes)) labels, best first."""
        inputs = self._inputs(frame)
        if hasattr(self.estimator, "rank"):
            return np.asarray(self.estimator.rank(inputs, k))
        scores = self._class_scores(inputs)
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
        k = min(k, scores.shape[1])
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        return self.estimator.classes_[np.take_along_axis(top, order, axis=1)]

    def scores(self, frame: "DataFrame") -> np.ndarray:
        """Return (n,) log-odds of the second class (or its decision function); ConfigError without two classes."""
        scores = self._class_scores(self._inputs(frame))
        if scores.ndim == 1:
            return scores
        if scores.shape[1] != 2:
            raise ConfigError(f"{self.manifest.name}: there are {scores.shape[1]} classes; scores of rows want two")
        return logit(np.clip(scores[:, 1], 1e-9, 1 - 1e-9))

    def confidence(self, frame: "DataFrame") -> np.ndarray:
        """Return (n,) margins of the best class over the second, of the decision function or in log-odds.

        nan from an estimator that has neither.
        """
        if not any(hasattr(self.estimator, name) for name in ("decision_function", "predict_proba")):
            return np.full(len(frame), np.nan)
        scores = self._class_scores(self._inputs(frame))
        if scores.ndim == 1:
            return np.abs(scores)
        if not hasattr(self.estimator, "decision_function"):
            scores = np.log(np.clip(scores, 1e-9, 1))
        best = np.partition(scores, -2, axis=1)
        return np.asarray(best[:, -1] - best[:, -2])

    def _class_scores(self, inputs: Any) -> np.ndarray:
        score = getattr(self.estimator, "decision_function", None) or self.estimator.predict_proba
        return np.asarray(score(inputs))

    def _inputs(self, frame: "DataFrame") -> "DataFrame":
        return frame[list(self.manifest.features)]


def code(name: str, path: Path) -> ModuleType:
    """Import a model's own code under a name that is the same everywhere: models.<name>.model.

    Raises ConfigError when it does not import.
    """
    module_name = f"models.{name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported; expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ConfigError(f"{path}: does not import: {type(error).__name__}: {error}") from error
    return module


def save(directory: Path, manifest: Manifest, estimator: Any, keys: np.ndarray) -> None:
    """Write the model directory in MLflow's format; ConfigError names types that model.yaml does not trust yet."""
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    packages = [f"{name}=={manifest.fingerprint[name]}" for name in ("numpy", "scipy", "scikit-learn", "skops")]
    try:
        mlflow.sklearn.save_model(
            estimator,
            str(directory),
            serialization_format="skops",
            skops_trusted_types=manifest.trusted,
            signature=_signature(manifest),
            pip_requirements=packages,
        )
    except MlflowException as error:
        raise ConfigError(_why_not_stored(estimator, manifest, error)) from error
    (directory / "zeta.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    np.save(directory / "keys.npy", np.unique(keys), allow_pickle=False)


def _why_not_stored(estimator: Any, manifest: Manifest, why: Exception) -> str:
    import skops.io

    try:
        held = set(skops.io.get_untrusted_types(data=skops.io.dumps(estimator)))
    except Exception as error:
        held, why = set(), error
    if unknown := sorted(held - set(manifest.trusted)):
        return f"training.trusted: the model holds {unknown}; list them there if they are the model's own"
    return f"{manifest.name}: the model cannot be stored as skops: {type(why).__name__}: {why}"


def _signature(manifest: Manifest) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    types = {"string": "string", "number": "double"}
    inputs = Schema([ColSpec(types[kind], column) for column, kind in manifest.features.items()])
    return ModelSignature(inputs, Schema([ColSpec("double" if manifest.task == "regression" else "string")]))


def load(directory: Path, code_path: Path | None = None) -> Model:
    """Load a model directory, the model's own code first if it has any; Permanent when it cannot be."""
    import skops.io

    described = Manifest.read(directory)
    if code_path is not None:
        code(described.name, code_path)
    try:
        estimator = skops.io.load(directory / "model.skops", trusted=described.trusted)
    except Exception as error:
        raise Permanent(f"{directory / 'model.skops'}: does not load: {type(error).__name__}: {error}") from error
    return Model(described, estimator)
