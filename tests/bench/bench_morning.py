"""A morning on which a model is left alone: its CPU seconds, against those of its predictions alone in the same run.

python -m tests.bench.bench_morning [MODELS [MORNINGS]]

The models are trained, built and rolled out through the whole run first; so a fleet of 50 is told from a few of its
models, and the table says of how many. Each step is a process of its own, as the scheduler starts it.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import data, installation, listings, workspace
from pipeline.adapters.processes import end_group, last_lines
from pipeline.adapters.registry import CHAMPION
from pipeline.data import Window
from pipeline.settings import ROOT

MLFLOW = ROOT / ".zeta/envs/mlflow/bin/mlflow"
ZETA = Path(sys.executable).with_name("zeta")
START_SECONDS = 120
BOOTSTRAP = datetime(2025, 4, 1, 5, tzinfo=UTC)
PER_DAY = 300
QUERY = """
SELECT item_id, listed_at, title, channel, substr(category, 1, instr(category, '/') - 1) AS root
FROM listings WHERE listed_at >= :start AND listed_at < :end ORDER BY listed_at
"""
VALUES = {
    "owner": "bench",
    "task": "classification",
    "schedule": "0 5 * * *",
    "components": ["japanese"],
    "data": {
        "source": "listings",
        "query": "root.sql",
        "key": "item_id",
        "time": "listed_at",
        "label": "root",
        "features": ["title"],
    },
    "evaluation": {"score": "accuracy", "minimum_rows": 500, "slices": ["channel"]},
    "degradation": {"smallest_drop": 0.1},
    "training": {"window": "28d", "seeds": 1},
    "gate": {"baseline": "most_frequent"},
}
STEPS = ("zeta evaluate", "zeta decide")
PREDICTIONS, SERVER = "its predictions alone", "MLflow server meanwhile"


@contextmanager
def platform(folder: Path) -> Iterator[int]:
    """Run an MLflow server and releases in a home of their own; give the server's process group."""
    port, release_port = free_port(), free_port()
    os.environ |= {
        "ZETA_HOME": f"{folder}/home",
        "ZETA_MODELS": f"{folder}/models",
        "ZETA_MODEL_PORT": str(release_port),
        "ZETA_SOURCE_LISTINGS": f"sqlite:///{folder}/listings.db",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_healthy(f"{os.environ['MLFLOW_TRACKING_URI']}/health", server, folder / "mlflow.log")
        yield server.pid
    finally:
        installation.down()
        end_group(server.pid, 10)
        server.wait()
