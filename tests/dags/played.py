"""The real Airflow in its own environment, asked for its DAGs or for runs of them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import ROOT

PYTHON = ROOT / ".zeta/envs/airflow/bin/python"


def airflow(home: Path, *arguments: str, **variables: str) -> str:
    """Run Airflow's Python with an Airflow of its own below ``home``; return its last line."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is missing; run: make install")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
    } | {"ZETA_HOME": str(home), "ZETA_MODELS": str(home / "models")}
    done = subprocess.run([PYTHON, *arguments], env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def play(home: Path, action: str, at: str, *dags: str, **variables: str) -> dict[str, Any]:
    """Let play.py parse the DAGs, or play a run of some of them at a logical time; return what it prints."""
    script = str(Path(__file__).with_name("play.py"))
    return json.loads(airflow(home, script, str(ROOT / "dags"), action, at, *dags, **variables))
