"""A base image: what it is built from, the name that follows from that, and its bill of materials.

Bill: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json); package URLs: https://github.com/package-url/purl-spec.
"""

import hashlib
import itertools
import json
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

from pipeline import image
from pipeline.errors import ConfigError
from pipeline.image import Digest, Image

REPOSITORIES = {"model": "zeta-base", "airflow": "zeta-airflow", "mlflow": "zeta-mlflow"}
"""Where the image of each folder in images/ lives."""
BILL = "application/vnd.cyclonedx+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
# What Docker calls the formats of the OCI: `docker push` writes these.
_OCI = {
    DOCKER: image.MANIFEST,
    "application/vnd.docker.container.image.v1+json": image.CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{image.LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": image.LAYER,
}
# Of a config (image-spec, config.md): Docker writes more, such as the name of the container that built it.
_KEPT = ("architecture", "os", "variant", "rootfs")
_SETTINGS = ("Cmd", "Entrypoint", "Env", "Labels", "StopSignal", "User", "WorkingDir")
# Any machine can build: what is installed is chosen for Linux.
_TARGET = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}
_LOCKED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==(?P<version>[^\s;]+)(\s*;\s*(?P<marker>[^\\]+?))?"
    r"(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True)
class Package:
    """A line of a lock: the sha256 of each file that may be installed, and where it is."""

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str | None

    @property
    def installed(self) -> bool:
        """Whether the image has it."""
        return self.marker is None or Marker(self.marker).evaluate(_TARGET)


@dataclass(frozen=True)
class Under:
    """The image below all that Zeta installs: its reference, and the digest that it stood for."""

    name: str
    digest: str

    @property
    def labels(self) -> dict[str, str]:
        """What the image says of it (image-spec, annotations.md)."""
        return {
            "org.opencontainers.image.base.name": self.name,
            "org.opencontainers.image.base.digest": self.digest,
        }


def application(kind: str, checkout: Path, models: Path) -> dict[str, Path]:
    """Return what the last layer of an image packs: archive path -> file or folder."""
    if kind == "airflow":
        return {"/app/pipeline": checkout / "pipeline", "/app/dags": checkout / "dags", "/app/models": models}
    return image.application(checkout) if kind == "model" else {}


def context(kind: str, checkout: Path, own: Path | None, programs: Mapping[str, Path]) -> dict[str, Path]:
    """Return what Docker builds an image from, except the packages that the locks name: archive path -> file.

    ``own`` is one model's own lock. ConfigError when a lock is none, or when the two do not fit together.
    """
    shared = checkout / "images" / kind / "requirements.txt"
    locks = {"/locks/run/image.txt": shared} | ({"/locks/run/own.txt": own} if own else {})
    if own:
        _fit(packages(own), packages(shared), own)
    return {
        "/Dockerfile": checkout / "images" / kind / "Dockerfile",
        "/layer.sh": checkout / "images" / "layer.sh",
        "/locks/install.txt": checkout / "images" / "install.txt",
        **locks,
        **{f"/programs/{name}": path for name, path in programs.items()},
    }


def name(*inputs: str) -> str:
    """Return the tag of what is made of these inputs; each is a digest, or a word that is part of none."""
    return hashlib.sha256(" ".join(inputs).encode()).hexdigest()[:32]


def packages(lock: Path) -> list[Package]:
    """Read a lock; ConfigError names a line that pins no version or holds no hash."""
    text = re.sub(r"(?m)^\s*#.*$", "", lock.read_text(encoding="utf-8")).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LOCKED.fullmatch(line)
        if not match:
            expected = "NAME==VERSION --hash=sha256:..., as `uv pip compile --generate-hashes` writes it"
            raise ConfigError(f"{lock}: {line[:100]!r}: expected {expected}")
        hashes = tuple(re.findall("sha256:([0-9a-f]{64})", match["hashes"]))
        found.append(Package(match["name"].lower(), match["version"], hashes, match["marker"]))
    return found


def plain(found: Image) -> Image:
    """Return an image of Docker's format in the OCI's, without when and where it was built; any other as it is."""
    manifest, config = json.loads(found.manifest), json.loads(found.config)
    if manifest.get("mediaType") != DOCKER:
        return found
    for part in (manifest, manifest["config"], *manifest["layers"]):
        part["mediaType"] = _OCI.get(part["mediaType"], part["mediaType"])
    settings = {name: config["config"][name] for name in _SETTINGS if config["config"].get(name)}
    history = [{**entry, "created": image.EPOCH} for entry in config.get("history", [])]
    kept = {name: config[name] for name in _KEPT if name in config}
    return image.written(manifest, {**kept, "created": image.EPOCH, "config": settings, "history": history})


def joined(below: Image, top: Image, env: Mapping[str, str]) -> Image:
    """Return ``below`` and its config, variables laid over it, with the layers of ``top`` that it does not begin with
    upon it."""
    manifest, config, added = json.loads(below.manifest), json.loads(below.config), json.loads(top.config)
    config["config"] = {**config["config"], "Env": image.variables(config["config"], env)}
    both = sum(itertools.takewhile(bool, map(operator.eq, below.layers, top.layers)))
    manifest["layers"] += [layer.json() for layer in top.layers[both:]]
    config["rootfs"]["diff_ids"] += added["rootfs"]["diff_ids"][both:]
    config["history"] += [{"created_by": "zeta base"}] * len(top.layers[both:])
    return image.written(manifest, config)


def _fit(own: Iterable[Package], shared: Iterable[Package], path: Path) -> None:
    versions: dict[str, set[str]] = {}
    for package in shared:
        versions.setdefault(package.name, set()).add(package.version)
    for package in own:
        if package.version not in versions.get(package.name, {package.version}):
            known = ", ".join(sorted(versions[package.name]))
            remedy = "compile it with `-c images/model/requirements.txt`"
            raise ConfigError(f"{path}: {package.name}=={package.version}: all models have {known}; {remedy}")


def bill(title: str, locks: Iterable[Path], under: Under, programs: Mapping[str, Digest]) -> bytes:
    """Return the bill of materials: same inputs, same bytes. A package's hashes are of the files it may come from."""
    installed = {(one.name, one.version): one for lock in locks for one in packages(lock) if one.installed}
    components = [
        {"type": "container", "bom-ref": under.name, "name": under.name, "version": under.digest},
        *(
            {"type": "application", "bom-ref": name, "name": name, "hashes": [_hash(digest.hex)]}
            for name, digest in sorted(programs.items())
        ),
        *(_component(package) for _, package in sorted(installed.items())),
    ]
    subject = {"type": "container", "bom-ref": title, "name": title}
    content = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return image.canonical({**content, "metadata": {"component": subject}})


def _component(package: Package) -> dict[str, object]:
    url = f"pkg:pypi/{package.name}@{package.version}"
    hashes = [_hash(known) for known in package.hashes]
    known = {"name": package.name, "version": package.version, "hashes": hashes}
    return {"type": "library", "bom-ref": url, "purl": url, **known}


def _hash(content: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": content}
