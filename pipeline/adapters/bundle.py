"""Application code and a model directory that belong together: how that code is run on that model."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
# One thread a process: many small models share a machine, and a request is too short to be split.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Bundle:
    """A model directory, and the folder of the code: ``app`` holds pipeline/ and models/NAME/."""

    model: Path
    app: Path

    @classmethod
    def of_image(cls, root: Path) -> Self:
        """Return what an image carries that is unpacked at ``root``."""
        return cls(root / "model", root / "app")

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command line that runs a module of the code on the model, in the directory ``app``."""
        where = ["--model", str(self.model.absolute()), "--app-root", str(self.app.absolute())]
        return [sys.executable, "-m", module, *where, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: the same whoever starts them, and without any password."""
        return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
            "PYTHONPATH": str(self.app.absolute()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            **dict.fromkeys(_THREADS, "1"),
        }
