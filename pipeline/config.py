"""model.yaml: the one file that describes a model. Every key, its unit, its default and why."""

import difflib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from croniter import croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.document import Document, Place
from pipeline.errors import ConfigError

Task = Literal["classification", "multilabel", "regression", "retrieval"]

SCORES: dict[str, tuple[Task, ...]] = {
    "accuracy": ("classification",),
    "top_5_accuracy": ("classification",),
    "macro_f1": ("classification", "multilabel"),
    "micro_f1": ("classification", "multilabel"),
    "average_precision": ("classification",),
    "mae": ("regression",),
    "rmse": ("regression",),
    "mape": ("regression",),
    "r2": ("regression",),
    "recall_at_k": ("retrieval",),
}
BASELINES: dict[str, tuple[Task, ...]] = {
    "most_frequent": ("classification", "multilabel", "retrieval"),
    "median": ("regression",),
    "last_value": ("regression",),
}
OWN = re.compile(r"model\.[A-Za-z_]\w*")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(text: Any) -> Any:
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+)([smhdw])", str(text))
    if not match:
        raise ValueError("expected a whole number and a unit: 90s, 30m, 12h, 7d or 4w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _cron(text: str) -> str:
    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise ValueError('expected five cron fields, such as "0 5 * * *" for every day at five')
    return text


def _timezone(text: str) -> str:
    if text not in available_timezones():
        near = difflib.get_close_matches(text, available_timezones(), 1)
        raise ValueError(
            "expected an IANA zone such as Asia/Tokyo" + (f"; did you mean {near[0]}?" if near else "")
        )
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+[smhdw]$")]),
]
Name = Annotated[str, Field(max_length=40, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Checks(_Section):
    """What makes a partition of the data bad. Shares are of the rows of one pooled point."""

    nulls: Share = Field(0.05, description="Most nulls in a column above its share at training.")
    volume: Share = Field(0.3, description="Fewest rows a day, as a share of the training window's.")
    label_share: Share = Field(0.5, description="Most that the share of one label may rise above training's.")


class Data(_Section):
    """Where rows come from and what their columns mean."""

    source: Reference = Field(description="ZETA_SOURCE_<SOURCE> holds the SQLAlchemy URL.")
    query: str = Field(description="A file beside model.yaml; it binds :start and :end.")
    key: Column = Field(description="Names the entity: the same key is never trained on and evaluated on.")
    time: Column = Field(description="When the row came to be; UTC unless the column carries a zone.")
    label: Column = Field(description="The truth. Multilabel and retrieval: texts joined by '|'.")
    features: Annotated[list[Column], Field(min_length=1)]
    matures_after: Duration = Field(timedelta(0), description="Labels younger than this are not used.")
    checks: Checks = Field(default_factory=Checks)


class Evaluation(_Section):
    """How the champion is scored."""

    window: Duration = Field(
        timedelta(days=7), description="The newest matured rows, shown as the score now."
    )
    score: str = Field(description="A score's name, or model.<name> for one of your own in the model's code.")
    k: Positive = Field(10, description="How many answers recall_at_k looks at.")
    minimum_rows: Positive = Field(500, description="Days are pooled until a point has as many rows.")
    slices: list[Column] = Field([], description="Columns whose values are watched one by one.")


class Degradation(_Section):
    """When a lower score is a degradation and not noise."""

    smallest_drop: Annotated[float, Field(gt=0)] = Field(0.02, description="In units of the score.")
    false_alarms_per_year: Annotated[float, Field(gt=0, le=12)] = Field(
        0.05, description="On unchanged data."
    )


class Training(_Section):
    """What a challenger is fitted on."""

    window: Duration = Field(
        timedelta(days=180), description="How far back the rows reach before the gate's."
    )
    seeds: Positive = Field(3, description="Fits with as many seeds and keeps the median one.")
    cooldown: Duration = Field(timedelta(days=2), description="No second retraining sooner than this.")
    params: dict[str, Any] = Field({}, description="Handed to build().")
    trusted: list[str] = Field([], description="Types of the model's own that its file may hold.")


class GateRules(_Section):
    """What a challenger must prove, on rows that neither model has seen."""

    window: Duration = Field(timedelta(days=28), description="The newest matured rows, held out of training.")
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(0.95, description="Of the one-sided bounds.")
    slice_margin: Share = Field(0.02, description="No slice may be worse than this, in units of the score.")
    baseline: str = Field(description="A simple baseline's name, or model.<function> for a rule of your own.")
    baseline_margin: Annotated[float, Field(ge=0)] = Field(0.0, description="By how much it must be beaten.")


class ModelConfig(_Section):
    """One model.yaml."""

    name: Name = Field(description="As the folder is called.")
    owner: str = Field(min_length=1, description="Who is paged.")
    task: Task
    schedule: Annotated[str, AfterValidator(_cron)] = Field(description="Cron, in the timezone below.")
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    code: str = Field("model.py", description="build(params) -> an unfitted scikit-learn estimator.")
    components: list[Reference] = Field(
        [], description="Shared feature extraction whose bytes are fingerprinted."
    )
    data: Data
    evaluation: Evaluation
    degradation: Degradation = Field(default_factory=Degradation)
    training: Training = Field(default_factory=Training)
    gate: GateRules
    alerts: list[Reference] = Field([], description="ZETA_ALERT_<NAME> holds an Apprise URL.")
    _folder: Path = Path()

    @property
    def folder(self) -> Path:
        """The folder that holds model.yaml, its code and its query."""
        return self._folder


def load(path: Path) -> ModelConfig:
    """Read one model.yaml; ConfigError lists every fault: file, line, key, value and expected form."""
    document = Document(path)
    faults = list(_own_faults(document.values, path.parent))
    try:
        config = ModelConfig.model_validate(document.values)
    except ValidationError as error:
        faults += [_shape_fault(fault) for fault in error.errors()]
    if faults:
        faults.sort(key=lambda fault: document.line(fault[0]))
        raise ConfigError("\n".join(_line(document, place, text) for place, text in faults))
    config._folder = path.parent
    return config


def paths(models: Path) -> list[Path]:
    """Every model.yaml below the folder ``models``, by name."""
    return sorted(models.glob("*/model.yaml"))


def schema() -> dict[str, Any]:
    """Return the JSON schema of model.yaml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ModelConfig.model_json_schema()}


def _line(document: Document, place: Place, text: str) -> str:
    key = ".".join(str(part) for part in place) or "model.yaml"
    return f"{document.path}:{document.line(place)}: {key}: {text}"


def _shape_fault(fault: Any) -> tuple[Place, str]:
    place = tuple(fault["loc"])
    if fault["type"] == "missing":
        return place, f"missing; expected {_expected(place)}"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _keys(place[:-1]), 1)
        return place, "unknown key; " + (
            f"did you mean {near[0]!r}?" if near else f"known: {_keys(place[:-1])}"
        )
    message = fault["msg"].removeprefix("Value error, ")
    near = difflib.get_close_matches(str(fault["input"]), re.findall(r"'([^']+)'", message), 1)
    return place, f"{fault['input']!r}: {message}" + (f"; did you mean {near[0]!r}?" if near else "")


def _section(place: Place) -> type[BaseModel] | None:
    section: Any = ModelConfig
    for part in place:
        field = section.model_fields.get(part)
        section = field.annotation if field else None
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return None
    return section


def _keys(place: Place) -> list[str]:
    section = _section(place)
    return [key for key in section.model_fields if not key.startswith("_")] if section else []


def _expected(place: Place) -> str:
    section = _section(place[:-1])
    field = section.model_fields.get(str(place[-1])) if section else None
    if field is None or not field.description:
        return f"keys {_keys(place)}" if _keys(place) else "a value"
    return field.description.rstrip(".")


def _own_faults(values: dict[str, Any], folder: Path) -> Iterator[tuple[Place, str]]:
    """Yield what the shape alone cannot tell, from the raw values, so that it is said beside the shape's faults."""
    name, task = values.get("name"), values.get("task")
    if isinstance(name, str) and name != folder.name:
        yield ("name",), f"{name!r} is not the folder's name; expected {folder.name!r}"
    for place, known in ((("evaluation", "score"), SCORES), (("gate", "baseline"), BASELINES)):
        value = _at(values, place)
        fitting = [one for one, tasks in known.items() if task in tasks]
        if isinstance(value, str) and fitting and value not in fitting and not OWN.fullmatch(value):
            near = difflib.get_close_matches(value, fitting, 1)
            yield (
                place,
                f"{value!r} does not fit task {task!r}; expected one of {fitting} or model.<name>"
                + (f"; did you mean {near[0]!r}?" if near else ""),
            )
    for place, default in ((("code",), "model.py"), (("data", "query"), None)):
        file = _at(values, place) or default
        if isinstance(file, str) and not (folder / file).is_file():
            yield place, f"no file {file!r} beside model.yaml; write it or name the one that is there"


def _at(values: Any, place: Place) -> Any:
    for part in place:
        values = values.get(part) if isinstance(values, dict) else None
    return values
