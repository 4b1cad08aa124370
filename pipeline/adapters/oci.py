"""Images in an OCI image layout: a directory any container tool reads (image-spec v1.1, image-layout.md).

One process writes at a time. What is written appears in its place whole, by a rename, and the index names
an image only when all of it is there: a kill at any moment leaves a valid layout, which a rerun completes.
Nothing waits for the disk: after a power failure the digests tell what was lost, and building again mends it.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline import image
from pipeline.errors import Permanent
from pipeline.image import Descriptor, Digest, Image

_NAME = "org.opencontainers.image.ref.name"


class Layout:
    """An image layout at ``path``; it need not exist before the first write.

    What cannot be read or written, and a blob that is missing or damaged, is Permanent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def build_base(self, app_files: Mapping[str, Path]) -> Digest:
        """Store the image of the application alone; unchanged files (``image.application``) write nothing."""
        with _alone(self.path) as partial:
            data = b"".join(image.layer(app_files))
            layer = Descriptor(image.LAYER, Digest.of(data), len(data))
            _write(self._blob(layer.digest), data, partial)
            base = image.append(image.empty(platform.machine()), layer, {})
            return self._commit(base, f"base:{base.digest.hex[:12]}", partial)

    def append_model(
        self, base: Digest, files: Mapping[str, Path], labels: Mapping[str, str], reference: str
    ) -> Digest:
        """Store the base with one more layer of ``files`` (as ``image.layer`` packs them) and name it.

        A reference ``<name>:<version>`` that names another image moves to this one.
        """
        image.split(reference)
        with _alone(self.path) as partial:
            below = self._image(base)
            layer = self._stream(image.layer(files), partial)
            return self._commit(image.append(below, layer, labels), reference, partial)

    def labels(self, digest: Digest) -> dict[str, str]:
        """Return the labels of an image."""
        return self._image(digest).labels

    def find(self, reference: str) -> Digest | None:
        """Return the digest of the image that a reference names, if there is one."""
        return next((Digest(entry["digest"]) for entry in self._index() if _name(entry) == reference), None)

    def unpack(self, digest: Digest, target: Path) -> Path:
        """Return the folder in ``target`` with the image's root file system; made whole or not at all."""
        return unpacked(target / digest.hex, lambda root: self._fill(root, self._image(digest).layers))

    def _blob(self, digest: Digest) -> Path:
        return self.path / "blobs" / "sha256" / digest.hex

    def _image(self, digest: Digest) -> Image:
        manifest = self._read(digest)
        return Image(manifest, self._read(image.parts(manifest)[0].digest))

    def _read(self, digest: Digest) -> bytes:
        path = self._blob(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _damaged(path) from error
        if Digest.of(data) != digest:
            raise _damaged(path)
        return data

    def _index(self) -> list[dict[str, Any]]:
        path = self.path / "index.json"
        try:
            return json.loads(path.read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Permanent(f"{path}: not an image index ({error}); remove its folder, build again") from error

    def _stream(self, chunks: Iterable[bytes], partial: Path) -> Descriptor:
        seen, size = hashlib.sha256(), 0
        with partial.open("wb") as file:
            for chunk in chunks:
                seen.update(chunk)
                size += file.write(chunk)
        layer = Descriptor(image.LAYER, Digest(f"sha256:{seen.hexdigest()}"), size)
        partial.replace(self._blob(layer.digest))
        return layer

    def _commit(self, made: Image, reference: str, partial: Path) -> Digest:
        for data in (made.config, made.manifest):
            _write(self._blob(Digest.of(data)), data, partial)
        descriptor = Descriptor(image.MANIFEST, made.digest, len(made.manifest))
        entries = [entry for entry in self._index() if _name(entry) != reference]
        entries.append({**descriptor.json(), "annotations": {_NAME: reference}})
        entries.sort(key=lambda entry: (_name(entry) or "", entry["digest"]))
        index = {"schemaVersion": 2, "manifests": entries}
        _write(self.path / "index.json", image.canonical(index), partial)
        _write(self.path / "oci-layout", image.canonical({"imageLayoutVersion": "1.0.0"}), partial)
        return made.digest

    def _fill(self, root: Path, layers: Iterable[Descriptor]) -> None:
        for layer in layers:
            path = self._blob(layer.digest)
            try:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != layer.digest.hex:
                        raise _damaged(path)
                extract(path, layer, root)
            except (FileNotFoundError, tarfile.TarError) as error:
                raise _damaged(path) from error


def unpacked(root: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder ``root``, which ``fill`` makes when it is not there; made whole or not at all."""
    with _alone(root.parent) as partial:
        if not root.is_dir():
            partial.mkdir()
            fill(partial)
            partial.chmod(0o755)
            partial.rename(root)
    return root


def extract(path: Path, layer: Descriptor, root: Path) -> None:
    """Lay the files of a layer, which is the file ``path``, out below ``root``; TarError when it is no archive."""
    if layer.media_type != image.LAYER:
        raise Permanent(f"{path}: is a {layer.media_type}; expected a {image.LAYER}, as Zeta builds it")
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            _place(tar, member, root)


def _name(entry: Mapping[str, Any]) -> str | None:
    return entry.get("annotations", {}).get(_NAME)


def _damaged(blob: Path) -> Permanent:
    return Permanent(f"blob {blob}: missing or damaged; expected bytes of that digest; build the image again")


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise Permanent(f"{tar.name!r}: entry {member.name!r}: expected a file or a folder inside the image")
    path = root / name
    content = tar.extractfile(member)
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 18)
    path.chmod(member.mode & 0o777)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Hold a folder against other processes; give the one unfinished thing in it, gone at both ends."""
    partial = folder / ".partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
            held.callback(_remove, partial)
            _remove(partial)
            yield partial
    except OSError as error:
        raise Permanent(f"{folder}: could not be filled: {error}; mend that and run the step again") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _write(path: Path, data: bytes, partial: Path) -> None:
    """Put bytes into their place unless they are there already."""
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
