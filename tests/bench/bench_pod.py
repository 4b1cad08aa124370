"""The cold start of a model's pod, from scheduled to ready, against that of Python's own web server in the same base.

KUBECONFIG and ZETA_REGISTRY name the cluster (`eval "$(make cluster)"`); both images are on the node before they are
timed. python -m tests.bench.bench_pod [REPEATS]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
from kubernetes import client, config
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import image
from pipeline.adapters.docker import Base
from pipeline.adapters.remote import BASE, Remote
from pipeline.settings import ROOT
from tests.cluster import rootfs
from tests.serving import toy

SPACE = "default"
COMMANDS = {
    "model": ["python3", "-m", "pipeline.serving.server", "--model", "/model", "--host", "0.0.0.0", "--port", "8080"],
    "http.server": ["python3", "-m", "http.server", "8080"],
}
PATHS = {"model": "/v2/health/ready", "http.server": "/"}
LIMITS = {"cpu": "1", "memory": "512Mi"}


def built(registry: str) -> dict[str, str]:
    """Push a small model and the base below it; return what to run for each."""
    under = os.environ.get("ZETA_BASE_IMAGE") or rootfs.imported(docker.from_env())
    remote = Remote(registry, "bench", Base(under=under).build)
    base = remote.build_base(image.application(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        root = toy.titles(Path(folder) / "titles", "1")
        digest = remote.append_model(base, {"/model": root / "model"}, {}, "bench:pod")
    return {"model": f"{remote.repository}@{digest}", "http.server": f"{remote.located(BASE)}@{base}"}


def start(core: client.CoreV1Api, what: str, name: str) -> float:
    """Run a pod until it is ready; return the seconds since it was scheduled."""
    container: dict[str, Any] = {
        "name": "server", "image": name, "command": COMMANDS[what], "workingDir": "/app",
        "resources": {"requests": {"cpu": "100m"}, "limits": LIMITS},
        "readinessProbe": {"httpGet": {"path": PATHS[what], "port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
    pod = core.create_namespaced_pod(SPACE, {"metadata": {"generateName": "bench-"}, "spec": spec}).metadata.name
    scheduled, deadline = 0.0, time.perf_counter() + 120
    try:
        while time.perf_counter() < deadline:
            conditions = core.read_namespaced_pod(pod, SPACE).status.conditions or []
            true = {one.type for one in conditions if one.status == "True"}
            if not scheduled and "PodScheduled" in true:
                scheduled = time.perf_counter()
            if "Ready" in true:
                return time.perf_counter() - scheduled
            time.sleep(0.02)
        sys.exit(f"{pod} is not ready after 120 s")
    finally:
        core.delete_namespaced_pod(pod, SPACE, grace_period_seconds=0)


def main() -> None:
    """Measure in turn; print the medians and their ratio."""
    missing = [name for name in ("KUBECONFIG", "ZETA_REGISTRY") if name not in os.environ]
    if missing:
        print(f'bench_pod: not measured, {" and ".join(missing)} not set; eval "$(make cluster)" sets both')
        return
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    config.load_config(config_file=os.environ["KUBECONFIG"])
    core, images = client.CoreV1Api(), built(os.environ["ZETA_REGISTRY"])
    taken: dict[str, list[float]] = {what: [start(core, what, name)][1:] for what, name in images.items()}
    for _ in track(range(repeats), "pods", console=Console(stderr=True)):
        for what, name in images.items():
            taken[what].append(start(core, what, name))
    table = Table(title=f"Cold start of a pod, scheduled to ready: median of {repeats}", title_justify="left")
    for column in ("", "seconds", "from", "to"):
        table.add_column(column, justify="right" if column else "left")
    for what, found in taken.items():
        table.add_row(what, *(f"{value:.2f}" for value in (statistics.median(found), min(found), max(found))))
    Console().print(table)
    model, peer = (statistics.median(taken[what]) for what in images)
    print(f"model / http.server: {model / peer:.2f}")


if __name__ == "__main__":
    main()
