"""A look at a window's rows: all of them counted, the newest kept, in no more memory than a batch and those."""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import data
from pipeline.checks import Profile
from pipeline.config import ModelConfig
from pipeline.data import DAY, KEY, Source, Window, as_date
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

ROWS = 2000
_RARE_ROWS = 10
_OLDEST_DAY = -365 * 100


@dataclass(frozen=True)
class Sample:
    """A window's counts, how many of its rows have a label, and the newest of those: ``frame``, tidy, oldest first."""

    window: Window
    profile: Profile
    labelled: int
    frame: "DataFrame"


def read(source: Source, config: ModelConfig, doing: Callable[[str], None], window: Window) -> Sample:
    """Read a window; ``doing`` is told how far it is. Raises what data.read raises."""
    import pandas as pd

    label = config.data.label
    profile, labelled, kept = Profile(0, 0, {}, {}), 0, pd.DataFrame()
    for batch in data.read(source, config, window):
        profile += Profile.of(batch, config)
        known = batch[batch[label].notna()]
        labelled += len(known)
        kept = _newest(pd.concat([kept, known]), config) if len(known) else kept
        doing(f"{profile.rows:,} rows of {window}")
    return Sample(window, profile, labelled, kept)


def newest_window(source: Source, config: ModelConfig, days: int, end: int) -> Window:
    """Return the newest window of so many days, before day ``end``, whose last day has rows.

    Raises DataError when there are no rows at all.
    """

    def none_since(day: int) -> bool:
        return next(data.read(source, config, Window(day, end)), None) is None

    after = _OLDEST_DAY + bisect.bisect_left(range(_OLDEST_DAY, end), True, key=none_since)
    if after == _OLDEST_DAY:
        query = config.data.query
        raise DataError(f"{query} gives no row before {as_date(end)}; fill its table, or choose another time with --at")
    return Window(after - days, after)


def _newest(frame: "DataFrame", config: ModelConfig) -> "DataFrame":
    """Keep the newest rows; for a classification also the newest of each label, so that no rare one is lost."""
    import pandas as pd

    frame = frame.sort_values([DAY, KEY], kind="stable", ignore_index=True)
    older, newest = frame.iloc[:-ROWS], frame.iloc[-ROWS:]
    if config.task != "classification":
        return newest
    rare = older.groupby(config.data.label).tail(_RARE_ROWS).tail(ROWS)
    return pd.concat([rare, newest], ignore_index=True)
