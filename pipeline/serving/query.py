"""A checked request for predictions, and the refusal of one that does not fit. Rows count from 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from pipeline.manifest import Kind, Manifest

RANKED_TASKS = ("classification", "retrieval")


class Refusal(Exception):
    """A request that is not answered: an HTTP status (4xx or 5xx) and one sentence."""

    def __init__(self, status: int, sentence: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = list(headers)


@dataclass(frozen=True)
class Limits:
    """What one server takes on: rows a request, characters a text, bytes a body, requests at a time."""

    rows: int = 10_000
    characters: int = 100_000
    body: int = 16 * 2**20
    in_flight: int = 64


@dataclass(frozen=True)
class Query:
    """A list of ``rows`` values for each feature; ``k`` for a ranking, ``id`` to be sent back."""

    columns: dict[str, list[Any]]
    rows: int
    k: int | None
    id: str | None


def checked(
    columns: Mapping[str, list[Any]], k: int | None, id: str | None, manifest: Manifest, limits: Limits
) -> Query:
    """Return a query that the model can answer; raises Refusal."""
    lengths = {name: len(values) for name, values in columns.items()}
    rows = max(lengths.values(), default=0)
    if not rows:
        refuse("there are no rows; expected at least one")
    if columns.keys() != manifest.features.keys():
        refuse_columns("the request", columns, manifest.features)
    if set(lengths.values()) != {rows}:
        refuse(f"the columns differ in length: {lengths}; expected one value a row in each")
    if rows > limits.rows:
        refuse(f"there are {rows} rows; expected at most {limits.rows} a request")
    if k is not None and manifest.task not in RANKED_TASKS:
        refuse(f"k: the task {manifest.task} has no ranking; expected no k")
    values = {name: _values(name, columns[name], kind, limits) for name, kind in manifest.features.items()}
    return Query(values, rows, k, id)


def refuse(sentence: str) -> NoReturn:
    """Refuse a request that its sender has to mend."""
    raise Refusal(400, sentence)


def refuse_columns(where: str, given: Mapping[str, Any], features: Mapping[str, Kind]) -> NoReturn:
    """Refuse a request whose columns are not the features."""
    missing = [f"lacks column {name!r}" for name in features if name not in given]
    unknown = [f"has unknown column {name[:100]!r}" for name in given if name not in features]
    refuse(f"{where} {' and '.join(missing[:1] + unknown[:1])}; expected the columns {list(features)}")


def _values(column: str, values: list[Any], kind: Kind, limits: Limits) -> list[Any]:
    return _numbers(column, values) if kind == "number" else _texts(column, values, limits.characters)


def _numbers(column: str, values: list[Any]) -> list[float | None]:
    for row, value in enumerate(values):
        if type(value) not in (float, int, type(None)):
            refuse(f"row {row}, column {column!r}: expected a number, got {_shown(value)}")
    try:
        return [None if value is None else float(value) for value in values]
    except OverflowError:
        refuse(f"column {column!r}: a number is beyond what 64 bits hold; expected at most 1.8e308")


def _texts(column: str, values: list[Any], characters: int) -> list[str | None]:
    for row, value in enumerate(values):
        if type(value) not in (str, type(None)):
            refuse(f"row {row}, column {column!r}: expected a text, got {_shown(value)}")
        if value is not None and len(value) > characters:
            refuse(f"row {row}, column {column!r}: {len(value)} characters; expected at most {characters}")
    return values


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60]
