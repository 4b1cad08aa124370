"""Images in a registry: a model is one layer on a base that stays where it is; no daemon takes part.

A tag is written last, by one request: a push that is cut short leaves none, and a rerun sends what is missing.
Format: https://github.com/opencontainers/distribution-spec (v1.1).
"""

import functools
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urljoin

from pipeline import base, image
from pipeline.adapters.oci import extract, unpacked
from pipeline.adapters.transport import Content, Transport
from pipeline.errors import ConfigError, Permanent
from pipeline.image import Descriptor, Digest, Image

BASE = "zeta-base"
"""The repository of the bases of all models."""
_INDEX = "application/vnd.oci.image.index.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_AT_ONCE = 4
_PAUSES = (0.05, 0.2, 0.8)
_ACCEPT = {"Accept": ", ".join((image.MANIFEST, base.DOCKER, _INDEX))}

Build = Callable[["Remote", Mapping[str, Path]], Digest]
"""Finds or builds the base that carries these files (``image.application``)."""


class Remote:
    """The images of the model ``name`` in the registry at ``address``; ``build`` makes the base they lie on.

    ``base`` is the tag of the base that this process itself runs in, if it does: that one serves then.
    A reference ``<name>:<version>`` is a repository below the address and a tag. Raises as ``Transport`` does.
    """

    def __init__(self, address: str, name: str, build: Build, base: str | None = None) -> None:
        self.name = name
        self._registry = Transport(address)
        self._build = build
        self._base = base

    @property
    def repository(self) -> str:
        """Where this model's images are, as a container runtime names it: a digest is added with '@'."""
        return self.located(self.name)

    def located(self, name: str) -> str:
        """Return a repository of this registry as a container runtime names it."""
        return f"{self._registry.host}/{self._registry.prefix}{name}"

    def build_base(self, app_files: Mapping[str, Path]) -> Digest:
        """Return the base of models that carries these files, built when there is none."""
        if self._base is None:
            return self._build(self, app_files)
        found = self.find(f"{BASE}:{self._base}")
        if found is None:
            expected = "the base that this process runs in; push it again: zeta base"
            raise ConfigError(f"ZETA_BASE={self._base!r}: {self.located(BASE)} has no such tag; expected {expected}")
        return found

    def append_model(
        self, base: Digest, files: Mapping[str, Path], labels: Mapping[str, str], reference: str
    ) -> Digest:
        """Push a base of models with one more layer of ``files`` (as ``image.layer`` packs them) and tag it.

        Of the base nothing is read but its manifest and config; a tag that names another image moves to this one.
        """
        return self.append((BASE, base), files, labels, reference)

    def append(
        self,
        below: tuple[str, Digest],
        files: Mapping[str, Path],
        labels: Mapping[str, str],
        reference: str,
        env: Mapping[str, str] | None = None,
    ) -> Digest:
        """Do the same on any image of this registry, named by repository and digest, and with variables."""
        # A registry may be far: what does not depend on each other goes at once.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            measured = pool.submit(_measured, files)
            found = base.plain(self._image(*below))
            layer = measured.result()
        new = [(Content(layer, functools.partial(image.layer, files)), "")]
        return self._publish(image.append(found, layer, labels, env), self._there(below[0], found) + new, reference)

    def join(
        self, below: tuple[str, Digest], top: tuple[str, Digest], env: Mapping[str, str], reference: str
    ) -> Digest:
        """Push ``below`` with the layers of ``top`` upon it (``base.joined``) and tag it; no layer moves."""
        lower, upper = self._image(*below), self._image(*top)
        there = self._there(below[0], lower) + self._there(top[0], upper)
        return self._publish(base.joined(lower, upper, env), there, reference)

    def attach(self, subject: tuple[str, Digest], media_type: str, data: bytes) -> Digest:
        """Let a document refer to an image: a referrer, found by other tools; once however often it is attached."""
        name, digest = subject
        manifest = self._manifest(name, digest)
        described = Descriptor(json.loads(manifest).get("mediaType", image.MANIFEST), digest, len(manifest))
        parts = [_content(_EMPTY, b"{}"), _content(media_type, data)]
        for part in parts:
            self._put(name, part)
        content = {
            "schemaVersion": 2,
            "mediaType": image.MANIFEST,
            "artifactType": media_type,
            "config": parts[0].described.json(),
            "layers": [parts[1].described.json()],
            "subject": described.json(),
        }
        referrer = image.canonical(content)
        entry = {**Descriptor(image.MANIFEST, Digest.of(referrer), len(referrer)).json(), "artifactType": media_type}
        answer = self._put_manifest(name, Digest.of(referrer), image.MANIFEST, referrer)
        if "OCI-Subject" not in answer:
            self._refer(name, digest, entry)
        return Digest.of(referrer)

    def labels(self, digest: Digest) -> dict[str, str]:
        """Return the labels of an image."""
        return self._image(self.name, digest).labels

    def find(self, reference: str) -> Digest | None:
        """Return the digest of the image that a reference names, if there is one."""
        manifest = self._tagged(*image.split(reference))
        return None if manifest is None else Digest.of(manifest)

    def unpack(self, digest: Digest, target: Path) -> Path:
        """Return the folder in ``target`` with what Zeta put into the image; made whole or not at all.

        These layers alone are fetched: the application and the model.
        """
        return unpacked(target / digest.hex, lambda root: self._fill(root, self._image(self.name, digest).appended))

    def _fill(self, root: Path, layers: Iterable[Descriptor]) -> None:
        for layer in layers:
            with NamedTemporaryFile() as file:
                for chunk in self._registry.download(self.name, layer):
                    file.write(chunk)
                file.flush()
                try:
                    extract(Path(file.name), layer, root)
                except tarfile.TarError as error:
                    raise Permanent(f"{self.repository}: layer {layer.digest} is no archive: {error}") from error

    def _image(self, name: str, digest: Digest) -> Image:
        manifest = self._manifest(name, digest)
        return Image(manifest, b"".join(self._registry.download(name, image.parts(manifest)[0])))

    def _manifest(self, name: str, digest: Digest) -> bytes:
        manifest = self._tagged(name, digest)
        if manifest is None:
            raise Permanent(f"{self.located(name)}@{digest}: not in the registry; build the image again")
        if Digest.of(manifest) != digest:
            raise Permanent(f"{self.located(name)}@{digest}: the registry gives another; remove it and build it again")
        return manifest

    def _tagged(self, name: str, tag: str) -> bytes | None:
        answer = self._registry.request("GET", f"{name}/manifests/{tag}", {200, 404}, _ACCEPT)
        return answer.content if answer.status_code == 200 else None

    def _there(self, source: str, found: Image) -> list[tuple[Content, str]]:
        """Return the layers of an image, each with the repository that has it."""
        return [
            (Content(part, functools.partial(self._registry.download, source, part)), source) for part in found.layers
        ]

    def _publish(self, made: Image, layers: list[tuple[Content, str]], reference: str) -> Digest:
        name, tag = image.split(reference)
        if self.find(reference) != made.digest:
            parts = [*layers, (_content(image.CONFIG, made.config), "")]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda part: self._put(name, *part), parts))
            self._put_manifest(name, tag, image.MANIFEST, made.manifest)
        return made.digest

    def _put(self, name: str, content: Content, source: str = "") -> None:
        """Have a blob in a repository: as it is there, as it is in ``source``, or sent in one request."""
        blob = content.described
        if self._registry.request("HEAD", f"{name}/blobs/{blob.digest}", {200, 404}).status_code == 200:
            return
        mount = {"mount": blob.digest, "from": f"{self._registry.prefix}{source}"} if source else None
        answer = self._registry.request("POST", f"{name}/blobs/uploads/", {201, 202}, params=mount)
        if answer.status_code == 202:
            place = urljoin(answer.url, answer.headers["Location"])
            kind = {"Content-Type": "application/octet-stream"}
            self._registry.request("PUT", place, {201}, kind, content, {"digest": blob.digest})

    def _put_manifest(self, name: str, tag: str, media_type: str, data: bytes) -> Mapping[str, str]:
        ask = functools.partial(
            self._registry.request, "PUT", f"{name}/manifests/{tag}", headers={"Content-Type": media_type}, body=data
        )
        # A registry that keeps files knows no blob while another process pushes the same one.
        for pause in _PAUSES:
            answer = ask(expected={201, 400, 404})
            if answer.status_code == 201:
                return answer.headers
            time.sleep(pause)
        return ask(expected={201}).headers

    def _refer(self, name: str, subject: Digest, entry: Mapping[str, str | int]) -> None:
        """Name a referrer where a registry without their API has them: in an index tagged like the subject's digest."""
        tag = f"sha256-{subject.hex}"
        known = json.loads(self._tagged(name, tag) or b"{}").get("manifests", [])
        if entry not in known:
            index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [*known, entry]}
            self._put_manifest(name, tag, _INDEX, image.canonical(index))


def _content(media_type: str, data: bytes) -> Content:
    return Content(Descriptor(media_type, Digest.of(data), len(data)), lambda: [data])


def _measured(files: Mapping[str, Path]) -> Descriptor:
    try:
        return image.measured(image.layer(files))
    except OSError as error:
        raise Permanent(f"{error}; mend that and run the step again") from error
