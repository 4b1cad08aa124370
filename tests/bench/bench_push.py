"""A model's image in a registry: Zeta's appended layer, against `docker build` and `docker push` of the same image, and
against hashing and sending its bytes; all in turn, on the same base, to the same registry.

python -m tests.bench.bench_push [REPEATS]
"""

import contextlib
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker
import numpy as np
import requests
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import image
from pipeline.adapters.docker import Base
from pipeline.adapters.remote import BASE, Remote
from pipeline.image import Digest
from pipeline.settings import ROOT
from tests.cluster import rootfs

SIZES = (5, 50, 200)
LAYERS = ("root file system", "dictionary", "packages", "Helm", "application", "model")
NAME = "bench"
LABELS = {"zeta.model": NAME, "zeta.training-window": "2026-01-01/2026-06-30", "zeta.fingerprint": "0" * 64}


def seconds(action: Callable[..., object], *arguments: object) -> float:
    """Return the wall time of an action; what was written before it is on the disk already."""
    os.sync()
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def write(folder: Path, size: int, below: str) -> dict[str, Path]:
    """Write a new model with ``size`` bytes of coefficients, and a Dockerfile that makes the same image of it."""
    (folder / "model").mkdir()
    (folder / "model/model.skops").write_bytes(np.random.default_rng().normal(size=size // 8).tobytes())
    shutil.copytree(ROOT / "models/type", folder / "own", ignore=shutil.ignore_patterns("__pycache__"))
    labels = " ".join(f"{name}={value}" for name, value in LABELS.items())
    copies = f"COPY model /model\nCOPY own /app/models/{NAME}\n"
    (folder / "Dockerfile").write_text(f"FROM {below}\n{copies}LABEL {labels}\n")
    return {"/model": folder / "model", f"/app/models/{NAME}": folder / "own"}


def build_and_push(folder: Path, tag: str) -> None:
    """What a team does that has no Zeta."""
    for command in (["build", "-q", "-t", tag, str(folder)], ["push", "-q", tag]):
        subprocess.run([rootfs.program("docker"), *command], check=True, capture_output=True)


def hash_and_send(path: Path, address: str) -> None:
    """The least that any push has to do."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        place = requests.post(f"http://{address}/v2/plain/blobs/uploads/", timeout=60).headers["Location"]
        requests.put(place, data=file, params={"digest": f"sha256:{digest}"}, timeout=600).raise_for_status()


def measure(size: int, repeats: int, images: Remote, base: Digest, address: str) -> tuple[float, ...]:
    """Return the median seconds of Docker, of the least, and of Zeta; each has bytes that the registry never saw."""
    times = []
    for turn in range(repeats):
        with contextlib.ExitStack() as stack:
            folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
            files = [write(folder, size, f"{images.located(BASE)}@{base}") for folder in folders]
            dockers = seconds(build_and_push, folders[0], f"{images.repository}:docker-{size}-{turn}")
            least = seconds(hash_and_send, folders[1] / "model/model.skops", address)
            ours = seconds(images.append_model, base, files[2], LABELS, f"{NAME}:{size}-{turn}")
            times.append((dockers, least, ours))
    return tuple(statistics.median(one) for one in zip(*times, strict=True))


def weights(images: Remote, digest: Digest) -> Table:
    """Return what an image weighs in the registry, layer by layer."""
    table = Table("layer", title="The image in the registry")
    table.add_column("MB", justify="right")
    layers = images._image(NAME, digest).layers
    for name, layer in zip(LAYERS, layers, strict=True):
        table.add_row(name, f"{layer.size / 1e6:.1f}")
    table.add_row("all", f"{sum(layer.size for layer in layers) / 1e6:.1f}")
    return table


def based(client: docker.DockerClient, address: str, folder: Path) -> tuple[Remote, Digest, Table]:
    """Build the base of all models, and look it up; Docker has it too, as after a build on that machine."""
    if shutil.which("helm") is None:
        (folder / "helm").write_text("#!/bin/sh\n")
        (folder / "helm").chmod(0o755)
        os.environ["PATH"] += f":{folder}"
    images = Remote(address, NAME, Base(under=rootfs.imported(client)).build)
    table = Table("", title="The base of all models")
    table.add_column("s", justify="right")
    for name in ("built and pushed", "found: nothing changed"):
        table.add_row(name, f"{seconds(images.build_base, image.application(ROOT)):.2f}")
    base = images.build_base(image.application(ROOT))
    client.images.pull(f"{images.located(BASE)}@{base}")
    return images, base, table


def main() -> None:
    """Print the tables."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    table = Table(title=f"A new model built and pushed, seconds, median of {repeats}")
    for column in ("model MB", "docker", "hash + send", "Zeta", "docker / Zeta", "Zeta / least"):
        table.add_column(column, justify="right")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(rootfs.daemon())
        address = stack.enter_context(rootfs.registry(folder / "registry"))
        images, base, built = based(client, address, folder)
        for size in track(SIZES, "measuring", console=Console(stderr=True)):
            dockers, least, ours = measure(size * 1_000_000, repeats, images, base, address)
            ratios = f"{dockers / ours:.1f}", f"{ours / least:.2f}"
            table.add_row(str(size), f"{dockers:.2f}", f"{least:.3f}", f"{ours:.3f}", *ratios)
        Console().print(built, table)
        last = images.find(f"{NAME}:{SIZES[-1] * 1_000_000}-0")
        if last is not None:
            Console().print(weights(images, last))


if __name__ == "__main__":
    main()
