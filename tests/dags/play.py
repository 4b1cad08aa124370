"""What tests ask of Airflow, in Airflow's own environment: ``parse`` its DAGs, or ``play`` a run of some of them."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization


def main(folder: Path, action: str, at: str, *dags: str) -> None:
    """Print one JSON object on the last line."""
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    moment = datetime.fromisoformat(at)
    print(json.dumps(parse(bag) if action == "parse" else {dag: play(bag.dags[dag], moment) for dag in dags}))


def parse(bag: Any) -> dict[str, Any]:
    """Return the serialised DAGs and the import errors."""
    dags = {dag_id: DagSerialization.serialize_dag(dag) for dag_id, dag in bag.dags.items()}
    return {"dags": dags, "errors": {Path(file).name: text for file, text in bag.import_errors.items()}}


def play(dag: Any, at: datetime) -> dict[str, Any]:
    """Run a DAG to its end; return its state and its tasks' states and tries."""
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    # It sleeps for a second whenever it has only to pass on that a task is skipped.
    with mock.patch("time.sleep"):
        run = dag.test(logical_date=at)
    tasks = {ti.task_id: [ti.state, ti.try_number] for ti in run.get_task_instances()}
    return {"state": run.state, "tasks": tasks}


main(Path(sys.argv[1]), *sys.argv[2:])
