"""Base images: what they install is built by Docker unless the registry has it; the code is appended by no daemon.

Packages are fetched here, by pip and its settings (PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY; for a folder of wheels
PIP_NO_INDEX and PIP_FIND_LINKS), and installed from the build's context with no network: the same wherever it runs.
"""

import logging
import platform
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound, NotFound

from pipeline import base, image
from pipeline.adapters.remote import Remote
from pipeline.base import Under
from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.image import Digest
from pipeline.settings import ROOT

_PIP = ROOT / ".zeta/envs/uv/bin/pip"
"""Beside uv, which fetches nothing without installing it, and setuptools, which reads source distributions."""
TASKS = "zeta-tasks"
_LOG = logging.getLogger("zeta.base")
_SECONDS = 600
_DENIED = re.compile("unauthorized|denied|no basic auth|authentication required", re.IGNORECASE)


def official() -> str:
    """Return the official slim image of this process's Python: a model's fingerprint holds its version."""
    return f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"


@dataclass(frozen=True)
class Base:
    """The base image of a folder in images/.

    ``under`` is the image that it starts from (BASE_IMAGE), ``own`` a model's own lock.
    """

    kind: str = "model"
    under: str = ""
    own: Path | None = None
    checkout: Path = ROOT

    def build(self, images: Remote, files: Mapping[str, Path]) -> Digest:
        """Return the image that carries ``files``; what the registry has is not built again.

        ConfigError for locks that do not fit, Temporary when Docker, the registry or a package index is not there,
        Permanent when the build fails.
        """
        repository, context = base.REPOSITORIES[self.kind], self._context()
        under = _under(self.under or official())
        inputs = image.measured(image.layer(context)).digest
        named = base.name(inputs, under.name, under.digest, platform.machine())
        dependencies = f"{repository}:dependencies-{named}"
        below = images.find(dependencies) or _made(images, dependencies, context, under)
        tag = base.name(named, image.measured(image.layer(files)).digest)
        _LOG.info("%s:%s", images.located(repository), tag)
        made = images.append((repository, below), files, {}, f"{repository}:{tag}", {"ZETA_BASE": tag})
        programs = {
            Path(name).name: image.measured([path.read_bytes()]).digest
            for name, path in context.items()
            if name.startswith("/programs/")
        }
        images.attach((repository, made), base.BILL, base.bill(dependencies, _locks(context), under, programs))
        return made

    def _context(self) -> dict[str, Path]:
        """Steps of a rollout run in pods of this image, and so it brings Helm."""
        programs = {}
        if self.kind == "model":
            found = shutil.which("helm")
            if found is None:
                raise ConfigError(
                    "helm is not on the PATH; expected Helm 4, which the image brings: helm.sh/docs/intro"
                )
            programs = {"helm": Path(found).resolve()}
        return base.context(self.kind, self.checkout, self.own, programs)


def build(kind: str, images: Remote, models: Path, under: str = "", commit: str | None = None) -> tuple[str, Digest]:
    """Return repository and digest of an image that Zeta runs in: of a folder in images/, or ``tasks``.

    Airflow's tasks run in the base of models with Airflow upon it; ``commit`` is what they say that a model was
    trained by. Raises as ``Base.build`` does.
    """
    if kind == "tasks":
        model, airflow = (build(one, images, models, under) for one in ("model", "airflow"))
        env = {"ZETA_COMMIT": commit} if commit else {}
        return TASKS, images.join(model, airflow, env, f"{TASKS}:{base.name(model[1], airflow[1], *env.values())}")
    return base.REPOSITORIES[kind], Base(kind, under).build(images, base.application(kind, ROOT, models))


def _locks(context: Mapping[str, Path]) -> list[Path]:
    return [path for name, path in context.items() if name.startswith("/locks/run/")]


def _under(name: str) -> Under:
    """Look an image up, here or where Docker pulls from; a name with its digest says all by itself."""
    if "@" in name:
        return Under(name, name.partition("@")[2])
    with _daemon() as client:
        try:
            found = client.images.get(name)
        except ImageNotFound:
            found = client.images.pull(name)
    own = (digest.partition("@") for digest in found.attrs["RepoDigests"] or [])
    digests = [digest for repository, _, digest in own if repository == name.rpartition(":")[0]]
    return Under(name, digests[0] if digests else str(found.id))


def _made(images: Remote, reference: str, context: Mapping[str, Path], under: Under) -> Digest:
    """Build and push what a base installs; the reference is written last."""
    located = images.located(reference)
    with TemporaryDirectory() as folder, _daemon() as client:
        _fetch([*_locks(context), context["/locks/install.txt"]], Path(folder))
        building = client.api.build(
            fileobj=image.layer({**context, "/wheels": Path(folder)}),
            custom_context=True,
            buildargs={"BASE_IMAGE": under.name},
            labels=under.labels,
            network_mode="none",
            tag=located,
            rm=True,
            forcerm=True,
            decode=True,
        )
        if fault := _follow(building):
            raise Permanent(f"{reference}: the build failed: {fault}")
        if fault := _follow(client.api.push(located, stream=True, decode=True)):
            if _DENIED.search(fault):
                raise ConfigError(f"{located}: may not be pushed: {fault}; expected credentials: docker login")
            raise Temporary(f"{located}: was not pushed: {fault}; see that the registry runs, then run it again")
    found = images.find(reference)
    if found is None:
        raise Permanent(f"{located}: Docker has pushed it, and it is not there; see the registry's log")
    return found


def _fetch(locks: Iterable[Path], folder: Path) -> None:
    """Put what the locks name into a folder, each file's hash checked."""
    if not _PIP.exists():
        raise ConfigError(f"{_PIP} is missing; install it: make install")
    requirements = [word for lock in locks for word in ("-r", str(lock))]
    options = ["-q", "--no-deps", "--require-hashes", "--no-build-isolation", "--dest", str(folder)]
    done = subprocess.run([_PIP, "download", *options, *requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        if "DO NOT MATCH THE HASHES" in done.stderr:
            raise Permanent(f"a package is not what the lock says; see who changed it:\n{done.stderr.strip()}")
        raise Temporary(f"pip cannot fetch what the locks name; see its settings (PIP_INDEX_URL, PIP_CERT):\n{said}")


def _follow(lines: Iterable[dict[str, Any]]) -> str | None:
    """Log the steps that Docker takes; return what it says of a failure, if it fails."""
    last: deque[str] = deque(maxlen=20)
    for line in lines:
        said = line.get("stream", "").strip()
        if said.startswith("Step "):
            _LOG.info("%s", said.partition("; ")[0])
        if said:
            last.append(said)
        if "error" in line:
            return "\n".join([line["error"], *last])
    return None


@contextmanager
def _daemon() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=_SECONDS)
        try:
            yield client
        finally:
            client.close()
    except NotFound as error:
        raise ConfigError(f"ZETA_BASE_IMAGE: {error}; expected an image that Docker has or can pull") from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise Temporary(f"Docker fails: {error}; see that it runs (DOCKER_HOST), then run it again") from error
