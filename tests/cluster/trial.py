"""The proof that a cluster works: a pod that answers over HTTP; and what every such pod needs of an image."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

import httpx
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.cluster.steps import Failed, run, wait

_LABEL = "zeta.test/answer"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def load(programs: Path, state: Path) -> None:
    """Give containerd the images of one program each: `pause`, which holds every pod, and `answer`."""
    for name in ("pause", "answer"):
        archive = state / f"{name}.tar"
        archive.write_bytes(image(programs / name))
        run("ctr", "--address", f"{state}/containerd.sock", "--namespace", "k8s.io", "images", "import", archive)


def image(program: Path) -> bytes:
    """Return what `docker save` would print of an image that consists of one program."""
    layer = _tar({program.name: program.read_bytes()})
    about = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [f"zeta.test/{program.name}:1"], "Layers": ["layer.tar"]}]
    files = {"config.json": about, "manifest.json": manifest}
    return _tar({"layer.tar": layer, **{name: json.dumps(value).encode() for name, value in files.items()}})


def _tar(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def answer(kubeconfig: Path) -> None:
    """Run a pod until it answers. Raises Failed when it does not."""
    core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    container = {"name": "answer", "image": "zeta.test/answer:1", "imagePullPolicy": "Never"}
    pod = {
        "metadata": {"generateName": "answer-", "labels": {_LABEL: ""}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False},
    }
    made: list[str] = []

    def answers() -> bool:
        try:
            if not made:
                made.append(core.create_namespaced_pod("default", pod).metadata.name)
            address = core.read_namespaced_pod(made[0], "default").status.pod_ip
            return address is not None and made[0] in httpx.get(f"http://{address}:8080", trust_env=False).text
        except ApiException as error:
            # Until the namespace's ServiceAccount is there, pods are refused.
            if error.status != 403:
                raise Failed(f"the API server refuses a pod: {error}") from error
            return False
        except httpx.TransportError:
            return False

    wait("an answer of a pod", answers)
    core.delete_collection_namespaced_pod("default", label_selector=_LABEL)
