"""A workspace: one model's config and the adapters that its steps use, each built when first asked for."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from pipeline import artifact, config, image, scores, settings
from pipeline.adapters import lock
from pipeline.adapters.batch import Batch
from pipeline.adapters.local import LocalPlatform
from pipeline.adapters.oci import Layout
from pipeline.adapters.registry import Registry, Version
from pipeline.adapters.sql import SqlSource
from pipeline.config import ModelConfig
from pipeline.errors import ConfigError
from pipeline.evaluation import Subject
from pipeline.manifest import Manifest
from pipeline.rollout import Platform
from pipeline.settings import ROOT, Settings

if TYPE_CHECKING:
    from pipeline.adapters.remote import Remote


@dataclass(frozen=True)
class Workspace:
    """Everything a step of one model needs."""

    settings: Settings
    config: ModelConfig

    @cached_property
    def registry(self) -> Registry:
        """The MLflow registry."""
        return Registry(self.settings.tracking_uri, self.settings.mlflow_url)

    @cached_property
    def source(self) -> SqlSource:
        """The database with the rows."""
        return SqlSource(settings.source_url(self.config.data.source))

    @cached_property
    def images(self) -> "Layout | Remote":
        """The images: on this machine, or in the registry that the cluster pulls from."""
        cluster, model = self.settings.kubernetes, self.config
        if cluster is None:
            return Layout(self.settings.home / "images")
        from pipeline.adapters.docker import Base
        from pipeline.adapters.remote import Remote

        own = model.folder / model.requirements if model.requirements else None
        build = Base(under=cluster.base_image, own=own).build
        # A model with packages of its own does not lie on the base that this process runs in.
        return Remote(cluster.registry, model.name, build, None if own else cluster.base)

    @cached_property
    def platform(self) -> Platform:
        """Where releases run."""
        cluster, images = self.settings.kubernetes, self.images
        if cluster is None or isinstance(images, Layout):
            return LocalPlatform(self.settings, self.unpacked)
        from pipeline.adapters.kubernetes import KubernetesPlatform

        return KubernetesPlatform(cluster, images.repository, self.config.rollout)

    @cached_property
    def own(self) -> ModuleType:
        """The model's own code, as it is in the models folder."""
        return artifact.code(self.config.name, self.config.folder / self.config.code)

    @property
    def score(self) -> scores.Score:
        """A new instance of the configured score: those that number their classes do so anew."""
        name = self.config.evaluation.score
        return scores.get(name, self.config.evaluation.k, self.own if name.startswith("model.") else None)

    def unpacked(self, digest: str) -> Path:
        """Return the root file system of an image."""
        return self.images.unpack(image.Digest(digest), self.settings.home / "unpacked")

    @contextmanager
    def deployed(self, digest: str) -> Iterator[Subject]:
        """Run the model of an image for batches, with the code that is in the image."""
        root = self.unpacked(digest)
        with self._batch(root / "model", root / "app") as subject:
            yield subject

    @contextmanager
    def candidate(self, version: Version) -> Iterator[tuple[Subject, Path]]:
        """Run a version that has no image yet, loaded anew from the registry, with the code of this checkout."""
        with TemporaryDirectory() as folder:
            directory = self.registry.download(version, Path(folder))
            with self._batch(directory, self.settings.models.parent) as subject:
                yield subject, directory

    @contextmanager
    def _batch(self, directory: Path, app: Path) -> Iterator[Subject]:
        features = Manifest.read(directory).features
        with Batch.of(directory, app) as batch:
            yield Subject(features, batch.predict)


def commit() -> str | None:
    """Return the commit of this checkout, with '+' when files differ from it; None outside a checkout.

    An image has no checkout: ZETA_COMMIT says in that of the tasks what it was made from.
    """
    if (known := os.environ.get("ZETA_COMMIT")) or shutil.which("git") is None:
        return known
    git = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def load(name: str) -> Workspace:
    """Return the workspace of a model; ConfigError when there is no such model or its model.yaml has faults."""
    return Workspace(settings.load(), config.load(file(name)))


def alone(name: str) -> AbstractContextManager[None]:
    """Keep every other run of a model out: Temporary while there is one. ConfigError when there is no such model.

    Out of this machine on the local platform; on a cluster, out of all that use it.
    """
    found, model = settings.load(), file(name).parent.name
    if found.kubernetes is None:
        return lock.held(found.home / "run" / f"{model}.lock", name)
    from pipeline.adapters import lease
    from pipeline.adapters.cluster import Cluster

    return lease.held(Cluster(found.kubernetes.namespace), f"zeta-{model}")


def file(name: str) -> Path:
    """Return a model's model.yaml; ConfigError when there is no such model."""
    models = settings.load().models
    path = models / name / "model.yaml"
    if not path.is_file():
        known = [known.parent.name for known in config.paths(models)]
        raise ConfigError(f"no model {name!r} in {models}; expected one of {known}, or `zeta new {name}`")
    return path
