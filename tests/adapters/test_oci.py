import functools
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import image
from pipeline.adapters.oci import Layout
from pipeline.errors import ConfigError, Permanent
from pipeline.image import Descriptor, Digest
from pipeline.settings import ROOT

LABELS = {"zeta.model": "category", "zeta.version": "4", "org.opencontainers.image.revision": "0" * 40}
MODEL = {
    "MLmodel": b"flavors: {}\n",
    "model.skops": bytes(range(256)) * 3_000,
    "zeta.json": b"{}",
    "keys.npy": b"keys",
}
OWN = {
    "model.yaml": b"name: category\n",
    "model.py": b"",
    "sql/listings.sql": b"select 1",
    "run.sh": b"#!/bin/sh\n",
}
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (Debian: skopeo)")


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
    return written(tmp_path / "inputs")


def written(folder: Path) -> dict[str, Path]:
    """The sources of a model layer."""
    for name, files in {"model": MODEL, "own": OWN}.items():
        for file, data in files.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (folder / "own/run.sh").chmod(0o755)
    return {"/model": folder / "model", "/app/models/category": folder / "own"}


def application(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "errors.py").write_bytes(b"class ZetaError(Exception): ...\n")
    return {"/app/pipeline": folder}


def built(layout: Layout, inputs: dict[str, Path], reference: str = "category:4", labels=LABELS) -> Digest:
    base = layout.build_base(application(layout.path.parent / "application"))
    return layout.append_model(base, inputs, labels, reference)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: its permissions and bytes; directories count with no bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob("*")
    }


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in [folder, *folder.rglob("*")]}


def blob(layout: Layout, digest: str) -> Path:
    return layout.path / "blobs/sha256" / Digest(digest).hex


def assert_whole(layout: Layout) -> None:
    """The specification's own demands on a layout, if there is one yet."""
    if not (layout.path / "oci-layout").exists():
        return
    assert json.loads((layout.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    named = json.loads((layout.path / "index.json").read_bytes())["manifests"]
    wanted = list(named)
    for entry in named:
        manifest = json.loads(blob(layout, entry["digest"]).read_bytes())
        wanted += [manifest["config"], *manifest["layers"]]
    for entry in wanted:
        data = blob(layout, entry["digest"]).read_bytes()
        assert (Digest.of(data), len(data)) == (entry["digest"], entry["size"])


def in_child(action: Callable[[], object]) -> int:
    """Run an action in a forked process; return how it ended, as Popen.returncode says it."""
    process = multiprocessing.get_context("fork").Process(target=action)
    process.start()
    process.join(60)
    return process.exitcode


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run an action in a process that kills itself before its step-th call that touches the disk."""
    calls = {"open", "write", "flock", "close", "mkdir", "chmod", "replace", "rename", "unlink", "rmdir"}

    def run() -> None:
        seen = 0

        def watch(frame: object, event: str, called: object) -> None:
            nonlocal seen
            if event == "c_call" and called.__name__ in calls and not isinstance(called.__self__, str):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(watch)
        action()
        sys.setprofile(None)

    code = in_child(run)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def kill_points(action: Callable[[], object]) -> Iterator[int]:
    """Kill the action before its first call, anew before its second ...; stop when it comes to its end."""
    for step in range(1, 200):
        if not killed_at(step, action):
            assert step > 10
            return
        yield step
    pytest.fail("the action does not end")


# ---- same inputs, same digest


def test_the_same_inputs_give_the_same_digest_wherever_and_whenever(tmp_path, inputs):
    first = Layout(tmp_path / "a/layout")
    expected = built(first, inputs)
    elsewhere = written(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.name == "run.sh" else 0o600)
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second = Layout(tmp_path / "b/layout")
        assert built(second, elsewhere) == expected
    finally:
        os.umask(before)
    shuffled = dict(reversed(elsewhere.items())), dict(reversed(LABELS.items()))
    assert built(first, shuffled[0], labels=shuffled[1]) == expected
    files = [{k: v[1] for k, v in contents(layout.path).items()} for layout in (first, second)]
    assert files[0] == files[1]


def test_a_base_of_unchanged_inputs_writes_nothing(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = layout.build_base(application(tmp_path / "application"))
    layout.append_model(digest, inputs, LABELS, "category:4")
    before = stamps(layout.path)
    os.utime(tmp_path / "application/errors.py", (1, 1))
    assert Layout(tmp_path / "layout").build_base(application(tmp_path / "application")) == digest
    assert stamps(layout.path) == before
    (tmp_path / "application/new.py").write_text("new = 1\n")
    assert layout.build_base(application(tmp_path / "application")) != digest


def test_a_change_of_the_model_or_a_label_is_another_image(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    base = layout.build_base(application(tmp_path / "application"))
    first = layout.append_model(base, inputs, LABELS, "category:4")
    relabelled = layout.append_model(base, inputs, LABELS | {"zeta.version": "5"}, "category:5")
    (inputs["/model"] / "zeta.json").write_bytes(b"[]")
    changed = layout.append_model(base, inputs, LABELS, "category:6")
    assert len({first, relabelled, changed}) == 3


# ---- reading


def test_an_image_is_found_by_its_reference_and_tells_its_labels(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    assert layout.find("category:4") is None
    digest = built(layout, inputs)
    other = built(layout, {"/model": inputs["/model"]}, "price:1")
    assert (layout.find("category:4"), layout.find("price:1"), layout.find("price:2")) == (
        digest,
        other,
        None,
    )
    assert layout.labels(digest) == LABELS
    assert_whole(layout)


def test_a_reference_moves_to_the_last_image_given_that_name(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    built(layout, inputs)
    digest = built(layout, {"/model": inputs["/model"]})
    assert layout.find("category:4") == digest
    assert (layout.path / "index.json").read_text().count("category:4") == 1


@pytest.mark.parametrize("reference", ["category", "category:", "a---b:1", "category:4 ", "../x:1"])
def test_a_reference_other_tools_could_not_read_is_refused(tmp_path, inputs, reference):
    with pytest.raises(ConfigError, match="expected <name>:<version>"):
        built(Layout(tmp_path / "layout"), inputs, reference)


def test_a_base_that_is_not_there_is_named(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    with pytest.raises(Permanent, match="0" * 64):
        layout.append_model(Digest("sha256:" + "0" * 64), inputs, LABELS, "category:4")
    assert layout.find("category:4") is None


def test_a_layout_that_cannot_be_written_is_named(tmp_path, inputs):
    (tmp_path / "layout").write_text("a file in its place")
    with pytest.raises(Permanent, match="layout"):
        built(Layout(tmp_path / "layout"), inputs)


def test_a_big_model_does_not_sit_in_memory(tmp_path):
    big = tmp_path / "model.skops"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    layout = Layout(tmp_path / "layout")
    base = layout.build_base(application(tmp_path / "application"))
    tracemalloc.start()
    try:
        digest = layout.append_model(base, {"/model/model.skops": big}, LABELS, "big:1")
        layout.unpack(digest, tmp_path / "unpacked")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


# ---- other tools


@needs_skopeo
def test_skopeo_reads_the_image_and_copies_it_unchanged(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = built(layout, inputs)
    source, copy = f"oci:{layout.path}:category:4", f"oci:{tmp_path}/copy:category:4"
    seen = json.loads(subprocess.run(["skopeo", "inspect", source], check=True, capture_output=True).stdout)
    assert seen["Digest"] == digest
    assert seen["Labels"] == LABELS
    assert len(seen["Layers"]) == 2
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--preserve-digests", source, copy], check=True)
    copied = Layout(tmp_path / "copy")
    assert copied.find("category:4") == digest
    unpacked = [contents(each.unpack(digest, tmp_path / f"unpacked{i}")) for i, each in enumerate((layout, copied))]
    assert unpacked[0] == unpacked[1]
    assert built(copied, inputs, "category:5") == digest
    subprocess.run(["skopeo", "inspect", f"oci:{copied.path}:category:5"], check=True, capture_output=True)


# ---- crashes and company


def test_a_kill_at_any_act_leaves_a_valid_layout_and_a_rerun_completes_it(tmp_path, inputs):
    undisturbed = Layout(tmp_path / "undisturbed/layout")
    expected = built(undisturbed, inputs)
    layout = Layout(tmp_path / "layout")
    for step in kill_points(lambda: built(layout, inputs)):
        assert_whole(layout)
        assert layout.find("category:4") in (None, expected)
        assert built(layout, inputs) == expected, step
        assert contents(layout.path) == contents(undisturbed.path), step
        shutil.rmtree(layout.path)


def test_processes_that_write_at_once_all_succeed(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    base = layout.build_base(application(tmp_path / "application"))
    jobs = []
    for version in range(8):
        labels = LABELS | {"zeta.version": str(version % 5)}
        target = functools.partial(layout.append_model, base, inputs, labels, f"category:{version}")
        jobs.append(multiprocessing.get_context("fork").Process(target=target))
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 8
    found = [layout.find(f"category:{version}") for version in range(8)]
    assert None not in found
    assert len(set(found)) == 5
    assert_whole(layout)
    assert not [path for path in (layout.path / "blobs/sha256").iterdir() if len(path.name) != 64]


def test_processes_that_unpack_at_once_share_one_tree(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = built(layout, inputs)
    target = tmp_path / "unpacked"
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=layout.unpack, args=(digest, target)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4
    assert [path.name for path in target.iterdir()] == [digest.hex]


def test_a_kill_at_any_act_of_unpacking_leaves_no_half_tree(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = built(layout, inputs)
    whole = contents(layout.unpack(digest, tmp_path / "undisturbed"))
    target = tmp_path / "unpacked"
    for step in kill_points(lambda: layout.unpack(digest, target)):
        if (target / digest.hex).exists():
            assert contents(target / digest.hex) == whole, step
        assert contents(layout.unpack(digest, target)) == whole, step
        assert [path.name for path in target.iterdir()] == [digest.hex], step
        shutil.rmtree(target)


# ---- unpacking


def test_an_unpacked_image_holds_what_was_packed_with_its_permissions(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = built(layout, inputs)
    before = os.umask(0o077)
    try:
        root = layout.unpack(digest, tmp_path / "unpacked")
    finally:
        os.umask(before)
    assert root == tmp_path / "unpacked" / digest.hex
    assert ":" not in root.name, "the path goes into PYTHONPATH"
    found = contents(root)
    expected = {f"model/{name}": data for name, data in MODEL.items()}
    expected |= {f"app/models/category/{name}": data for name, data in OWN.items()}
    expected |= {"app/pipeline/errors.py": (tmp_path / "application/errors.py").read_bytes()}
    assert {name: data for name, (mode, data) in found.items() if mode & 0o040000 == 0} == expected
    modes = {name: mode & 0o777 for name, (mode, _) in found.items()}
    assert modes.pop("app/models/category/run.sh") == 0o755
    assert {mode for name, mode in modes.items() if name in expected} == {0o644}
    assert {mode for name, mode in modes.items() if name not in expected} == {0o755}
    assert root.stat().st_mode & 0o777 == 0o755
    before_again = stamps(root)
    assert layout.unpack(digest, tmp_path / "unpacked") == root
    assert stamps(root) == before_again


def test_the_unpacked_application_runs(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    digest = layout.append_model(layout.build_base(image.application(ROOT)), inputs, LABELS, "category:4")
    root = layout.unpack(digest, tmp_path / "unpacked")
    code = "import pipeline.components.japanese as japanese; print(japanese.fingerprint() and japanese.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(root / "app"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "app",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(root / "app/pipeline/components/japanese.py")
    lock = ROOT / "images/model/requirements.txt"
    assert (root / "app/requirements.txt").read_bytes() == lock.read_bytes()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("part", ["manifest", "config", "application", "model"])
def test_a_damaged_blob_is_named_never_unpacked_and_mended_by_a_rerun(tmp_path, inputs, damage, part):
    layout = Layout(tmp_path / "layout")
    digest = built(layout, inputs)
    manifest = json.loads(blob(layout, digest).read_bytes())
    layers = manifest["layers"]
    broken = {
        "manifest": digest,
        "config": manifest["config"]["digest"],
        "application": layers[0]["digest"],
        "model": layers[1]["digest"],
    }[part]
    damage(blob(layout, broken))
    with pytest.raises(Permanent, match=f"{Digest(broken).hex}: missing or damaged"):
        layout.unpack(digest, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []
    if part in ("manifest", "config"):
        with pytest.raises(Permanent, match=Digest(broken).hex):
            layout.labels(digest)
    assert built(layout, inputs) == digest
    layout.unpack(digest, tmp_path / "unpacked")


def test_a_digest_that_is_no_image_is_refused(tmp_path, inputs):
    layout = Layout(tmp_path / "layout")
    manifest = json.loads(blob(layout, built(layout, inputs)).read_bytes())
    for digest in (manifest["config"]["digest"], manifest["layers"][0]["digest"]):
        with pytest.raises(Permanent, match="not an image manifest"):
            layout.labels(Digest(digest))


@pytest.mark.parametrize("index", [b"", b"{", b"[]", b"{}"])
def test_an_index_that_cannot_be_read_is_named(tmp_path, inputs, index):
    layout = Layout(tmp_path / "layout")
    built(layout, inputs)
    (layout.path / "index.json").write_bytes(index)
    with pytest.raises(Permanent, match=r"index\.json"):
        layout.find("category:4")


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        entry("../escape"),
        entry("model/../../escape"),
        entry("/absolute"),
        entry(".."),
        entry("model/link", tarfile.SYMTYPE, "/etc"),
        entry("model/link", tarfile.LNKTYPE, "../../escape"),
        entry("model/device", tarfile.CHRTYPE),
    ],
)
def test_an_entry_that_would_leave_the_tree_is_refused(tmp_path, member):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(member)
    data = stream.getvalue()
    layer = Descriptor(image.LAYER, Digest.of(data), len(data))
    made = image.append(image.empty("x86_64"), layer, {})
    layout = Layout(tmp_path / "layout")
    layout.build_base(application(tmp_path / "application"))
    for content in (data, made.config, made.manifest):
        blob(layout, Digest.of(content)).write_bytes(content)
    with pytest.raises(Permanent, match="entry"):
        layout.unpack(Digest.of(made.manifest), tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []
    assert not (tmp_path / "escape").exists()


def test_a_layer_of_another_kind_is_refused(tmp_path):
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(b"gzip"), 4)
    made = image.append(image.empty("x86_64"), layer, {})
    layout = Layout(tmp_path / "layout")
    layout.build_base(application(tmp_path / "application"))
    for content in (b"gzip", made.config, made.manifest):
        blob(layout, Digest.of(content)).write_bytes(content)
    with pytest.raises(Permanent, match=r"tar\+gzip"):
        layout.unpack(Digest.of(made.manifest), tmp_path / "unpacked")
