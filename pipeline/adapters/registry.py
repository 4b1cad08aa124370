"""The registry: MLflow, where versions, aliases, runs and the history of every score live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.adapters.runs import Runs, calls, prefixed, unprefixed
from pipeline.errors import Permanent
from pipeline.tally import Point

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PAUSED = "paused"
"""The note of a model that a person has paused: why."""
BY_HAND = "by_hand"
"""The tag of a version that a person has promoted past the gate: why."""
GAP = "gap_"
"""The series of a version's distance to its control."""
_DAY_MS = 86_400_000
_POINT = ("days", "rows", "loss", "variance")
_SLICES = "slices.json"


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


class Registry(Runs):
    """One MLflow server: its runs, and the versions that they made."""

    def __init__(self, tracking_uri: str, url: str = "") -> None:
        super().__init__(tracking_uri, url)
        self._monitors: dict[tuple[str, str], str] = {}

    # Versions and aliases

    def aliased(self, model: str, alias: str) -> Version | None:
        """Return the version that an alias names."""
        with calls(missing_is_none=True):
            number = self.client.get_registered_model(model).aliases.get(alias)
            return self.version(model, str(number)) if number else None
        return None

    def version(self, model: str, number: str) -> Version:
        """Return a version by its number."""
        with calls():
            return _version(self.client.get_model_version(model, number))

    def versions(self, model: str) -> list[Version]:
        """Return all versions of a model, newest first."""
        with calls():
            found = self.client.search_model_versions(f"name='{model}'", max_results=1000)
        return sorted(map(_version, found), key=lambda version: -int(version.number))

    def trained_by(self, model: str, run_id: str) -> Version | None:
        """Return the version that a run registered, if it came so far."""
        return next((version for version in self.versions(model) if version.run_id == run_id), None)

    def register(self, model: str, directory: Path, run_id: str, tags: Mapping[str, str]) -> Version:
        """Upload a model directory and make it a new version; a second call for the run returns the first's."""
        self.ensure(model)
        if known := self.trained_by(model, run_id):
            return known
        with calls():
            run = self.client.get_run(run_id)
            logged = self.client.create_logged_model(run.info.experiment_id, name=model, source_run_id=run_id)
            self.client.log_model_artifacts(logged.model_id, str(directory))
            self.client.finalize_logged_model(logged.model_id, "READY")
            made = self.client.create_model_version(
                model, f"models:/{logged.model_id}", run_id, tags=prefixed(tags), model_id=logged.model_id
            )
            return _version(made)

    def ensure(self, model: str) -> None:
        """Create the registered model if it is not there."""
        from mlflow.exceptions import MlflowException

        with calls():
            try:
                self.client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def download(self, version: Version, target: Path) -> Path:
        """Fetch a version's model directory into ``target``."""
        from mlflow.artifacts import download_artifacts

        with calls():
            # Not version.source: a models:/ URI is looked up at the server that the environment names.
            uri = self.client.get_model_version_download_uri(version.model, version.number)
            return Path(download_artifacts(uri, dst_path=str(target), tracking_uri=self.uri))

    def tag(self, version: Version, tags: Mapping[str, str], description: str | None = None) -> None:
        """Add tags to a version, and the description that people read."""
        with calls():
            if description is not None:
                self.client.update_model_version(version.model, version.number, description)
            for key, value in prefixed(tags).items():
                self.client.set_model_version_tag(version.model, version.number, key, value)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version."""
        with calls():
            self.client.set_registered_model_alias(model, alias, number)

    # What is remembered of a model beyond its versions

    def note(self, model: str, key: str) -> str | None:
        """Return a tag of the model itself."""
        with calls(missing_is_none=True):
            return self.client.get_registered_model(model).tags.get(f"zeta.{key}") or None
        return None

    def set_note(self, model: str, key: str, value: str | None) -> None:
        """Set a tag of the model itself; None empties it."""
        self.ensure(model)
        with calls():
            self.client.set_registered_model_tag(model, f"zeta.{key}", value or "")

    # The history of a version's score, or of another series: the metrics of its monitor run, with the day as step

    def points(self, version: Version, series: str = "") -> list[Point]:
        """Return the history of a version's score, or of the series that stands before its metrics; oldest first."""
        run_id = self.monitor(version)
        columns: dict[int, dict[str, float]] = {}
        with calls():
            for key in _POINT:
                for metric in self.client.get_metric_history(run_id, series + key):
                    columns.setdefault(metric.step, {})[key] = metric.value
        return [
            Point(day, int(held["days"]), int(held["rows"]), held["loss"], held["variance"])
            for day, held in sorted(columns.items())
        ]

    def add_points(
        self, version: Version, points: Sequence[Point], shown: Sequence[Mapping[str, float]], series: str = ""
    ) -> None:
        """Append points; ``shown`` are further metrics a point for the chart. Days that are there stay as they are."""
        from mlflow.entities import Metric

        run_id = self.monitor(version)
        known = {point.day for point in self.points(version, series)}
        fresh = [
            (point.day, {series + key: float(getattr(point, key)) for key in _POINT} | dict(extra))
            for point, extra in zip(points, shown, strict=True)
            if point.day not in known
        ]
        with calls():
            # A batch is written whole or not at all, so a point is too.
            for first in range(0, len(fresh), 100):
                batch = fresh[first : first + 100]
                metrics = [Metric(key, held[key], day * _DAY_MS, day) for day, held in batch for key in held]
                self.client.log_batch(run_id, metrics)

    def slices(self, version: Version) -> dict[str, list[Point]]:
        """Return the history of each slice of a version, oldest first: slices.json of the monitor run."""
        text = self.read(self.monitor(version), _SLICES)
        return msgspec.json.decode(text, type=dict[str, list[Point]]) if text else {}

    def add_slices(self, version: Version, points: Mapping[str, Sequence[Point]]) -> None:
        """Append points of slices. Days that are there stay as they are."""
        if not points:
            return
        known = self.slices(version)
        for name, fresh in points.items():
            days = {point.day: point for point in [*fresh, *known.get(name, [])]}
            known[name] = [days[day] for day in sorted(days)]
        self.write(self.monitor(version), _SLICES, msgspec.json.encode(known).decode())

    def monitor(self, version: Version) -> str:
        """Return the run whose chart is the version's score over time; it is looked up once."""
        key = version.model, version.number
        if key not in self._monitors:
            tags = {"kind": "monitor", "version": version.number}
            self._monitors[key] = self.find_or_create(version.model, tags, f"monitor of version {version.number}")
        return self._monitors[key]


def _version(found: "ModelVersion") -> Version:
    return Version(found.name, str(found.version), found.run_id or "", found.source or "", unprefixed(found.tags))
