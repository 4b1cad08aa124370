"""What was found, in MLflow: a run of the experiment bench-statistics with the figures, the curves and their image."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline import settings
from pipeline.adapters.runs import Runs, calls
from pipeline.errors import ZetaError
from tests.bench.server import healthy
from tests.bench.statistics.curves import Lines
from tests.bench.statistics.detection import YEAR
from tests.bench.statistics.figure import Figure

EXPERIMENT = "bench-statistics"
_MISSING = "figures and curves are not in MLflow"


def put(found: Sequence[Figure], drawn: Lines, image: Path, tags: Mapping[str, str]) -> str:
    """Put figures, curves and their image into MLflow if it answers; return a line that says where, or why not.

    The run counts as failed when a figure is missed. ``tags``: what the figures are of.
    """
    try:
        there = settings.load()
        if not healthy(f"{there.tracking_uri.rstrip('/')}/health"):
            return f"{_MISSING}: no server answers at {there.tracking_uri}; start it: make up"
        link = _run(Runs(there.tracking_uri, there.mlflow_url), found, drawn, image, tags)
        return f"figures and curves are in MLflow: {link}"
    except ZetaError as error:
        return f"{_MISSING}: {error}"


def metrics(found: Sequence[Figure], drawn: Lines) -> Iterator[tuple[str, float, int]]:
    """Give (name, value, step) of each figure with its bounds, and of each point of the curves.

    A name begins with the section of the run's charts that it stands in. The step of a curve is its abscissa: in how
    many of 1,000 unchanged years there is a false alarm. A drop that half of all years do not find has no point.
    """
    for figure in found:
        name = _name(f"{figure.name}/{figure.scenario}")
        yield from ((name, figure.value, 0), (f"{name} low", figure.low, 0), (f"{name} high", figure.high, 0))
    for (world, rule), points in drawn.items():
        name = _name(f"days to a drop by false alarms in 1000 years: {world}/{rule}")
        yield from ((name, days, round(1000 * alarms)) for alarms, days in points if days <= YEAR)


def _run(runs: Runs, found: Sequence[Figure], drawn: Lines, image: Path, tags: Mapping[str, str]) -> str:
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    from mlflow.entities import Metric

    now = datetime.now(UTC)
    run_id = runs.find_or_create(EXPERIMENT, {"kind": "statistics", "at": now.isoformat(), **tags}, f"{now:%FT%R}Z")
    with calls():
        at = int(now.timestamp() * 1000)
        runs.client.log_batch(run_id, [Metric(name, value, at, step) for name, value, step in metrics(found, drawn)])
        runs.client.log_artifact(run_id, str(image))
    runs.finish(run_id, all(figure.met for figure in found))
    return runs.link(run_id)


def _name(text: str) -> str:
    """Return a text as MLflow takes it for the name of a metric."""
    return re.sub(r"[^\w/.: -]", "", text.replace("%", " percent"))
