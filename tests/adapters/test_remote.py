import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline import image
from pipeline.adapters.remote import BASE
from pipeline.errors import ConfigError, Permanent, Temporary, ZetaError
from pipeline.image import Digest
from tests.adapters.registries import (
    BELOW,
    DOCKER,
    LABELS,
    OCI,
    Proxy,
    application,
    based,
    pushed,
    remote,
    running,
    written,
)

PARTS = 40
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (Debian: skopeo)")


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def base(registry, tmp_path_factory) -> Digest:
    return based(registry, tmp_path_factory.mktemp("application"))


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
    return written(tmp_path / "inputs")


# ---- one layer on a base


@needs_skopeo
@pytest.mark.parametrize("kinds", [OCI, DOCKER], ids=["oci", "docker"])
def test_a_model_is_one_layer_on_a_base_of_either_format_and_skopeo_reads_it(registry, tmp_path, inputs, kinds):
    images = remote(registry)
    digest = images.append_model(based(registry, tmp_path / "app", kinds), inputs, LABELS, "category:4")
    assert images.find("category:4") == digest
    assert images.labels(digest) == LABELS
    source, copy = f"docker://{images.repository}:4", f"oci:{tmp_path}/copy:category:4"
    inspect = ["skopeo", "inspect", "--tls-verify=false", source]
    seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert (seen["Digest"], seen["Labels"], seen["Env"]) == (digest, LABELS, ["PATH=/bin", "ZETA_BASE=b1"])
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"]
    subprocess.run([*command, source, copy], check=True)
    manifest = json.loads((tmp_path / f"copy/blobs/sha256/{digest.hex}").read_bytes())
    types = [part["mediaType"] for part in (manifest, manifest["config"], *manifest["layers"])]
    assert types == [image.MANIFEST, image.CONFIG, f"{image.LAYER}+gzip", image.LAYER, image.LAYER]


@needs_skopeo
def test_the_same_inputs_give_the_same_digest_in_any_registry(registry, base, inputs, tmp_path):
    first = remote(registry).append_model(base, inputs, LABELS, "category:1")
    again = written(tmp_path / "again")
    assert remote(registry).append_model(base, again, LABELS, "category:2") == first
    with running(tmp_path / "elsewhere") as other:
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"]
        places = f"docker://{registry}/{BASE}@{base}", f"docker://{other}/{BASE}:b1"
        subprocess.run([*command, "--dest-tls-verify=false", *places], check=True)
        assert remote(other).append_model(base, again, LABELS, "category:1") == first
    (again["/model"] / "zeta.json").write_bytes(b"[]")
    assert remote(registry).append_model(base, again, LABELS, "category:3") != first


def test_the_layers_of_the_base_are_neither_fetched_nor_sent(registry, base, inputs):
    with Proxy(registry) as proxy:
        images = remote(proxy.address, "fresh")
        digest = images.append_model(base, inputs, LABELS, "fresh:1")
        size = image.measured(image.layer(inputs)).size
        assert size < proxy.sent < size + 20_000
        assert proxy.received < 20_000
        before = proxy.sent
        assert images.append_model(base, inputs, LABELS, "fresh:1") == digest
        assert proxy.sent - before < 2_000, "what is there is not sent again"


def test_a_registry_that_shares_no_layers_gets_a_copy_of_the_base(registry, base, inputs, monkeypatch):
    images = remote(registry, "copied")
    asked = images._registry.request

    def unshared(method, path, expected, headers=None, body=None, params=None, stream=False):
        return asked(method, path, expected, headers, body, None if method == "POST" else params, stream)

    monkeypatch.setattr(images._registry, "request", unshared)
    digest = images.append_model(base, inputs, LABELS, "copied:1")
    monkeypatch.undo()
    assert digest == remote(registry).append_model(base, inputs, LABELS, "category:7")
    for layer in image.parts(images._manifest("copied", digest)):
        assert sum(map(len, images._registry.download("copied", layer))) == layer.size


@needs_skopeo
def test_joined_images_are_one_and_no_layer_of_theirs_is_fetched_or_sent(registry, base, tmp_path, inputs):
    other = remote(registry).append((BASE, pushed(registry)), inputs, {}, "zeta-airflow:1")
    with Proxy(registry) as proxy:
        joined = remote(proxy.address).join((BASE, base), ("zeta-airflow", other), {}, "zeta-tasks:1")
        assert proxy.sent + proxy.received < 40_000
    source = f"docker://{remote(registry).located('zeta-tasks')}:1"
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"]
    subprocess.run([*command, source, f"oci:{tmp_path}/copy:1"], check=True)
    _, *layers = image.parts((tmp_path / f"copy/blobs/sha256/{joined.hex}").read_bytes())
    assert len(layers) == 4
    assert remote(registry).join((BASE, base), ("zeta-airflow", other), {}, "zeta-tasks:1") == joined


def test_a_prefix_stands_before_every_repository(registry, tmp_path, inputs):
    images = remote(f"{registry}/team/zeta")
    digest = images.append_model(based(f"{registry}/team/zeta", tmp_path / "app"), inputs, LABELS, "category:1")
    assert images.repository == f"{registry}/team/zeta/category"
    place = f"http://{registry}/v2/team/zeta/category/manifests/{digest}"
    assert requests.head(place, headers={"Accept": image.MANIFEST}).status_code == 200


def test_a_tag_moves_to_the_last_image_given_that_name(registry, base, inputs):
    images = remote(registry, "moved")
    images.append_model(base, inputs, LABELS, "moved:1")
    digest = images.append_model(base, {"/model": inputs["/model"]}, LABELS, "moved:1")
    assert images.find("moved:1") == digest


@pytest.mark.parametrize("reference", ["category", "category:", "Category:1", "a---b:1", "category:4 ", "../x:1"])
def test_a_reference_no_registry_could_keep_is_refused(registry, base, inputs, reference):
    with pytest.raises(ConfigError, match="expected <name>:<version>"):
        remote(registry).append_model(base, inputs, LABELS, reference)


def test_a_base_that_is_not_there_is_named(registry, inputs):
    with pytest.raises(Permanent, match=f"{BASE}@sha256:{'0' * 64}: not in the registry"):
        remote(registry).append_model(Digest("sha256:" + "0" * 64), inputs, LABELS, "category:8")
    assert remote(registry).find("category:8") is None


def test_a_process_in_a_base_builds_on_that_one(registry, base):
    assert remote(registry, base="b1").build_base({}) == base
    with pytest.raises(ConfigError, match=r"ZETA_BASE='gone'.*zeta base"):
        remote(registry, base="gone").build_base({})


def test_a_big_model_does_not_sit_in_memory(registry, base, tmp_path):
    big = tmp_path / "model.skops"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    images = remote(registry, "big")
    tracemalloc.start()
    try:
        digest = images.append_model(base, {"/model/model.skops": big}, LABELS, "big:1")
        root = images.unpack(digest, tmp_path / "unpacked")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert (root / "model/model.skops").stat().st_size == 200_000_000


# ---- interrupted


def push(address: str, name: str, base: Digest, inputs: dict[str, Path]) -> Digest:
    return remote(address, name).append_model(base, inputs, LABELS, f"{name}:1")


@pytest.fixture(scope="module")
def whole(registry, base, tmp_path_factory) -> tuple[Digest, dict[str, Path], int]:
    """The image that a push makes, its inputs, and the bytes that it takes, of requests and of answers."""
    inputs = written(tmp_path_factory.mktemp("whole"), os.urandom(40_000))
    with Proxy(registry) as proxy:
        digest = push(proxy.address, "undisturbed", base, inputs)
        return digest, inputs, proxy.sent + proxy.received


@pytest.mark.parametrize("part", range(PARTS))
def test_a_push_cut_at_any_byte_leaves_no_tag_and_a_rerun_completes_it(registry, base, whole, part):
    expected, inputs, total = whole
    name = f"cut{part}"
    with Proxy(registry, total * part // PARTS + 1) as proxy, pytest.raises(Temporary, match="does not answer"):
        push(proxy.address, name, base, inputs)
    # The last of it are answers: the registry may have all of the image by then.
    assert remote(registry).find(f"{name}:1") in ((None, expected) if part == PARTS - 1 else (None,))
    assert push(registry, name, base, inputs) == expected
    assert remote(registry).find(f"{name}:1") == expected


@pytest.mark.parametrize("part", range(1, 10))
def test_a_process_killed_in_a_push_leaves_no_tag_and_a_rerun_completes_it(registry, base, whole, part):
    expected, inputs, total = whole
    name, context = f"killed{part}", multiprocessing.get_context("fork")
    begin = context.Event()
    jobs: list[multiprocessing.Process] = []
    with Proxy(registry, total * part // 10, lambda: os.kill(jobs[0].pid, signal.SIGKILL)) as proxy:
        jobs.append(context.Process(target=lambda: begin.wait() and push(proxy.address, name, base, inputs)))
        jobs[0].start()
        begin.set()
        jobs[0].join(60)
    assert jobs[0].exitcode == -signal.SIGKILL
    assert remote(registry).find(f"{name}:1") is None
    assert push(registry, name, base, inputs) == expected


def test_a_blob_that_another_process_is_pushing_is_waited_for(inputs, tmp_path, monkeypatch):
    """The registry's own fault: a blob is unknown to it between emptying the file that names it and writing it."""
    with running(tmp_path / "registry") as address:
        base, images, asked = based(address, tmp_path / "application"), remote(address, "busy"), []
        request = images._registry.request

        def disturbed(method, path, expected, *more, **named):
            if method != "PUT" or "manifests" not in path:
                return request(method, path, expected, *more, **named)
            links = list((tmp_path / "registry").rglob("busy/_layers/*/*/link"))
            written = links[0].read_bytes()
            if not asked:
                links[0].write_bytes(b"")
            answer = request(method, path, expected, *more, **named)
            links[0].write_bytes(written)
            asked.append(answer.status_code)
            return answer

        monkeypatch.setattr(images._registry, "request", disturbed)
        assert images.append_model(base, inputs, LABELS, "busy:1") == remote(address).find("busy:1")
        assert asked == [400, 201]


def test_processes_that_push_at_once_all_succeed(registry, base, whole):
    expected, inputs, _ = whole
    target = functools.partial(push, registry, "company", base, inputs)
    jobs = [multiprocessing.get_context("fork").Process(target=target) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4
    assert remote(registry).find("company:1") == expected


@pytest.mark.parametrize("change", [b"", b"less", b"x" * 100_000, b"more" * 50_000], ids=len)
def test_a_file_that_changes_while_it_is_sent_makes_no_image(registry, base, tmp_path, monkeypatch, change):
    inputs, measured = written(tmp_path, os.urandom(100_000)), image.measured

    def changing(chunks):
        found = measured(chunks)
        (inputs["/model"] / "model.skops").write_bytes(change)
        return found

    monkeypatch.setattr(image, "measured", changing)
    with pytest.raises(Temporary, match="changed"):
        remote(registry).append_model(base, inputs, LABELS, "category:9")
    assert remote(registry).find("category:9") is None


# ---- unpacking


def test_only_what_zeta_packed_is_fetched_and_laid_out(registry, base, inputs, tmp_path):
    digest = push(registry, "light", base, inputs)
    with Proxy(registry) as proxy:
        images = remote(proxy.address, "light")
        root = images.unpack(digest, tmp_path / "unpacked")
        assert proxy.received < BELOW / 2
        before = proxy.received
        assert images.unpack(digest, tmp_path / "unpacked") == root
        assert proxy.received == before
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    own = ["app/models/category/model.py", "app/pipeline/errors.py", "model/model.skops", "model/zeta.json"]
    assert sorted(files) == own
    assert files["model/model.skops"] == (inputs["/model"] / "model.skops").read_bytes()


def test_an_unpacking_that_is_cut_leaves_nothing_and_a_rerun_completes_it(registry, whole, tmp_path):
    for limit in (1, 2_000, 20_000, 40_000):
        with Proxy(registry, limit) as proxy, pytest.raises(Temporary):
            remote(proxy.address, "undisturbed").unpack(whole[0], tmp_path)
        assert list(tmp_path.iterdir()) == []
    assert remote(registry, "undisturbed").unpack(whole[0], tmp_path).is_dir()


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_what_is_damaged_in_the_registry_is_named_and_not_unpacked(tmp_path, inputs, part):
    with running(tmp_path / "registry") as address:
        digest = remote(address).append_model(based(address, tmp_path / "app"), inputs, LABELS, "category:1")
        config, *_, layer = image.parts(remote(address)._manifest("category", digest))
    broken = {"manifest": digest, "config": config.digest, "layer": layer.digest}[part]
    path = tmp_path / f"registry/data/docker/registry/v2/blobs/sha256/{broken.hex[:2]}/{broken.hex}/data"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with running(tmp_path / "registry") as address, pytest.raises(ZetaError, match=broken.hex):
        remote(address).unpack(digest, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_an_image_without_a_layer_of_zeta_unpacks_to_nothing(registry, tmp_path):
    root = remote(registry, BASE).unpack(pushed(registry), tmp_path)
    assert list(root.iterdir()) == []


# ---- what refers to an image


def test_documents_refer_to_an_image_where_other_tools_look(registry, base):
    images, first, second = remote(registry), "application/vnd.cyclonedx+json", "application/spdx+json"
    attached = [images.attach((BASE, base), kind, b'{"of": "zeta"}') for kind in (first, first, second)]
    root = f"http://{registry}/v2/{BASE}"
    accept = {"Accept": f"application/vnd.oci.image.index.v1+json, {image.MANIFEST}"}
    index = requests.get(f"{root}/manifests/sha256-{base.hex}", headers=accept).json()
    known = [(one["digest"], one["artifactType"]) for one in index["manifests"]]
    assert known == [(attached[0], first), (attached[2], second)]
    assert attached[0] == attached[1], "once, however often"
    manifest = requests.get(f"{root}/manifests/{attached[0]}", headers=accept).json()
    assert manifest["subject"]["digest"] == base
    assert requests.get(f"{root}/blobs/{manifest['layers'][0]['digest']}").content == b'{"of": "zeta"}'


def test_what_others_attached_stays(registry, tmp_path):
    below = pushed(registry)
    images = remote(registry)
    base = images.append((BASE, below), application(tmp_path), {}, f"{BASE}:b2")
    kinds = [f"application/vnd.tests.{number}" for number in range(3)]
    attached = [remote(registry).attach((BASE, base), kind, b"{}") for kind in kinds]
    assert len(set(attached)) == 3
    index = json.loads(images._tagged(BASE, f"sha256-{base.hex}"))
    assert [one["digest"] for one in index["manifests"]] == attached


def test_a_registry_that_knows_referrers_needs_no_index(registry, tmp_path, monkeypatch):
    images = remote(registry)
    digest = images.append((BASE, pushed(registry)), application(tmp_path), {}, f"{BASE}:b3")
    put = images._put_manifest
    monkeypatch.setattr(images, "_put_manifest", lambda *told: {**put(*told), "OCI-Subject": digest})
    images.attach((BASE, digest), "application/spdx+json", b"{}")
    assert images._tagged(BASE, f"sha256-{digest.hex}") is None
