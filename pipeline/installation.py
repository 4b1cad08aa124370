"""The platform on one machine: the services, the releases, and the data set of the shipped models."""

import os

from rich.console import Console

from pipeline import config, image, settings
from pipeline.adapters import services
from pipeline.adapters.local import LocalPlatform
from pipeline.adapters.oci import Layout
from pipeline.demo import titles
from pipeline.errors import ConfigError
from pipeline.settings import Settings


def up() -> None:
    """Start services and releases, models on their schedules; print where to look. Harmless when all is up."""
    found = settings.load()
    prepare(found)
    services.up(found)
    console, releases = Console(), local_platform(found)
    for name, address in services.addresses(found).items():
        console.print(f"{name:8} {address}")
    for path in config.paths(found.models):
        if release := releases.release(path.parent.name, "stable"):
            console.print(f"{path.parent.name:8} {release.address} (version {release.version})")
    console.print("zeta status shows the fleet; make down stops everything")


def down() -> None:
    """Stop everything that was started in this home; return when it is gone."""
    found = settings.load()
    services.down(found)
    releases = local_platform(found)
    for folder in sorted((found.home / "releases").glob("*/")):
        releases.stop(folder.name)


def prepare(found: Settings) -> None:
    """Give the shipped models their data set, unless ZETA_SOURCE_ANIME names a database already."""
    if "ZETA_SOURCE_ANIME" not in os.environ:
        file = found.home / "anime.db"
        titles.write(file)
        settings.remember(found, "ZETA_SOURCE_ANIME", f"sqlite:///{file}")


def base(kind: str) -> str:
    """Build a base image in the registry unless it is there; return its name, with the digest."""
    from pipeline import workspace
    from pipeline.adapters import docker
    from pipeline.adapters.remote import Remote
    from pipeline.base import REPOSITORIES

    found = settings.load()
    if found.kubernetes is None:
        raise ConfigError("base images are for a cluster; set ZETA_PLATFORM=kubernetes and ZETA_REGISTRY")
    if kind not in (*REPOSITORIES, "tasks"):
        raise ConfigError(f"image {kind!r}: expected one of {sorted((*REPOSITORIES, 'tasks'))}")
    images = Remote(found.kubernetes.registry, REPOSITORIES["model"], docker.Base().build)
    repository, digest = docker.build(kind, images, found.models, found.kubernetes.base_image, workspace.commit())
    return f"{images.located(repository)}@{digest}"


def local_platform(found: Settings) -> LocalPlatform:
    """Return the platform of this machine."""
    images = Layout(found.home / "images")
    return LocalPlatform(found, lambda digest: images.unpack(image.Digest(digest), found.home / "unpacked"))
