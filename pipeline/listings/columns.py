"""Columns: a table of numpy arrays with named fields, for what a data frame is too slow for."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Columns:
    """Base of a dataclass whose fields are arrays over the same n rows."""

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows with these numbers."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return the rows of all parts, in order."""
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
