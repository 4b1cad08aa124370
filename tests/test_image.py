import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from pipeline import image
from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.image import Descriptor, Digest, Image
from pipeline.settings import ROOT


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def packed(files: dict[str, Path]) -> bytes:
    return b"".join(image.layer(files))


def entries(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return tar.getmembers()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "sha512:" + "a" * 64,
        "a" * 64,
        f"sha256:{'a' * 64}\n",
    ],
)
def test_a_digest_that_is_none_is_refused_by_its_text(text):
    with pytest.raises(Permanent, match="expected 'sha256:' and 64"):
        Digest(text)


def test_a_digest_names_bytes():
    digest = Digest.of(b"")
    assert digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest.hex == digest.removeprefix("sha256:")


def test_a_layer_does_not_depend_on_times_modes_owner_place_or_order(tmp_path):
    files = {"b/two": b"2", "a": b"1", "b/one": b"1"}
    first = write(tmp_path / "first", files)
    second = write(tmp_path / "second", dict(reversed(files.items())))
    for path in second.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1, 1))
    assert packed({"/x": first, "/a": first / "a"}) == packed({"a": second / "a", "x": second})


def test_a_layer_keeps_the_bytes_it_has_always_had(tmp_path):
    folder = write(tmp_path, {"MLmodel": b"flavors: {}\n", "run.sh": b"#!/bin/sh\n"})
    (folder / "run.sh").chmod(0o755)
    expected = "sha256:41e51510e5bbc8af5790fe9af076db42a790c857b5a8aa874a505a0fd1394162"
    assert Digest.of(packed({"/model": folder})) == expected


@pytest.mark.parametrize("change", [lambda path: path.chmod(0o755), lambda path: path.write_bytes(b"other")])
def test_a_layer_changes_with_content_and_executability(tmp_path, change):
    folder = write(tmp_path, {"run.sh": b"#!/bin/sh\n"})
    before = packed({"/model": folder})
    change(folder / "run.sh")
    assert packed({"/model": folder}) != before


def test_tar_reads_a_layer_with_its_directories_and_fixed_metadata(tmp_path):
    long = "深い/" * 60 + "名前.txt"
    folder = write(tmp_path, {"run.sh": b"#!/bin/sh\n", long: b"text"})
    (folder / "run.sh").chmod(0o700)
    members = entries(packed({"/app/models/category": folder}))
    names = [member.name for member in members]
    assert names == sorted(names)
    assert names[:3] == ["app", "app/models", "app/models/category"]
    assert f"app/models/category/{long}" in names
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    modes = {m.name.rpartition("/")[2]: (m.isdir(), m.mode) for m in members}
    assert modes["run.sh"] == (False, 0o755)
    assert modes["名前.txt"] == (False, 0o644)
    assert modes["category"] == (True, 0o755)


def test_caches_hidden_files_and_empty_folders_stay_outside(tmp_path):
    files = {
        "a.py": b"",
        "__pycache__/a.pyc": b"",
        ".env": b"secret",
        ".git/config": b"",
        "sub/__pycache__/b.pyc": b"",
    }
    folder = write(tmp_path, files)
    assert [member.name for member in entries(packed({"app": folder}))] == ["app", "app/a.py"]


def link(folder: Path) -> dict[str, Path]:
    (folder / "link").symlink_to("model.skops")
    return {"/model": folder}


def linked_folder(folder: Path) -> dict[str, Path]:
    (folder / "link").symlink_to(folder.parent, target_is_directory=True)
    return {"/model": folder}


def pipe(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe")
    return {"/model": folder}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (link, "model/link: is a symbolic link"),
        (linked_folder, "model/link: is a symbolic link"),
        (pipe, "model/pipe: is neither a file nor a folder"),
        (lambda folder: {"/model": folder / "gone"}, "gone: holds no file"),
        (lambda folder: {"/model": folder, "/app": write(folder / "e", {".env": b""})}, "e: holds no file"),
        (lambda folder: {"/model/../etc": folder}, "'/model/../etc'"),
        (lambda folder: {"/": folder}, "'/'"),
        (
            lambda folder: {"/model": folder, "/model/model.skops": folder / "model.skops"},
            "'model/model.skops' .*twice",
        ),
        (
            lambda folder: {"/model": folder, "/model/model.skops/x": folder / "model.skops"},
            "'model/model.skops' .*twice",
        ),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name(tmp_path, build, message):
    folder = write(tmp_path / "model", {"model.skops": b"skops"})
    with pytest.raises(ConfigError, match=message):
        packed(build(folder))


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_a_file_that_changes_while_it_is_packed_is_no_layer(tmp_path, size):
    folder = write(tmp_path, {"model.skops": b"x" * 2_000_000})
    chunks = image.layer({"/model": folder})
    for chunk in chunks:
        if chunk.startswith(b"x"):
            break
    os.truncate(folder / "model.skops", size)
    with pytest.raises(Temporary, match=r"model\.skops: changed while"):
        list(chunks)


def test_the_application_is_the_package_and_its_lock():
    names = {member.name for member in entries(packed(image.application(ROOT)))}
    assert {
        "app/requirements.txt",
        "app/pipeline/errors.py",
        "app/pipeline/components/japanese_probes.txt",
    } <= names
    assert not [name for name in names if {"__pycache__", "tests"} & set(name.split("/")) or "/test_" in name]


def test_an_image_runs_the_server_on_the_model():
    empty = image.empty("x86_64")
    config = json.loads(empty.config)
    assert (config["architecture"], config["os"], config["created"]) == (
        "amd64",
        "linux",
        "1970-01-01T00:00:00Z",
    )
    assert config["config"] == {
        "Env": ["PYTHONPATH=/app"],
        "WorkingDir": "/app",
        "Entrypoint": ["python3", "-m", "pipeline.serving.server", "--model", "/model"],
    }
    assert json.loads(image.empty("aarch64").config)["architecture"] == "arm64"


def test_appending_names_the_layer_twice_and_changes_nothing_else():
    layer = Descriptor(image.LAYER, Digest.of(b"layer"), 5)
    base = image.append(image.empty("x86_64"), layer, {"zeta.model": "category", "zeta.version": "3"})
    model = Descriptor(image.LAYER, Digest.of(b"model"), 6)
    appended = image.append(base, model, {"zeta.version": "4"})
    assert base.layers == (layer,)
    assert appended.layers == (layer, model)
    assert json.loads(appended.config)["rootfs"]["diff_ids"] == [layer.digest, model.digest]
    assert len(json.loads(appended.config)["history"]) == 2
    assert appended.labels == {"zeta.model": "category", "zeta.version": "4"}
    assert json.loads(appended.manifest)["config"]["digest"] == Digest.of(appended.config)
    assert appended == image.append(base, model, {"zeta.version": "4"})


def test_appending_keeps_what_another_tool_wrote_into_the_base():
    compressed = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": Digest.of(b"gzip"),
        "size": 4,
    }
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-11-01T00:00:00Z",
        "config": {"Labels": None, "Env": ["PATH=/bin"], "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(b"tar")]},
        "history": [{"created_by": "COPY"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": image.MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": "sha256:" + "0" * 64,
            "size": 1,
        },
        "layers": [compressed],
        "annotations": {"kept": "yes"},
    }
    base = Image(json.dumps(manifest).encode(), json.dumps(config).encode())
    appended = image.append(base, Descriptor(image.LAYER, Digest.of(b"model"), 5), {"zeta.model": "category"})
    after = json.loads(appended.config)
    assert after["config"] == {**config["config"], "Labels": {"zeta.model": "category"}}
    assert after["rootfs"]["diff_ids"] == [Digest.of(b"tar"), Digest.of(b"model")]
    assert json.loads(appended.manifest)["layers"][0] == compressed
    assert json.loads(appended.manifest)["annotations"] == {"kept": "yes"}


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"layers": [{"digest": "x"}]}', b"\xff\xfe"])
def test_a_manifest_that_is_none_is_refused(manifest):
    with pytest.raises(Permanent, match="not an image manifest"):
        _ = Image(manifest, b"{}").layers
