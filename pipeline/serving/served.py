"""What is served: one model of one version, and whether it may answer here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import artifact, config, fingerprint
from pipeline.artifact import Model
from pipeline.manifest import Kind, Manifest

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Served:
    """A model with the version and digest of its release; ``faults`` say why it must not answer."""

    manifest: Manifest
    model: Model | None
    faults: tuple[str, ...] = ()
    version: str = ""
    digest: str = ""

    @property
    def fault(self) -> str:
        """The faults in one sentence; empty when the model may answer."""
        return f"model {self.manifest.name} is not ready: " + "; ".join(self.faults) if self.faults else ""

    def answer(self, columns: Mapping[str, list[Any]], k: int | None) -> np.ndarray:
        """Return (n,) answers as the model gives them, or (n, k) labels, best first."""
        if self.model is None:
            raise RuntimeError(self.fault)
        rows = frame(columns, self.manifest.features)
        return self.model.predict(rows) if k is None else self.model.rank(rows, k)

    def describe(self) -> dict[str, Any]:
        """Return what is served, in words and numbers."""
        return {
            "name": self.manifest.name,
            "version": self.version,
            "digest": self.digest,
            "task": self.manifest.task,
            "features": self.manifest.features,
            "fingerprint": fingerprint.digest(self.manifest.fingerprint),
            "ready": not self.faults,
        }


def load(directory: Path, app_root: Path, version: str = "", digest: str = "") -> Served:
    """Load a model directory; its own code lies in app_root/models/<name>.

    Raises Permanent or ConfigError when it cannot be. A model whose fingerprint differs is not loaded at
    all, as it might fail for that very reason.
    """
    manifest = Manifest.read(directory)
    faults = fingerprint.differences(manifest.fingerprint, fingerprint.current(manifest.components))
    model = None
    if not faults:
        model = artifact.load(directory, _own_code(app_root / "models" / manifest.name))
        faults = _golden_faults(model)
    return Served(manifest, model, tuple(faults), version, digest)


def frame(columns: Mapping[str, list[Any]], features: Mapping[str, Kind]) -> "DataFrame":
    """Build the frame that a model sees, as in training: a text that is None is '', a number NaN."""
    import pandas as pd

    return pd.DataFrame(
        {
            name: pd.Series(columns[name], dtype="float64")
            if kind == "number"
            else pd.Series(["" if text is None else text for text in columns[name]], dtype=object)
            for name, kind in features.items()
        }
    )


def _own_code(folder: Path) -> Path | None:
    described = folder / "model.yaml"
    return folder / config.load(described).code if described.is_file() else None


def _golden_faults(model: Model) -> list[str]:
    golden = model.manifest.golden
    columns = {name: [row[name] for row in golden.rows] for name in model.manifest.features}
    try:
        answers = model.predict(frame(columns, model.manifest.features)).tolist()
    except Exception as error:
        return [f"it fails on its golden rows: {type(error).__name__}: {error}"]
    return golden.differences(answers)
