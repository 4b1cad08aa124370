"""What is wrong with a model.yaml, in words: the key, its value, what was expected, what was perhaps meant."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.document import Document, Place

OWN = re.compile(r"model\.[A-Za-z_]\w*")
"""A score or baseline that is a function of the model's own."""
Fault = tuple[Place, str]
Names = Mapping[Any, list[str]]
"""The names that fit a task."""


def near(text: Any, known: Iterable[str]) -> str:
    """Return a question for a name that is nearly one of the known."""
    close = difflib.get_close_matches(str(text), known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def line(document: Document, place: Place, text: str) -> str:
    """Return a fault as people read it: file, line, key, what is wrong."""
    key = ".".join(str(part) for part in place) or "model.yaml"
    return f"{document.path}:{document.line(place)}: {key}: {text}"


def shape(fault: Any, model: type[BaseModel]) -> Fault:
    """Return one of pydantic's errors as a fault: the key, and what was expected there."""
    place = tuple(fault["loc"])
    if fault["type"] == "missing":
        description = _fields(model, place[:-1])[place[-1]].description
        return (
            place,
            f"missing; expected {description.rstrip('.') if description else f'keys {list(_fields(model, place))}'}",
        )
    if fault["type"] == "extra_forbidden":
        known = list(_fields(model, place[:-1]))
        return place, "unknown key" + (near(place[-1], known) or f"; known: {known}")
    message = fault["msg"].removeprefix("Value error, ")
    return place, f"{fault['input']!r}: {message}" + near(fault["input"], re.findall(r"'([^']+)'", message))


def _fields(model: type[BaseModel], section: Place) -> dict[Any, Any]:
    fields: Any = model.model_fields
    for part in section:
        fields = fields[part].annotation.model_fields
    return fields


def own(values: dict[str, Any], folder: Path, scores: Names, baselines: Names) -> Iterator[Fault]:
    """Yield what the shape alone cannot tell, from the raw values, so that it is said beside the shape's faults."""
    if isinstance(name := values.get("name"), str) and name != folder.name:
        yield ("name",), f"{name!r} is not the folder's name; expected {folder.name!r}"
    yield from _unfitting(values, ("evaluation", "score"), scores)
    yield from _unfitting(values, ("gate", "baseline"), baselines)
    yield from _absent(values.get("code", "model.py"), ("code",), folder)
    yield from _absent(_at(values, ("data", "query")), ("data", "query"), folder)
    yield from _absent(values.get("requirements") or None, ("requirements",), folder)
    features, label = _at(values, ("data", "features")), _at(values, ("data", "label"))
    if isinstance(label, str) and isinstance(features, list) and label in features:
        yield ("data", "features"), f"{label!r} is the label: a model that sees the truth learns nothing; take it out"


def _unfitting(values: dict[str, Any], place: Place, known: Names) -> Iterator[Fault]:
    value, task = _at(values, place), values.get("task")
    fitting = next((names for one, names in known.items() if one == task), sorted(set().union(*known.values())))
    if isinstance(value, str) and value not in fitting and not OWN.fullmatch(value):
        expected = f"expected one of {fitting} or model.<name>" + near(value, fitting)
        yield place, f"{value!r} does not fit task {task!r}; {expected}"


def _absent(file: Any, place: Place, folder: Path) -> Iterator[Fault]:
    beside = isinstance(file, str) and (folder / file).resolve().is_relative_to(folder.resolve())
    if isinstance(file, str) and not (beside and (folder / file).is_file()):
        yield place, f"no file {file!r} beside model.yaml; write it or name the one that is there"


def _at(values: Any, place: Place) -> Any:
    for part in place:
        values = values.get(part) if isinstance(values, dict) else None
    return values
