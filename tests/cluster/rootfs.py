"""What stands in for a public registry where none can be reached: a root file system of Debian's packages to start
images from; Docker, where none answers; a registry.
"""

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import docker
from docker.errors import ImageNotFound

from pipeline import base, image
from tests.cluster.packages import docker_answers
from tests.ports import free_port

# The releases of Debian by their Python: a model runs on the Python that trained it.
SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
PACKAGES = ("ca-certificates", "libstdc++6", "python3", "tzdata")
_START_SECONDS = 60


class Missing(Exception):
    """This machine lacks a program, or its Python is no release of Debian's."""


def imported(client: docker.DockerClient, packages: Sequence[str] = PACKAGES, after: Sequence[str] = ()) -> str:
    """Return an image with Debian's Python and little else, or with other packages, which Docker has from now on.

    It is made from Debian's packages once a machine; the same packages give the same image. ``after`` are commands for
    the shell of the machine, run when all is installed, with the root's folder as $1.
    """
    suite = SUITES.get(sys.version_info[:2])
    if suite is None:
        raise Missing(f"no release of Debian has Python {sys.version_info.major}.{sys.version_info.minor}")
    name = f"zeta-rootfs:{suite}-{base.name(*packages, *after)[:12]}"
    try:
        client.images.get(name)
    except ImageNotFound:
        with tempfile.TemporaryDirectory() as folder:
            root = _root(suite, name.partition(":")[2], packages, after)
            client.images.load(_archive(root, name, Path(folder)))
    return name


def _root(suite: str, title: str, packages: Sequence[str], after: Sequence[str]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zeta/rootfs"
    path = cache / f"{title}.tar"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{title}.{os.getpid()}.tar"
        options = ["--variant=minbase", f"--include={','.join(packages)}", "--quiet"]
        options += [f"--customize-hook={command}" for command in after]
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
        command = [program("mmdebstrap"), *options, *left_out, suite, str(partial)]
        subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
        partial.rename(path)
    return path


def _archive(root: Path, name: str, folder: Path) -> Iterator[bytes]:
    """Yield what `docker load` reads: unlike `docker import` it keeps the time of creation, and so the image's id."""
    with root.open("rb") as file:
        layer = image.measured(iter(lambda: file.read(1 << 18), b""))
    config = json.loads(image.empty(platform.machine()).config)
    config |= {"config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.digest]}}
    (folder / "config.json").write_bytes(image.canonical(config))
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    (folder / "manifest.json").write_bytes(image.canonical(manifest))
    return image.layer({"/layer.tar": root} | {f"/{path.name}": path for path in folder.iterdir()})


def program(name: str) -> str:
    """Return where a program is."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not installed (Debian: docker.io, docker-registry, mmdebstrap, skopeo)")
    return found


@contextlib.contextmanager
def daemon(own: bool = False) -> Iterator[docker.DockerClient]:
    """Give the Docker that answers, else one of our own, without a network; that one goes again, with its images."""
    with contextlib.ExitStack() as stack:
        if own or not docker_answers():
            # Not below pytest's folders: the path of a socket is short.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zeta-docker-")))
            address = f"unix://{folder}/docker.sock"
            paths = {"data-root": folder / "data", "exec-root": folder / "exec", "pidfile": folder / "pid"}
            options = ["--bridge=none", "--iptables=false", "--ip6tables=false", f"--host={address}"]
            command = [program("dockerd"), *options, *(f"--{name}={path}" for name, path in paths.items())]
            # A daemon that did not start leaves this mount.
            unmount = ["umount", "--quiet", "--lazy", str(folder / "data")]
            stack.callback(subprocess.run, unmount, check=False)
            stack.enter_context(patch.dict(os.environ, {"DOCKER_HOST": address}))
            stack.enter_context(_running(command, folder, docker_answers))
        yield stack.enter_context(contextlib.closing(docker.from_env()))


@contextlib.contextmanager
def registry(folder: Path, port: int = 0, **settings: Mapping[str, Any]) -> Iterator[str]:
    """Run a registry with its blobs in ``folder``; give HOST:PORT. ``settings`` are laid over its configuration."""
    port = port or free_port()
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    for section, values in settings.items():
        config[section] = {**config.get(section, {}), **values}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(json.dumps(config))
    command = [program("docker-registry"), "serve", str(folder / "config.yml")]
    with _running(command, folder, lambda: _listens(port)):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def _running(command: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
