"""The registry: MLflow, where versions, aliases, runs and the history of every score live."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.errors import Permanent, Temporary
from pipeline.tally import Point

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_DAY_MS = 86_400_000
_POINT = ("days", "rows", "loss", "variance")


@dataclass(frozen=True)
class Version:
    """A model version. ``tags`` are Zeta's own, without their prefix ``zeta.``."""

    model: str
    number: str
    run_id: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """The logical time of the run that trained it."""
        return datetime.fromisoformat(self.tag("at"))

    def tag(self, key: str) -> str:
        """Return a tag that every version has; Permanent when someone removed it."""
        if key not in self.tags:
            raise Permanent(f"{self.model} version {self.number}: tag zeta.{key} is missing; was it made by Zeta?")
        return self.tags[key]


class Registry:
    """One MLflow server. Every method raises Temporary when it cannot be reached, Permanent when it refuses."""

    def __init__(self, tracking_uri: str) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        self.uri = tracking_uri
        self._client = MlflowClient(tracking_uri, tracking_uri)

    # Versions and aliases

    def aliased(self, model: str, alias: str) -> Version | None:
        """Return the version that an alias names."""
        with _calls(missing_is_none=True):
            number = self._client.get_registered_model(model).aliases.get(alias)
            return self.version(model, str(number)) if number else None
        return None

    def version(self, model: str, number: str) -> Version:
        """Return a version by its number."""
        with _calls():
            return _version(self._client.get_model_version(model, number))

    def versions(self, model: str) -> list[Version]:
        """Return all versions of a model, newest first."""
        with _calls():
            found = self._client.search_model_versions(f"name='{model}'", max_results=1000)
        return sorted(map(_version, found), key=lambda version: -int(version.number))

    def trained_by(self, model: str, run_id: str) -> Version | None:
        """Return the version that a run registered, if it came so far."""
        return next((version for version in self.versions(model) if version.run_id == run_id), None)

    def register(self, model: str, directory: Path, run_id: str, tags: Mapping[str, str]) -> Version:
        """Upload a model directory and make it a new version; a second call for the run returns the first's."""
        self.ensure(model)
        if known := self.trained_by(model, run_id):
            return known
        with _calls():
            run = self._client.get_run(run_id)
            logged = self._client.create_logged_model(run.info.experiment_id, name=model, source_run_id=run_id)
            self._client.log_model_artifacts(logged.model_id, str(directory))
            self._client.finalize_logged_model(logged.model_id, "READY")
            made = self._client.create_model_version(
                model, f"models:/{logged.model_id}", run_id, tags=_prefixed(tags), model_id=logged.model_id
            )
            return _version(made)

    def ensure(self, model: str) -> None:
        """Create the registered model if it is not there."""
        from mlflow.exceptions import MlflowException

        with _calls():
            try:
                self._client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def download(self, version: Version, target: Path) -> Path:
        """Fetch a version's model directory into ``target``."""
        from mlflow.artifacts import download_artifacts

        with _calls():
            return Path(download_artifacts(version.source, dst_path=str(target), tracking_uri=self.uri))

    def tag(self, version: Version, tags: Mapping[str, str], description: str | None = None) -> None:
        """Add tags to a version, and the description that people read."""
        with _calls():
            if description is not None:
                self._client.update_model_version(version.model, version.number, description)
            for key, value in _prefixed(tags).items():
                self._client.set_model_version_tag(version.model, version.number, key, value)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version."""
        with _calls():
            self._client.set_registered_model_alias(model, alias, number)

    # What is remembered of a model beyond its versions

    def note(self, model: str, key: str) -> str | None:
        """Return a tag of the model itself."""
        with _calls(missing_is_none=True):
            return self._client.get_registered_model(model).tags.get(f"zeta.{key}") or None
        return None

    def set_note(self, model: str, key: str, value: str | None) -> None:
        """Set a tag of the model itself; None empties it."""
        self.ensure(model)
        with _calls():
            self._client.set_registered_model_tag(model, f"zeta.{key}", value or "")

    # Runs

    def run(self, model: str, at: datetime) -> str:
        """Return the id of the pipeline run at a logical time, made when it is not there."""
        moment = at.astimezone(UTC).isoformat(timespec="seconds")
        return self._run(model, {"kind": "pipeline", "at": moment}, f"{moment[:16]}Z")

    def runs(self, model: str, limit: int = 1000) -> list["Run"]:
        """Return the newest pipeline runs by their logical time."""
        with _calls():
            experiment = self._client.get_experiment_by_name(model)
            if experiment is None:
                return []
            found = self._client.search_runs(
                [experiment.experiment_id], "tags.`zeta.kind` = 'pipeline'", max_results=1000
            )
        return sorted(found, key=lambda run: run.data.tags["zeta.at"], reverse=True)[:limit]

    def run_tags(self, run_id: str) -> dict[str, str]:
        """Return a run's tags, without their prefix."""
        with _calls():
            return _unprefixed(self._client.get_run(run_id).data.tags)

    def record(
        self,
        run_id: str,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Add tags, metrics and parameters to a run."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(datetime.now(UTC).timestamp() * 1000)
        with _calls():
            self._client.log_batch(
                run_id,
                [Metric(key, value, now, 0) for key, value in (metrics or {}).items() if value == value],
                [Param(key, value) for key, value in (params or {}).items()],
                [RunTag(key, value) for key, value in _prefixed(tags or {}).items()],
            )

    def finish(self, run_id: str, succeeded: bool = True) -> None:
        """Close a run."""
        with _calls():
            self._client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")

    def write(self, run_id: str, name: str, text: str) -> None:
        """Keep a text as an artifact of a run."""
        with _calls():
            self._client.log_text(run_id, text, name)

    def read(self, run_id: str, name: str) -> str | None:
        """Return a text artifact of a run, None when it is not there."""
        with _calls(), TemporaryDirectory() as folder:
            if name not in [file.path for file in self._client.list_artifacts(run_id)]:
                return None
            return Path(self._client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")

    def link(self, run_id: str) -> str:
        """Return where people look at a run."""
        with _calls():
            return f"{self.uri}/#/experiments/{self._client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    # The history of a version's score: the metrics of its monitor run, with the day as step

    def points(self, version: Version) -> list[Point]:
        """Return the history of a version's score, oldest first."""
        run_id = self._monitor(version)
        columns: dict[int, dict[str, float]] = {}
        with _calls():
            for key in _POINT:
                for metric in self._client.get_metric_history(run_id, key):
                    columns.setdefault(metric.step, {})[key] = metric.value
        return [
            Point(day, int(held["days"]), int(held["rows"]), held["loss"], held["variance"])
            for day, held in sorted(columns.items())
        ]

    def add_points(self, version: Version, points: Sequence[Point], shown: Sequence[Mapping[str, float]]) -> None:
        """Append points; ``shown`` are further metrics a point for the chart. Days that are there stay as they are."""
        from mlflow.entities import Metric

        run_id = self._monitor(version)
        known = {point.day for point in self.points(version)}
        fresh = [
            (point.day, {key: float(getattr(point, key)) for key in _POINT} | dict(extra))
            for point, extra in zip(points, shown, strict=True)
            if point.day not in known
        ]
        with _calls():
            # A batch is written whole or not at all, so a point is too.
            for first in range(0, len(fresh), 100):
                batch = fresh[first : first + 100]
                metrics = [Metric(key, held[key], day * _DAY_MS, day) for day, held in batch for key in held]
                self._client.log_batch(run_id, metrics)

    def _monitor(self, version: Version) -> str:
        tags = {"kind": "monitor", "version": version.number}
        return self._run(version.model, tags, f"monitor of version {version.number}")

    def _run(self, model: str, tags: Mapping[str, str], name: str) -> str:
        marks = _prefixed(tags)
        with _calls():
            experiment = self._client.get_experiment_by_name(model)
            experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(model)
            query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in marks.items())
            found = self._client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time"])
            run = found[0] if found else self._client.create_run(experiment_id, tags=marks, run_name=name)
            return run.info.run_id


@contextmanager
def _calls(missing_is_none: bool = False) -> Iterator[None]:
    """Translate MLflow's errors; with ``missing_is_none`` the block simply ends when the thing is not there."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if missing_is_none and error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return
        # The client says INTERNAL_ERROR when the server is unreachable or answers 5xx.
        passing = error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
        raise (Temporary if passing else Permanent)(f"MLflow: {str(error).strip()}") from error
    except OSError as error:
        raise Temporary(f"MLflow: {error}") from error


def _version(found: "ModelVersion") -> Version:
    return Version(found.name, str(found.version), found.run_id or "", found.source or "", _unprefixed(found.tags))


def _prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    return {f"zeta.{key}": str(value) for key, value in tags.items()}


def _unprefixed(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix("zeta."): value for key, value in tags.items() if key.startswith("zeta.")}
