"""Rows: which days count, and what a row must hold before anything is computed from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.artifact import Kind
from pipeline.config import ModelConfig
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

DAY = "zeta_day"
KEY = "zeta_key"
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Window:
    """Calendar days [first, end) in the model's timezone, as days since 1970-01-01."""

    first: int
    end: int

    @property
    def days(self) -> int:
        """How many days it spans."""
        return max(self.end - self.first, 0)

    def __str__(self) -> str:
        return f"{as_date(self.first)}..{as_date(self.end - 1)}"


class Source(Protocol):
    """Where rows come from."""

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator["DataFrame"]:
        """Yield the query's rows with start <= time < end, in no more than a batch's memory at a time."""


def as_date(day: int) -> date:
    """Return the calendar date of a day number."""
    return EPOCH + timedelta(days=day)


def matured_end(at: datetime, config: ModelConfig) -> int:
    """Return the first day whose labels are not all mature at the time ``at``."""
    local = (at - config.data.matures_after).astimezone(ZoneInfo(config.timezone))
    return (local.date() - EPOCH).days


def whole_days(duration: timedelta) -> int:
    """Return a duration in days, at least one, a started day counted whole."""
    return max(-(-duration // timedelta(days=1)), 1)


def midnight(day: int, config: ModelConfig) -> datetime:
    """Return the moment at which a day begins in the model's timezone."""
    return datetime.combine(as_date(day), time(), ZoneInfo(config.timezone))


def read(source: Source, config: ModelConfig, window: Window) -> Iterator["DataFrame"]:
    """Yield tidy batches of a window: features as read, label, slices, zeta_day (int), zeta_key (uint64 hash).

    Nulls are kept: the data checks count them.
    Raises DataError for a missing column, a time that is none, or a row outside the window.
    """
    query = (config.folder / config.data.query).read_text(encoding="utf-8")
    for batch in source.batches(query, midnight(window.first, config), midnight(window.end, config)):
        yield _tidy(batch, config, window)


def columns(config: ModelConfig) -> list[str]:
    """Return the columns that the query must give."""
    data = config.data
    return list(dict.fromkeys([data.key, data.time, data.label, *data.features, *config.evaluation.slices]))


def kinds(frame: "DataFrame", config: ModelConfig) -> dict[str, Kind]:
    """Return whether each feature of a training window holds texts or numbers."""
    return {
        column: "string" if frame[column].map(lambda value: isinstance(value, str)).any() else "number"
        for column in config.data.features
    }


def inputs(frame: "DataFrame", kinds: dict[str, Kind]) -> "DataFrame":
    """Return the features as the model sees them, in training and after: null texts are '', null numbers NaN."""
    import pandas as pd

    return pd.DataFrame(
        {
            column: frame[column]
            .map(lambda value: "" if value is None or value != value else str(value))
            .astype(object)
            if kind == "string"
            else pd.to_numeric(frame[column], errors="coerce").astype(float)
            for column, kind in kinds.items()
        }
    )


def frame(rows: list[dict[str, Any]], kinds: dict[str, Kind]) -> "DataFrame":
    """Return rows, as a client sends them, as the model sees them."""
    from pandas import DataFrame

    return inputs(DataFrame(rows, columns=list(kinds), dtype=object), kinds)


def records(frame: "DataFrame") -> list[dict[str, Any]]:
    """Return what the model sees as a client would send it: NaN is null."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _tidy(batch: "DataFrame", config: ModelConfig, window: Window) -> "DataFrame":
    from pandas import util

    missing = [column for column in columns(config) if column not in batch.columns]
    if missing:
        raise DataError(
            f"{config.name}: schema: {config.data.query} gives no column {missing}; it gives {list(batch.columns)}"
        )
    tidy = batch[columns(config)].copy()
    tidy[DAY] = _days(batch[config.data.time], config, window)
    tidy[KEY] = util.hash_array(batch[config.data.key].astype(str).to_numpy(dtype=object))
    tidy[config.data.label] = _label(tidy[config.data.label], config)
    for column in config.evaluation.slices:
        tidy[column] = tidy[column].map(lambda value: "(none)" if value is None else str(value))
    return tidy


def _days(times: "Series", config: ModelConfig, window: Window) -> np.ndarray:
    import pandas as pd

    try:
        moments = pd.to_datetime(times, utc=True, format="ISO8601" if times.map(type).eq(str).any() else None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{config.name}: schema: {config.data.time} is not a time: {error}") from error
    if moments.isna().any():
        raise DataError(f"{config.name}: schema: {int(moments.isna().sum())} rows have no {config.data.time}")
    local = moments.dt.tz_convert(config.timezone).dt.tz_localize(None)
    days = (local.dt.normalize() - pd.Timestamp(EPOCH)).dt.days.to_numpy()
    outside = (days < window.first) | (days >= window.end)
    if outside.any():
        raise DataError(
            f"{config.name}: {config.data.query} gives rows outside {window}, such as {times[outside].iloc[0]!r}; "
            f"it must bind :start and :end as '{config.data.time} >= :start and {config.data.time} < :end'"
        )
    return days


def _label(values: "Series", config: ModelConfig) -> "Series":
    import pandas as pd

    if config.task == "regression":
        return pd.to_numeric(values).astype(float)
    return values.map(lambda value: None if value is None or value != value else str(value)).astype(object)
