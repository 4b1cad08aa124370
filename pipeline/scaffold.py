"""`zeta new`: the folder of a model that runs as it is and says in few words what to change."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline import config
from pipeline.errors import ConfigError

SCHEMA = "model.schema.json"
_SCORES = {
    "classification": ("accuracy", "most_frequent"),
    "multilabel": ("micro_f1", "most_frequent"),
    "regression": ("mae", "median"),
    "retrieval": ("recall_at_k", "most_frequent"),
}
_TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)


@dataclass(frozen=True)
class Columns:
    """What the columns of the table mean. The features are ``texts`` and ``numbers``."""

    key: str = "item_id"
    time: str = "created_at"
    label: str = "label"
    texts: Sequence[str] = ("title",)
    numbers: Sequence[str] = ()

    @property
    def features(self) -> list[str]:
        """All features, texts first."""
        return [*self.texts, *self.numbers]


def new(
    name: str, task: str, models: Path, source: str = "", table: str = "", columns: Columns | None = None
) -> list[Path]:
    """Write models/NAME (and the schema for editors, if absent); return the files.

    ``source`` is the model's name and ``table`` the source's when left out. ConfigError lists every fault, and
    then nothing is written.
    """
    columns, folder = columns or Columns(), models / name
    if faults := list(_faults(name, task, folder, source, table, columns)):
        raise ConfigError("\n".join(faults))
    source = source or name
    table = table or source.replace("-", "_")
    files = {folder / file: text for file, text in _files(name, task, source, table, columns).items()}
    if not (models / SCHEMA).exists():
        files[models / SCHEMA] = schema()
    folder.mkdir(parents=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def schema() -> str:
    """Return the JSON schema of model.yaml as the file beside the models holds it."""
    return json.dumps(config.schema(), indent=2) + "\n"


def _faults(name: str, task: str, folder: Path, source: str, table: str, columns: Columns) -> Iterator[str]:
    if not _fits(name, config.Name):
        yield f"name {name!r}: expected small letters and digits in words joined by '-', such as item-price, at most 40"
    elif folder.exists():
        yield f"{folder} is there already; choose another name or remove it"
    if not _fits(task, config.Task):
        yield f"task {task!r}: expected one of {list(get_args(config.Task))}"
    if source and not _fits(source, config.Reference):
        yield f"source {source!r}: expected letters, digits, '-' and '_', a letter first"
    if table and not _TABLE.fullmatch(table):
        yield f"table {table!r}: expected the name of a table or view, such as listings or shop.listings"
    yield from _column_faults(task, columns)


def _column_faults(task: str, columns: Columns) -> Iterator[str]:
    features = columns.features
    for column in dict.fromkeys([columns.key, columns.time, columns.label, *features]):
        if not _fits(column, config.Column):
            yield f"column {column!r}: expected letters, digits and '_', no digit first; name it so in a view"
    if not features or len(set(features)) < len(features):
        yield f"features {features}: expected one column or more, each once"
    if columns.label in features:
        yield f"label {columns.label!r} is among the features {features}; a model must not be given the answer"
    if task == "retrieval" and (len(columns.texts) != 1 or columns.numbers):
        yield f"features {features}: the retrieval that comes with Zeta compares one text column; name just that one"


def _fits(text: str, kind: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def _files(name: str, task: str, source: str, table: str, columns: Columns) -> dict[str, str]:
    """Return the text of each file by its name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=select_autoescape(),
    )
    environment.filters["scalar"] = _scalar
    given = asdict(columns) | {
        "name": name,
        "task": task,
        "source": source,
        "variable": f"ZETA_SOURCE_{source.upper().replace('-', '_')}",
        "table": table,
        "features": columns.features,
        "columns": list(dict.fromkeys([columns.key, columns.time, *columns.features, columns.label])),
        "score": _SCORES[task][0],
        "baseline": _SCORES[task][1],
    }
    code = "retrieval.py.j2" if task == "retrieval" else "model.py.j2"
    templates = {"model.yaml": "model.yaml.j2", "model.py": code, f"{name}.sql": "query.sql.j2"}
    return {file: environment.get_template(template).render(given) for file, template in templates.items()}


def _scalar(text: str) -> str:
    """Quote what YAML would not read as a text, such as a column called 'on'."""
    return text if yaml.safe_load(text) == text else json.dumps(text)
