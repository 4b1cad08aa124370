"""`zeta` as a pipeline outside of the cluster runs it, what it tells, and what it leaves of a model."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kubernetes import client

from pipeline import artifact, workspace
from pipeline.data import frame
from tests.cluster.load import Load
from tests.cluster.objects import tracks
from tests.installation import Installation, zeta
from tests.integration.test_crash import TITLES, state


@dataclass
class Done:
    """A command that has ended, and when each step answered, by the monotonic clock."""

    code: int
    said: str
    steps: dict[str, float]


def run(*command: object, **variables: str) -> Done:
    """Run ``zeta`` and return what came of it."""
    process = subprocess.Popen(
        [zeta(), *map(str, command)], env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    said, steps = [], {}
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            if answered := re.search(r": ([a-z-]+) \{", line):
                steps[answered[1]] = time.monotonic()
    return Done(process.wait(), "".join(said), steps)


def status(name: str) -> dict[str, Any]:
    """Return what ``zeta status`` tells of a model."""
    done = subprocess.run([zeta(), "status", name, "--json"], capture_output=True, text=True, check=True)
    [found] = json.loads(done.stdout)
    return found


def asked(namespace: str, name: str) -> Load:
    """Return clients in the cluster that ask a model without pause, while they are entered."""
    work = workspace.load(name)
    image = f"{work.images.repository}@{work.platform.release(name, 'stable').digest}"
    return Load(namespace, image, name, served=name, rate=3)


def rows() -> list[dict[str, str]]:
    return [{"title": title} for title in TITLES]


def trained(installation: Installation, name: str, number: str) -> list[str]:
    """Return what a version's files in the registry answer, without a server."""
    with TemporaryDirectory() as folder:
        version = installation.registry.version(name, number)
        model = artifact.load(installation.registry.download(version, Path(folder)))
        return model.predict(frame(rows(), model.manifest.features)).tolist()


def landed(installation: Installation, namespace: str, name: str) -> dict[str, Any]:
    """Return what must be the same whatever happened on the way: in the registry, in Helm, on the cluster."""
    digest = installation.registry.aliased(name, "champion").tag("digest")
    select = {"label_selector": f"zeta.dev/model={name}"}
    deployments = client.AppsV1Api().list_namespaced_deployment(namespace, **select).items
    seen = state(installation, name)
    for marks in (*seen["runs"].values(), *seen["metrics"].values()):
        marks.pop("waiting", None)  # A run that has once waited for a person keeps the mark.
    return seen | {
        "tracks": {
            role: (one["version"], one["image"].endswith(digest), one["replicas"], one["weight"])
            for role, one in tracks(namespace, name).items()
        },
        "deployments": {
            one.metadata.labels["zeta.dev/track"]: (
                one.metadata.annotations["zeta.dev/digest"] == digest, one.spec.replicas, one.status.ready_replicas
            )
            for one in deployments
        },
    }  # fmt: skip
