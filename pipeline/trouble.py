"""A trouble that somebody has been told of, and when to say something new about it. Pure decisions."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from pipeline.errors import DataError


class Kind(StrEnum):
    """What there is to say: about a run or, with the digest, about the fleet."""

    GATE_REJECTED = "gate_rejected"
    DATA_BAD = "data_bad"
    INSUFFICIENT = "insufficient"
    WARNING = "warning"
    ROLLED_BACK = "rolled_back"
    HELD = "held"
    FAILED = "failed"
    CONFIG_BROKEN = "config_broken"
    PROMOTED_NOT_RECOVERED = "promoted_not_recovered"
    OVER = "over"
    PROMOTED = "promoted"
    PROMOTED_BY_HAND = "promoted_by_hand"
    DIGEST = "digest"

    @property
    def is_trouble(self) -> bool:
        """Whether somebody has to act, or to look: not at a promotion, at the end of a trouble, nor at a digest."""
        return self not in (Kind.OVER, Kind.PROMOTED, Kind.PROMOTED_BY_HAND, Kind.DIGEST)


@dataclass(frozen=True)
class Trouble:
    """A trouble that has been paged and is not over."""

    kind: Kind
    since: Annotated[datetime, msgspec.Meta(tz=True)]

    def to_json(self) -> str:
        """Return one line of text that from_json reads."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Trouble":
        """Read what to_json wrote; DataError for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"open trouble {text!r}: {error}; expected such as "
                '{"kind":"data_bad","since":"2026-03-03T05:00:00Z"}; delete it to page anew'
            ) from error


@dataclass(frozen=True)
class Page:
    """Say it: ``trouble`` is open from now on."""

    trouble: Trouble


@dataclass(frozen=True)
class Over:
    """Say that ``trouble`` is over: none is open from now on."""

    trouble: Trouble


def decide_page(open_trouble: Trouble | None, kind: Kind | None, at: datetime) -> Page | Over | None:
    """Return what to say of a run at ``at`` that ended as ``kind`` (None: all is well); None: nothing new.

    The same trouble pages once, a different one pages anew, and the end of the last one is said once.
    """
    if kind is None or not kind.is_trouble:
        return Over(open_trouble) if open_trouble else None
    if open_trouble and open_trouble.kind == kind:
        return None
    return Page(Trouble(kind, at))
