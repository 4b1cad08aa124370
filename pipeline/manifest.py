"""The manifest of a model directory, zeta.json: what a model takes, what it was made with, what it must answer."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.errors import Permanent

Kind = Literal["string", "number"]
_SHOWN = 5


class Golden(msgspec.Struct, frozen=True):
    """A few rows and what the model answered for them on the day it was trained."""

    rows: list[dict[str, str | float | None]]
    predictions: list[str | float]

    def differences(self, answers: Sequence[Any], kind: str = "golden", earlier: str = "at training") -> list[str]:
        """Return what is answered otherwise, the first five rows one by one; a label set may come as a list."""
        if len(answers) != len(self.predictions):
            return [f"{len(self.predictions)} {kind} rows got {len(answers)} answers"]
        pairs = enumerate(zip(answers, self.predictions, strict=True))
        faults = [
            f"{kind} row {row} is answered {answer!r}, {earlier} it was {recorded!r}"
            for row, (answer, recorded) in pairs
            if not _equal("|".join(map(str, answer)) if isinstance(answer, list) else answer, recorded)
        ]
        return faults[:_SHOWN] + [f"{len(faults) - _SHOWN} {kind} rows more differ"] * (len(faults) > _SHOWN)


class Manifest(msgspec.Struct, frozen=True):
    """What must be known of a model to run it, and to prove that it runs as it did."""

    name: str
    task: str
    features: dict[str, Kind]
    components: list[str]
    fingerprint: dict[str, str]
    golden: Golden
    trusted: list[str]
    commit: str | None

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Read it from a model directory; Permanent when it is missing or not one."""
        try:
            return msgspec.json.decode((directory / "zeta.json").read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise Permanent(
                f"{directory}: not a model directory: {error}; expected the files that training wrote"
            ) from error


def _equal(answer: Any, recorded: str | float) -> bool:
    if isinstance(answer, int | float) and isinstance(recorded, int | float):
        return math.isclose(answer, recorded, rel_tol=1e-6, abs_tol=1e-12)
    return bool(answer == recorded)
