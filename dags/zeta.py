"""One DAG a model: every models/*/model.yaml becomes ``zeta_<name>``, on the file's own schedule.

evaluate >> decide >> (retrain) train >> gate >> (promote) build_image >> roll_out >> announce.
A run depends on its logical date alone, so a backfill replays history. A model.yaml with faults still has its DAG,
so that its owner is paged; dags/broken.py shows the faults as an import error of its own.
"""

import re
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, chain, get_parsing_context

from dags.step import Announce, Step
from pipeline import config, settings
from pipeline.errors import ConfigError
from pipeline.verdict import Decision, Gate

HOURS = {"evaluate": 2, "decide": 1, "train": 12, "gate": 2, "build_image": 1, "roll_out": 6, "announce": 1}
"""The tasks in their order, and how many hours each may take before it is stopped."""
GOES_ON = {"decide": [Decision.RETRAIN], "gate": [gate for gate in Gate if gate.passed]}
"""The verdicts with which the DAG goes on after these tasks."""


def model_dag(path: Path, dag_id: str) -> DAG:
    """Return the DAG of one model.yaml; with faults in it, one that fails and pages every hour."""
    name = path.parent.name
    try:
        model = config.load(path)
    except ConfigError as error:
        doc = f"{path.name} has faults:\n\n```\n{error}\n```"
        return _dag(dag_id, name, ["evaluate", "announce"], "0 * * * *", "UTC", "zeta", "broken", doc)
    doc = (
        f"**{name}** of {model.owner}: {model.task}, {model.evaluation.score} on rows of `{model.data.source}`. "
        f"A drop of {model.degradation.smallest_drop:g} retrains it. Pages: {', '.join(model.alerts) or 'nobody'}."
    )
    return _dag(dag_id, name, list(HOURS), model.schedule, model.timezone, model.owner, model.task, doc)


def _dag(dag_id: str, name: str, tasks: list[str], cron: str, zone: str, owner: str, tag: str, doc: str) -> DAG:
    with DAG(
        dag_id,
        schedule=CronTriggerTimetable(cron, timezone=zone),
        start_date=pendulum.datetime(1970, 1, 1, tz=zone),
        catchup=False,
        max_active_runs=1,
        tags=[tag, owner],
        doc_md=doc,
        default_args={"owner": owner, "model": name, "retries": 2, "retry_delay": timedelta(seconds=30)},
    ) as dag:
        chain(*(_task(task) for task in tasks))
    return dag


def _task(name: str) -> Step:
    timeout = timedelta(hours=HOURS[name])
    if name == "announce":
        return Announce(task_id=name, trigger_rule=TriggerRule.ALL_DONE, execution_timeout=timeout)
    return Step(task_id=name, goes_on=GOES_ON.get(name, ()), execution_timeout=timeout)


for path in config.paths(settings.load().models):
    dag_id = f"zeta_{re.sub(r'[^A-Za-z0-9._-]', '_', path.parent.name)}"
    # A task's process needs its own DAG only.
    if get_parsing_context().dag_id in (None, dag_id):
        globals()[dag_id] = model_dag(path, dag_id)
