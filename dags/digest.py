"""The DAG of the morning digest, ``zeta-digest``: there when ZETA_DIGEST says who gets it.

A file of its own: a schedule that is none is its import error alone. A model's DAG is called ``zeta_<name>``, so none
has this one's name.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, CronTriggerTimetable

from dags.step import Command
from pipeline import settings

settings.load()
if schedule := settings.digest_schedule():
    with DAG(
        "zeta-digest",
        schedule=CronTriggerTimetable(schedule, timezone="UTC"),
        start_date=pendulum.datetime(1970, 1, 1, tz="UTC"),
        catchup=False,
        max_active_runs=1,
        tags=["zeta"],
        doc_md="Sends how the fleet stands to whom ZETA_DIGEST names.",
    ):
        Command(
            task_id="digest",
            arguments=["digest", "--send"],
            owner="zeta",
            retries=2,
            retry_delay=timedelta(seconds=30),
            execution_timeout=timedelta(hours=1),
        )
