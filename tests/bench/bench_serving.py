"""`zeta serve` against `mlflow models serve`: the same model, the same requests, one worker each, in the same run.

python -m tests.bench.bench_serving [SECONDS [REPEATS]]

The model knows characters, not words: MLflow's environment has no MeCab.
"""

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from pipeline import artifact, fingerprint, listings
from pipeline.manifest import Golden, Manifest
from pipeline.settings import ROOT
from tests.bench.server import cpu_seconds, running
from tests.ports import free_port

MLFLOW = ROOT / ".zeta/envs/mlflow/bin/mlflow"
ZETA = Path(sys.executable).with_name("zeta")
PEER = "mlflow models serve"
CONNECTIONS = 8
ROWS = (1, 100)
BODIES = 50
ENVIRONMENT = {
    # Where mlflow looks for its own web server.
    "PATH": f"{MLFLOW.parent}:{os.environ['PATH']}",
    # Without this MLflow does not even load skops; the model is this run's own. `zeta serve` does without it.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Load:
    """What a server did under load: requests a second, milliseconds of latency, and of CPU time a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


def train(directory: Path) -> list[str]:
    """Write a model of 156 classes; return titles to ask it for."""
    known, asked = listings.rows(date(2025, 1, 1), date(2025, 1, 3), 10_000, seed=7)
    titles = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), sublinear_tf=True)
    estimator = make_pipeline(make_column_transformer((titles, "title")), LinearSVC(random_state=0))
    estimator.fit(known[["title"]], known["category"].str.rpartition("/")[0])
    # As training stores it.
    estimator[-1].coef_ = np.asfortranarray(estimator[-1].coef_)
    golden = Golden(asked[["title"]][:20].to_dict("records"), estimator.predict(asked[["title"]][:20]).tolist())
    manifest = Manifest(
        "branch", "classification", {"title": "string"}, [], fingerprint.current([]), golden,
        list(artifact.TRUSTED), None,
    )  # fmt: skip
    artifact.save(directory, manifest, estimator, np.zeros(0, np.uint64))
    return asked["title"].tolist()


def bodies(titles: list[str], rows: int) -> list[bytes]:
    """Return request bodies that both servers understand, of ``rows`` titles each."""
    first = range(0, BODIES * rows, rows)
    frames = ({"columns": ["title"], "data": [[title] for title in titles[at : at + rows]]} for at in first)
    return [json.dumps({"dataframe_split": frame}).encode() for frame in frames]


async def load(port: int, group: int, requests: list[bytes], seconds: float) -> Load:
    """Ask a server over keep-alive connections, each as soon as it has its answer, for so many seconds."""
    turns, latencies, used = itertools.cycle(requests), [], cpu_seconds(group)
    started = time.perf_counter()
    await asyncio.gather(*(client(port, turns, started + seconds, latencies) for _ in range(CONNECTIONS)))
    taken, used = time.perf_counter() - started, cpu_seconds(group) - used
    p50, p99 = np.percentile(latencies, (50, 99)) * 1000
    return Load(len(latencies) / taken, p50, p99, used / len(latencies) * 1000)


async def client(port: int, requests: Iterable[bytes], deadline: float, latencies: list[float]) -> None:
    """One connection; each answer's latency is appended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /invocations HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
    for body in requests:
        started = time.perf_counter()
        if started > deadline:
            break
        writer.write(head.format(len(body)).encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(answer.partition(b"content-length: ")[2].split()[0]))
        if not answer.startswith(b"http/1.1 200"):
            raise RuntimeError(f"port {port} answers {answer.decode()!r}; expected 200")
        latencies.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()


def commands(model: Path, ports: tuple[int, int]) -> dict[str, tuple[int, list[str], str]]:
    """Return each server's port, command line, and the path that answers once it is ready."""
    mlflow = [str(MLFLOW), "models", "serve", "-m", str(model), "--env-manager", "local", "--workers", "1"]
    zeta = [str(ZETA), "serve", "--model", str(model), "--app-root", str(model.parent)]
    return {
        PEER: (ports[0], [*mlflow, "--port", str(ports[0])], "ping"),
        "zeta serve": (ports[1], [*zeta, "--port", str(ports[1])], "v2/health/ready"),
    }


def measure(folder: Path, seconds: float, repeats: int) -> dict[tuple[int, str], list[Load]]:
    """Load both servers in turn; the one that is not asked is idle. The first turn only warms them up."""
    titles, groups, found = train(folder / "model"), {}, {}
    servers = commands(folder / "model", (free_port(), free_port()))
    with ExitStack() as stack:
        for name, (port, command, health) in servers.items():
            log = folder / f"{name}.log"
            groups[name] = stack.enter_context(running(command, f"http://127.0.0.1:{port}/{health}", log, ENVIRONMENT))
        check_equal([port for port, _, _ in servers.values()], bodies(titles, 100)[0])
        turns = [(rows, name) for _ in range(repeats + 1) for rows in ROWS for name in servers]
        for rows, name in track(turns, "measuring", console=Console(stderr=True)):
            measured = asyncio.run(load(servers[name][0], groups[name], bodies(titles, rows), seconds))
            found.setdefault((rows, name), []).append(measured)
    return {key: loads[1:] for key, loads in found.items()}


def check_equal(ports: list[int], body: bytes) -> None:
    """Give up unless the servers answer the same."""
    headers = {"content-type": "application/json"}
    answers = [
        httpx.post(f"http://127.0.0.1:{port}/invocations", content=body, headers=headers, trust_env=False)
        .raise_for_status()
        .json()["predictions"]
        for port in ports
    ]
    if answers[0] != answers[1]:
        raise SystemExit("the servers answer differently; their speeds are not to be compared")


def main() -> None:
    """Print the table."""
    seconds, repeats = (int(given) for given in (sys.argv[1:] + ["5", "3"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), seconds, repeats)
    table = Table(
        title=f"Serving 156 classes, {CONNECTIONS} connections, median of {repeats} x {seconds} s",
        caption="rows and the server's CPU ms are of one request",
    )
    for column in ("rows", "", "requests/s", "ratio", "p50 ms", "p99 ms", "CPU ms"):
        table.add_column(column, justify="right", no_wrap=True)
    medians = {
        key: Load(*(statistics.median(values) for values in zip(*map(astuple, loads), strict=True)))
        for key, loads in found.items()
    }
    for (rows, name), one in medians.items():
        ratio = one.rate / medians[rows, PEER].rate
        table.add_row(
            str(rows), name, f"{one.rate:,.0f}", f"{ratio:.1f}", f"{one.p50:.1f}", f"{one.p99:.1f}", f"{one.cpu:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
