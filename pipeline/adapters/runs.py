"""Runs in MLflow: one a morning of a model, and one a version that holds the history of its score."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.errors import Permanent, Temporary

if TYPE_CHECKING:
    from mlflow.entities import Run


class Runs:
    """The runs of one MLflow server. Every method raises Temporary when it cannot be reached, Permanent if refused.

    ``url`` is where people open it, when that is another address.
    """

    def __init__(self, tracking_uri: str, url: str = "") -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        self.uri = tracking_uri
        self._url = (url or tracking_uri).rstrip("/")
        self.client = MlflowClient(tracking_uri, tracking_uri)

    def run(self, model: str, at: datetime) -> str:
        """Return the id of the pipeline run at a logical time, made when it is not there."""
        moment = at.astimezone(UTC).isoformat(timespec="seconds")
        return self.find_or_create(model, {"kind": "pipeline", "at": moment}, f"{moment[:16]}Z")

    def runs(self, model: str, kind: str = "pipeline") -> list["Run"]:
        """Return the runs of a kind, the newest by their logical time first; at most 1000."""
        with calls():
            experiment = self.client.get_experiment_by_name(model)
            if experiment is None:
                return []
            found = self.client.search_runs(
                [experiment.experiment_id], f"tags.`zeta.kind` = '{kind}'", max_results=1000
            )
        return sorted(found, key=lambda run: run.data.tags["zeta.at"], reverse=True)

    def run_tags(self, run_id: str) -> dict[str, str]:
        """Return a run's tags, without their prefix."""
        with calls():
            return unprefixed(self.client.get_run(run_id).data.tags)

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
        with calls():
            self.client.log_batch(
                run_id,
                [Metric(key, value, now, 0) for key, value in (metrics or {}).items() if value == value],
                [Param(key, value) for key, value in (params or {}).items()],
                [RunTag(key, value) for key, value in prefixed(tags or {}).items()],
            )

    def finish(self, run_id: str, succeeded: bool = True) -> None:
        """Close a run."""
        with calls():
            self.client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")

    def write(self, run_id: str, name: str, text: str) -> None:
        """Keep a text as an artifact of a run."""
        with calls():
            self.client.log_text(run_id, text, name)

    def read(self, run_id: str, name: str) -> str | None:
        """Return a text artifact of a run, None when it is not there."""
        with calls(), TemporaryDirectory() as folder:
            if name not in [file.path for file in self.client.list_artifacts(run_id)]:
                return None
            return Path(self.client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")

    def keep(self, run_id: str, directory: Path) -> None:
        """Keep a folder as an artifact of a run, under its own name."""
        with calls():
            self.client.log_artifacts(run_id, str(directory), directory.name)

    def fetch(self, run_id: str, name: str, target: Path) -> Path:
        """Fetch an artifact of a run into ``target``; return where it is."""
        with calls():
            return Path(self.client.download_artifacts(run_id, name, str(target)))

    def link(self, run_id: str) -> str:
        """Return where people look at a run."""
        with calls():
            return f"{self._url}/#/experiments/{self.client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def find_or_create(self, model: str, tags: Mapping[str, str], name: str) -> str:
        """Return the id of the run with these tags, made with them and the name when it is not there."""
        marks = prefixed(tags)
        with calls():
            experiment = self.client.get_experiment_by_name(model)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(model)
            query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in marks.items())
            found = self.client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time"])
            run = found[0] if found else self.client.create_run(experiment_id, tags=marks, run_name=name)
            return run.info.run_id


@contextmanager
def calls(missing_is_none: bool = False) -> Iterator[None]:
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


def prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as MLflow holds them."""
    return {f"zeta.{key}": str(value) for key, value in tags.items()}


def unprefixed(tags: Mapping[str, str]) -> dict[str, str]:
    """Return Zeta's own of MLflow's tags."""
    return {key.removeprefix("zeta."): value for key, value in tags.items() if key.startswith("zeta.")}
