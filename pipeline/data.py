"""Rows: which days count, and what a row must hold before anything is computed from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from numbers import Number
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.config import ModelConfig
from pipeline.errors import DataError
from pipeline.manifest import Kind
from pipeline.scores import SEPARATOR

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


def day_of(at: datetime, config: ModelConfig) -> int:
    """Return the day of a moment in the model's timezone."""
    return (at.astimezone(ZoneInfo(config.timezone)).date() - EPOCH).days


def matured_end(at: datetime, config: ModelConfig) -> int:
    """Return the first day whose labels are not all mature at the time ``at``."""
    return day_of(at - config.data.matures_after, config)


def whole_days(duration: timedelta) -> int:
    """Return a duration in days, at least one, a started day counted whole."""
    return max(-(-duration // timedelta(days=1)), 1)


def midnight(day: int, config: ModelConfig) -> datetime:
    """Return the moment at which a day begins in the model's timezone."""
    return datetime.combine(as_date(day), time(), ZoneInfo(config.timezone))


def read(source: Source, config: ModelConfig, window: Window) -> Iterator["DataFrame"]:
    """Yield tidy batches of a window: all columns as read but the label, and zeta_day (int), zeta_key (uint64).

    A label is a text or, for a regression, a float. zeta_key is a hash of the key's text: 7 and "7" are one entity,
    7.0 is another. Nulls are kept, except of key and time: the data checks count them. Raises DataError for a column
    that is missing or there twice, a key or time that is none, a label with '|' in a classification, or a row outside
    the window.
    """
    query = (config.folder / config.data.query).read_text(encoding="utf-8")
    for batch in source.batches(query, midnight(window.first, config), midnight(window.end, config)):
        yield _tidy(batch, config, window)


def columns(config: ModelConfig) -> list[str]:
    """Return the columns that the query must give."""
    data = config.data
    return list(dict.fromkeys([data.key, data.time, data.label, *data.features, *config.evaluation.slices]))


def kinds(frame: "DataFrame", config: ModelConfig) -> dict[str, Kind]:
    """Return whether each feature of a training window holds texts or numbers; DataError for anything else."""
    found: dict[str, Kind] = {}
    for column in config.data.features:
        types = set(frame[column].map(type))
        odd = [one.__name__ for one in types if not issubclass(one, str | Number | NoneType)]
        if odd:
            raise DataError(
                f"{config.name}: schema: {column} holds {sorted(odd)}; a feature is a text or a number: cast it in "
                f"{config.data.query}"
            )
        found[column] = "string" if any(issubclass(one, str) for one in types) else "number"
    return found


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
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(column): value for column, value in row.items()} for row in rows]


def slice_values(column: "Series") -> np.ndarray:
    """Return (n,) texts that name the slice of each row; a null is '(none)'."""
    return column.map(lambda value: "(none)" if value is None or value != value else str(value)).to_numpy(dtype=str)


def _tidy(batch: "DataFrame", config: ModelConfig, window: Window) -> "DataFrame":
    from pandas import util

    given = list(batch.columns)
    wrong = [column for column in columns(config) if given.count(column) != 1]
    if wrong:
        raise DataError(f"{config.name}: schema: {config.data.query} must give each of {wrong} once; it gives {given}")
    tidy = batch[columns(config)].copy()
    for column in (config.data.key, config.data.time):
        if nulls := int(tidy[column].isna().sum()):
            raise DataError(f"{config.name}: schema: {nulls} rows have no {column}; every row needs one")
    tidy[DAY] = _days(batch[config.data.time], config, window)
    tidy[KEY] = util.hash_array(batch[config.data.key].map(str).to_numpy(dtype=object))
    tidy[config.data.label] = _label(tidy[config.data.label], config)
    return tidy


def _days(times: "Series", config: ModelConfig, window: Window) -> np.ndarray:
    import pandas as pd

    texts = times.map(lambda value: isinstance(value, str)).any()
    try:
        moments = pd.to_datetime(times, utc=True, format="ISO8601" if texts else None)
    except (ValueError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{config.name}: schema: {config.data.time} is not a time: {why}") from error
    if moments.isna().any():
        raise DataError(f"{config.name}: schema: {config.data.time} is not a time: {times[moments.isna()].iloc[0]!r}")
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
        return pd.to_numeric(values, errors="coerce").astype(float)
    labels = values.map(lambda value: None if value is None or value != value else str(value)).astype(object)
    if (
        config.task == "classification"
        and (mixed := labels[labels.str.contains(SEPARATOR, regex=False, na=False)]).size
    ):
        raise DataError(
            f"{config.name}: schema: {config.data.label} is {mixed.iloc[0]!r}; {SEPARATOR!r} separates the labels of a "
            f"multilabel: write another character in {config.data.query}"
        )
    return labels
