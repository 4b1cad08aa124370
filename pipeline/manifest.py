"""The manifest of a model directory, zeta.json: what a model takes, what it was made with, what it must answer."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.errors import Permanent

Kind = Literal["string", "number"]


class Golden(msgspec.Struct, frozen=True):
    """A few rows and what the model answered for them on the day it was trained."""

    rows: list[dict[str, str | float | None]]
    predictions: list[str | float]

    def differences(self, answers: Sequence[Any]) -> list[str]:
        """Return a sentence for each row that is answered otherwise; a label set may come as a list."""
        if len(answers) != len(self.predictions):
            return [f"{len(self.predictions)} golden rows got {len(answers)} answers"]
        pairs = enumerate(zip(answers, self.predictions, strict=True))
        return [
            f"golden row {row} is answered {answer!r}, at training it was {recorded!r}"
            for row, (answer, recorded) in pairs
            if not _equal("|".join(map(str, answer)) if isinstance(answer, list) else answer, recorded)
        ]


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
