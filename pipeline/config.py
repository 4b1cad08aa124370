"""model.yaml: the one file that describes a model. Every key, its unit, its default and why."""

import difflib
import functools
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from croniter import croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from pipeline import faults
from pipeline.document import Document
from pipeline.errors import ConfigError

Task = Literal["classification", "multilabel", "regression", "retrieval"]

SCORES: dict[Task, list[str]] = {
    "classification": ["accuracy", "top_5_accuracy", "macro_f1", "micro_f1", "average_precision"],
    "multilabel": ["macro_f1", "micro_f1"],
    "regression": ["mae", "rmse", "mape", "r2"],
    "retrieval": ["recall_at_k"],
}
BASELINES: dict[Task, list[str]] = {
    "classification": ["most_frequent"],
    "multilabel": ["most_frequent"],
    "regression": ["median", "last_value"],
    "retrieval": ["most_frequent"],
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = r"^([0-9]{1,7})([smhdw])$"
_LONGEST = timedelta(days=36_525)


def _duration(text: Any) -> Any:
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(_DURATION, str(text))
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if duration is None or duration > _LONGEST:
        raise ValueError("expected a whole number and a unit, at most 100 years: 90s, 30m, 12h, 7d or 4w")
    return duration


def written(duration: timedelta) -> str:
    """Return a duration as model.yaml has it, in its largest unit up to days."""
    unit = next(unit for unit in "dhms" if not duration % timedelta(**{_UNITS[unit]: 1}))
    return f"{duration // timedelta(**{_UNITS[unit]: 1})}{unit}"


def _cron(text: str) -> str:
    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise ValueError('expected five cron fields, such as "0 5 * * *" for every day at five')
    return text


# Reads a directory tree: once a process, not once a config.
_zones = functools.cache(available_timezones)


def _timezone(text: str) -> str:
    if text not in _zones():
        near = difflib.get_close_matches(text, _zones(), 1) or ["Asia/Tokyo"]
        raise ValueError(f"expected an IANA zone such as {near[0]!r}")
    return text


Duration = Annotated[timedelta, BeforeValidator(_duration, Annotated[str, Field(pattern=_DURATION)])]
Name = Annotated[str, Field(max_length=40, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Percent = Annotated[int, Field(ge=1, le=99)]


class _Section(BaseModel):
    # Strict: neither "3" nor yes is a number, as in the JSON schema.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Checks(_Section):
    """What makes a partition of the data bad. Shares are of the rows of one pooled point."""

    nulls: Share = Field(default=0.05, description="Most nulls in a column above its share at training.")
    volume: Share = Field(default=0.3, description="Fewest rows a day, as a share of the training window's.")
    label_share: Share = Field(default=0.5, description="Most that the share of one label may rise above training's.")


class Data(_Section):
    """Where rows come from and what their columns mean."""

    source: Reference = Field(description="ZETA_SOURCE_<SOURCE> holds the SQLAlchemy URL.")
    query: str = Field(description="A file beside model.yaml; it binds :start and :end.")
    key: Column = Field(description="Names the entity: the same key is never trained on and evaluated on.")
    time: Column = Field(description="When the row came to be; UTC unless the column carries a zone.")
    label: Column = Field(description="The truth. Multilabel and retrieval: texts joined by '|'.")
    features: Annotated[list[Column], Field(min_length=1)] = Field(description="Columns that the model sees.")
    matures_after: Duration = Field(default=timedelta(0), description="Labels younger than this are not used.")
    checks: Checks = Field(default_factory=Checks)


class Evaluation(_Section):
    """How the champion is scored."""

    window: Duration = Field(default=timedelta(days=7), description="The newest matured rows, shown as the score now.")
    score: str = Field(description="A score's name, or model.<name> for one of your own in the model's code.")
    k: Positive = Field(default=10, description="How many answers recall_at_k looks at.")
    minimum_rows: Positive = Field(default=500, description="Days are pooled until a point has as many rows.")
    control: Duration | None = Field(
        default=None,
        description="A fresh fit, at most this old, answers the same rows: stale, or harder data?",
    )
    slices: list[Column] = Field(default=[], description="Columns whose values are watched one by one.")


class Degradation(_Section):
    """When a lower score is a degradation and not noise."""

    smallest_drop: Annotated[float, Field(gt=0)] = Field(default=0.02, description="In units of the score.")
    false_alarms_per_year: Annotated[float, Field(gt=0, le=12)] = Field(default=0.05, description="On unchanged data.")


class Training(_Section):
    """What a challenger is fitted on."""

    window: Duration = Field(default=timedelta(days=180), description="How far back the rows reach before the gate's.")
    seeds: Positive = Field(default=3, description="Fits with as many seeds and keeps the median one.")
    cooldown: Duration = Field(default=timedelta(days=2), description="No second retraining sooner than this.")
    params: dict[str, Any] = Field(default={}, description="Handed to build().")
    trusted: list[str] = Field(default=[], description="Types of the model's own that its file may hold.")


class GateRules(_Section):
    """What a challenger must prove, on rows that neither model has seen."""

    window: Duration = Field(default=timedelta(days=28), description="The newest matured rows, held out of training.")
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="That no equal challenger is promoted, however often the same rows are looked at."
    )
    slice_margin: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="No slice may be worse than this, in units of the score."
    )
    baseline: str = Field(description="A simple baseline's name, or model.<function> for a rule of your own.")
    baseline_margin: Annotated[float, Field(ge=0)] = Field(default=0.0, description="By how much it must be beaten.")


class Canary(_Section):
    """How a new version meets live requests before it replaces the champion."""

    steps: list[Percent] = Field(default=[10, 50], description="Percent of the requests that it gets, one by one.")
    hold: Duration = Field(default=timedelta(seconds=60), description="How long each step is watched.")
    requests: Positive = Field(default=100, description="With fewer live ones, fresh rows are replayed.")
    shift: Share = Field(default=0.1, description="How much farther live predictions may be from the champion's.")


class Resources(_Section):
    """What each replica is given, as Kubernetes writes it."""

    cpu: Annotated[str, Field(pattern=r"^([0-9]+m|[0-9]+(\.[0-9]+)?)$")] = Field(
        default="500m", description="Cores kept for it."
    )
    memory: Annotated[str, Field(pattern=r"^[0-9]+(Mi|Gi)$")] = Field(default="1Gi", description="Bytes, at most.")

    @property
    def cpu_limit(self) -> str:
        """The most cores it may use: one at least, since a start takes as much however little is asked later."""
        cores = float(self.cpu[:-1]) / 1000 if self.cpu.endswith("m") else float(self.cpu)
        return self.cpu if cores > 1 else "1"


class RolloutRules(_Section):
    """How a version is brought into production."""

    replicas: Positive = Field(default=2, description="Servers of the champion on Kubernetes.")
    canary: Canary = Field(default_factory=Canary)
    resources: Resources = Field(default_factory=Resources)


class ModelConfig(_Section):
    """One model.yaml."""

    name: Name = Field(description="As the folder is called.")
    owner: str = Field(min_length=1, description="Who is paged.")
    task: Task = Field(description="classification, multilabel, regression or retrieval.")
    schedule: Annotated[str, AfterValidator(_cron)] = Field(description="Cron, in the timezone below.")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "UTC", description="IANA zone; days begin at its midnight."
    )
    code: str = Field(default="model.py", description="build(params) -> an unfitted scikit-learn estimator.")
    requirements: str = Field(default="", description="A lock beside it: packages that this model alone needs.")
    components: list[Reference] = Field(default=[], description="Shared feature extraction; it is fingerprinted.")
    data: Data
    evaluation: Evaluation
    degradation: Degradation = Field(default_factory=Degradation)
    training: Training = Field(default_factory=Training)
    gate: GateRules
    rollout: RolloutRules = Field(default_factory=RolloutRules)
    alerts: list[Reference] = Field(default=[], description="ZETA_ALERT_<NAME> holds an Apprise URL.")
    _folder: Path = Path()

    @property
    def folder(self) -> Path:
        """The folder that holds model.yaml, its code and its query."""
        return self._folder


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return written(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def load(path: Path) -> ModelConfig:
    """Read one model.yaml; ConfigError lists every fault: file, line, key, value and expected form."""
    document = Document(path)
    found = [*document.faults, *faults.own(document.values, path.parent, SCORES, BASELINES)]
    try:
        config = ModelConfig.model_validate(document.values)
    except ValidationError as error:
        found += [faults.shape(fault, ModelConfig) for fault in error.errors()]
    if found:
        found.sort(key=lambda fault: document.line(fault[0]))
        raise ConfigError("\n".join(faults.line(document, place, text) for place, text in found))
    config._folder = path.parent
    return config


def paths(models: Path) -> list[Path]:
    """Every model.yaml below the folder ``models``, by name."""
    return sorted(models.glob("*/model.yaml"))


def schema() -> dict[str, Any]:
    """Return the JSON schema of model.yaml, for editors."""
    model = ModelConfig.model_json_schema(schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model}
