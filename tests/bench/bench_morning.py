"""A morning on which a model is left alone: its CPU seconds, against those of its predictions alone in the same run.

python -m tests.bench.bench_morning [MODELS [MORNINGS]]

Every model is trained, built and rolled out by the whole run first, which takes half a minute each. So the fleet of 50
is told from a few of its models, and the table says of how many. Each step is a process, as the scheduler starts it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import data, installation, listings, workspace
from pipeline.adapters.registry import CHAMPION
from pipeline.data import Window
from pipeline.evaluation import Subject
from pipeline.settings import ROOT
from tests.bench import marketplace
from tests.bench.server import cpu_seconds, running
from tests.ports import free_port

MLFLOW = ROOT / ".zeta/envs/mlflow/bin/mlflow"
ZETA = Path(sys.executable).with_name("zeta")
BOOTSTRAP = datetime(2025, 4, 1, 5, tzinfo=UTC)
PER_DAY = 300
STEPS = ("evaluate", "decide")
PREDICTIONS = "its predictions alone: start, load, predict"
SERVER = "the MLflow server meanwhile"


@contextmanager
def platform(folder: Path) -> Iterator[int]:
    """Let this process use a home, a database and an MLflow server of its own; give the server's process group."""
    port = free_port()
    os.environ |= {
        "ZETA_HOME": f"{folder}/home",
        "ZETA_MODELS": f"{folder}/models",
        "ZETA_MODEL_PORT": str(free_port()),
        "ZETA_SOURCE_LISTINGS": f"sqlite:///{folder}/listings.db",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [str(MLFLOW), "server", "--port", str(port), "--workers", "1", *store]
    with running(command, f"http://127.0.0.1:{port}/health", folder / "mlflow.log", quiet) as group:
        try:
            yield group
        finally:
            installation.down()


def bootstrap(name: str) -> None:
    """Add a model and put it into production."""
    marketplace.add(Path(os.environ["ZETA_MODELS"]), name, "root")
    outcome = zeta("run", name, BOOTSTRAP).get("roll-out", {}).get("outcome")
    if outcome != "promoted":
        raise SystemExit(f"{name} did not get into production ({outcome}); there is nothing to measure")


def zeta(step: str, name: str, at: datetime) -> dict:
    """Run a command as the scheduler does; return its answer."""
    done = subprocess.run([ZETA, step, name, "--at", at.isoformat()], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"zeta {step} {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def morning(name: str, at: datetime, server: int) -> dict[str, float]:
    """Return the CPU seconds of each part of one morning."""
    costs, served = {}, cpu_seconds(server)
    for step in STEPS:
        before = of_children()
        answer = zeta(step, name, at)
        costs[f"zeta {step}"] = of_children() - before
    if answer["verdict"] != "keep":
        raise SystemExit(f"{name} on {at.date()}: the verdict is {answer['verdict']}; only a morning of keep counts")
    costs[SERVER] = cpu_seconds(server) - served
    work = workspace.load(name)
    champion = work.registry.aliased(name, CHAMPION)
    before = of_children()
    with work.deployed(champion.tag("digest")) as subject:
        subject.predict(titles(work, at, subject), work.score.output, work.score.k)
    costs[PREDICTIONS] = of_children() - before
    return costs


def titles(work: workspace.Workspace, at: datetime, subject: Subject) -> pd.DataFrame:
    """Return the rows of the evaluation window as the model sees them."""
    end = data.matured_end(at, work.config)
    window = Window(end - data.whole_days(work.config.evaluation.window), end)
    return data.inputs(pd.concat(data.read(work.source, work.config, window)), subject.features)


def of_children() -> float:
    """Return the CPU seconds of all processes below this one that have ended."""
    return sum(os.times()[2:4])


def main() -> None:
    """Print the table."""
    models, mornings = (int(given) for given in (sys.argv[1:] + ["5", "3"][len(sys.argv) - 1 :]))
    console = Console(stderr=True)
    names = [f"fleet-{number}" for number in range(models)]
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder)) as server:
        first, last = date(2025, 1, 20), BOOTSTRAP.date() + timedelta(days=mornings)
        listings.write(os.environ["ZETA_SOURCE_LISTINGS"], first, last, PER_DAY, seed=7)
        for name in track(names, "into production", console=console):
            bootstrap(name)
        turns = [(name, BOOTSTRAP + timedelta(days=1 + day)) for day in range(mornings) for name in names]
        costs = [morning(*turn, server) for turn in track(turns, "mornings", console=console)]
    medians = {part: statistics.median(cost[part] for cost in costs) for part in costs[0]}
    print_table(medians, f"A morning that keeps the champion, median of {models} models x {mornings} mornings")


def print_table(medians: dict[str, float], title: str) -> None:
    """Print the parts and what they come to beside the predictions."""
    steps = sum(medians[f"zeta {step}"] for step in STEPS)
    predictions, server = medians.pop(PREDICTIONS), medians.pop(SERVER)
    rows = medians | {"both steps": steps, PREDICTIONS: predictions, "beyond them": steps - predictions, SERVER: server}
    table = Table(title=title)
    table.add_column("")
    for column in ("CPU s a model", "ratio"):
        table.add_column(column, justify="right")
    for part, seconds in rows.items():
        table.add_row(part, f"{seconds:.2f}", f"{seconds / predictions:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
