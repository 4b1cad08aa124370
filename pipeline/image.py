"""A model image: the bytes of a layer, and the config and manifest that name it; same inputs, same bytes.

Nothing here writes: the same bytes go into an OCI layout or a registry.
Formats: https://github.com/opencontainers/image-spec (v1.1), pax archives by POSIX.1-2001.
"""

import hashlib
import itertools
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import ConfigError, Permanent, Temporary

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
# Not compressed: a model hardly shrinks, and so a layer's digest is its diff_id too.
LAYER = "application/vnd.oci.image.layer.v1.tar"
_REFERENCE = re.compile(r"([a-z0-9]+(?:(?:[-._]|--)[a-z0-9]+)*):([A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*)")
_AUTHOR = "zeta"
EPOCH = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK = 1 << 18


class Digest(str):
    """The name of some bytes: ``sha256:`` and 64 hex digits; Permanent for any other text."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Digest":
        """Check a text."""
        if not re.fullmatch("sha256:[0-9a-f]{64}", text):
            raise Permanent(f"digest {text!r}: expected 'sha256:' and 64 hex digits; copy it whole")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        """Return the digest of bytes."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @property
    def hex(self) -> str:
        """The 64 hex digits: fit for a file name."""
        return self.removeprefix("sha256:")


@dataclass(frozen=True)
class Descriptor:
    """What a manifest or an index says of a blob; size in bytes."""

    media_type: str
    digest: Digest
    size: int

    def json(self) -> dict[str, str | int]:
        """Return it as the specification writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Image:
    """An image's manifest and config, byte for byte as they are stored."""

    manifest: bytes
    config: bytes

    @property
    def digest(self) -> Digest:
        """The name of the image."""
        return Digest.of(self.manifest)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers, lowest first; Permanent when the manifest is none."""
        return parts(self.manifest)[1:]

    @property
    def appended(self) -> tuple[Descriptor, ...]:
        """The layers that ``append`` put on top, lowest first: the history says whose a layer is."""
        history = reversed(json.loads(self.config).get("history") or [])
        own = itertools.takewhile(lambda entry: entry.get("created_by") == _AUTHOR, history)
        return self.layers[len(self.layers) - sum(1 for _ in own) :]

    @property
    def labels(self) -> dict[str, str]:
        """The labels; docker writes null for none."""
        return (json.loads(self.config).get("config") or {}).get("Labels") or {}


def parts(manifest: bytes) -> tuple[Descriptor, ...]:
    """Return what a manifest names: its config, then its layers, lowest first; Permanent when it is none."""
    try:
        content = json.loads(manifest)
        entries = [content["config"], *content["layers"]]
        return tuple(Descriptor(part["mediaType"], Digest(part["digest"]), part["size"]) for part in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise Permanent(f"{Digest.of(manifest)}: not an image manifest; name an image's digest") from error


def split(reference: str) -> tuple[str, str]:
    """Return name and version of a reference that registries and layouts can keep; ConfigError when it is none."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ConfigError(f"image reference {reference!r}: expected <name>:<version> as in 'category:4'")
    return match[1], match[2]


def canonical(value: Any) -> bytes:
    """Return the one way to write a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def empty(machine: str) -> Image:
    """Return an image of no layers that runs the model server; ``machine`` as platform.machine() says it."""
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Env": ["PYTHONPATH=/app"],
            "WorkingDir": "/app",
            "Entrypoint": ["python3", "-m", "pipeline.serving.server", "--model", "/model"],
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG}, "layers": []}
    return written(manifest, config)


def append(base: Image, layer: Descriptor, labels: Mapping[str, str], env: Mapping[str, str] | None = None) -> Image:
    """Return the base with one more uncompressed layer, its labels and variables overlaid; all else in it is kept."""
    manifest, config = json.loads(base.manifest), json.loads(base.config)
    manifest["layers"].append(layer.json())
    settings = config.get("config") or {}
    config["config"] = settings | {"Env": variables(settings, env or {}), "Labels": base.labels | dict(labels)}
    config["rootfs"]["diff_ids"].append(layer.digest)
    config.setdefault("history", []).append({"created": EPOCH, "created_by": _AUTHOR})
    return written(manifest, config)


def variables(settings: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """Return the variables of an image's settings with others laid over them, as a config writes them."""
    known = dict(pair.split("=", 1) for pair in settings.get("Env") or [])
    return [f"{name}={value}" for name, value in (known | dict(env)).items()]


def written(manifest: dict[str, Any], config: dict[str, Any]) -> Image:
    """Return the image of a manifest, which is given the config's name, and a config."""
    data = canonical(config)
    manifest["config"] |= {"digest": Digest.of(data), "size": len(data)}
    return Image(canonical(manifest), data)


def application(checkout: Path) -> dict[str, Path]:
    """Return what the base layer packs from a checkout: the code, the chart of a release, the lock of the jobs."""
    return {
        "/app/pipeline": checkout / "pipeline",
        "/app/helm/model": checkout / "helm/model",
        "/app/requirements.txt": checkout / "images/model/requirements.txt",
    }


def measured(chunks: Iterable[bytes]) -> Descriptor:
    """Return the descriptor of the layer that these bytes are."""
    seen, size = hashlib.sha256(), 0
    for chunk in chunks:
        seen.update(chunk)
        size += len(chunk)
    return Descriptor(LAYER, Digest(f"sha256:{seen.hexdigest()}"), size)


def layer(files: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield the bytes of the layer that holds ``files``: archive path -> file, or folder and all below it.

    A folder's ``__pycache__`` and hidden files stay outside. Only names, content and the owner's right to
    execute count. ConfigError for what cannot be packed, Temporary when a file changes while it is read.
    """
    packed = [found for target, source in files.items() for found in _collect(target, source)]
    folders = {str(parent) for name, _ in packed for parent in PurePosixPath(name).parents} - {"."}
    entries = sorted([*packed, *((name, None) for name in folders)], key=lambda entry: entry[0])
    for (name, _), (following, _) in itertools.pairwise(entries):
        if name == following:
            raise ConfigError(f"{name!r} would be in the layer twice; expected each path from one source")
    for name, source in entries:
        if source is None:
            yield _header(name, tarfile.DIRTYPE, 0o755, 0)
        else:
            yield from _file(name, source)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _collect(target: str, source: Path) -> list[tuple[str, Path]]:
    name = target.strip("/")
    if {"", ".", ".."} & set(name.split("/")):
        raise ConfigError(f"{target!r}: expected a plain path inside the image such as '/model'")
    found = list(_walk(name, source))
    if not found:
        raise ConfigError(f"{source}: holds no file; expected what the image is to hold as {target!r}")
    return found


def _walk(name: str, source: Path) -> Iterator[tuple[str, Path]]:
    if source.is_symlink():
        raise ConfigError(f"{source}: is a symbolic link; expected a file, so put the file itself there")
    if source.is_dir():
        for child in source.iterdir():
            if not child.name.startswith(".") and child.name != "__pycache__":
                yield from _walk(f"{name}/{child.name}", child)
    elif source.is_file():
        yield name, source
    elif source.exists():
        raise ConfigError(f"{source}: is neither a file nor a folder; remove it from what is packed")


def _file(name: str, source: Path) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        mode, left = 0o755 if status.st_mode & stat.S_IXUSR else 0o644, status.st_size
        yield _header(name, tarfile.REGTYPE, mode, left)
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            yield chunk
    if left:
        raise Temporary(f"{source}: changed while it was packed; run the step again when it is still")
    yield bytes(-status.st_size % tarfile.BLOCKSIZE)


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    info = tarfile.TarInfo(name)  # whose time, owner and group are 0
    info.type, info.mode, info.size = kind, mode, size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
