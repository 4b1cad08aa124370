import contextlib
import json
import logging
import os
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests

from pipeline import base, image
from pipeline.adapters import transport
from pipeline.adapters.docker import Base, build
from pipeline.adapters.remote import BASE, Remote
from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.image import Digest
from pipeline.settings import ROOT
from tests.adapters.registries import KNOWN, Certificate, application, logged_in, private, running
from tests.cluster import rootfs

# Two small packages, one of them compiled, one with a part for another system.
LOCKED = ("click", "markupsafe")
OWN = "tabulate"


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("registry")) as address:
        yield address


@contextlib.contextmanager
def started() -> Iterator[tuple[docker.DockerClient, str]]:
    """A Docker of the test's own where that is allowed, and the image that bases start from."""
    try:
        for name in ("dockerd", "mmdebstrap"):
            rootfs.program(name)
    except rootfs.Missing as error:
        pytest.skip(str(error))
    with rootfs.daemon(own=os.geteuid() == 0) as client:
        yield client, rootfs.imported(client)


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[docker.DockerClient, str]]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def client(daemon) -> docker.DockerClient:
    return daemon[0]


@pytest.fixture(scope="module")
def under(daemon) -> str:
    return daemon[1]


def lock(folder: Path, *names: str, shared: Path | None = None) -> Path:
    """Write a lock as `make lock` does: of the packages that this project's own locks know."""
    path = folder / f"{'-'.join(names)}.txt"
    constraints = ["-c", str(shared or ROOT / "images/airflow/requirements.txt")]
    options = ["-q", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    command = [ROOT / ".zeta/envs/uv/bin/uv", "pip", "compile", *options, *constraints, "-", "-o", path]
    subprocess.run(command, input="\n".join(names), text=True, check=True)
    return path


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A checkout whose image mlflow installs little."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "images/mlflow").mkdir(parents=True)
    shutil.copy(ROOT / "images/mlflow/Dockerfile", folder / "images/mlflow")
    for name in ("install.txt", "layer.sh"):
        shutil.copy(ROOT / "images" / name, folder / "images")
    shutil.copy(lock(folder, *LOCKED), folder / "images/mlflow/requirements.txt")
    return folder


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    return application(tmp_path / "app")


@pytest.fixture
def built(caplog):
    """Whether Docker has built something since this was last asked."""
    caplog.set_level(logging.INFO, "zeta.base")

    def asked() -> bool:
        steps = [record for record in caplog.records if record.getMessage().startswith("Step")]
        caplog.clear()
        return bool(steps)

    return asked


def images(address: str) -> Remote:
    return Remote(address, "category", Base().build)


def layers(address: str, digest: Digest, repository: str = "zeta-mlflow") -> list[str]:
    return [one.digest for one in images(address)._image(repository, digest).layers]


def tags(address: str, repository: str = "zeta-mlflow") -> set[str]:
    return set(requests.get(f"http://{address}/v2/{repository}/tags/list").json().get("tags") or [])


def told(client: docker.DockerClient, image: str, code: str, **options: object) -> str:
    """What Python in an image says."""
    return client.containers.run(
        image, ["-c", code], entrypoint="python3", network_mode="none", remove=True, **options
    ).decode()


def test_unchanged_inputs_build_nothing_and_changed_code_only_the_last_layer(
    registry, client, under, checkout, files, built
):
    bases = Base("mlflow", under, checkout=checkout)
    first = bases.build(images(registry), files)
    assert built()
    known = tags(registry)
    assert bases.build(images(registry), files) == first
    assert not built()
    assert tags(registry) == known
    (files["/app/pipeline"] / "new.py").write_text("new = 1\n")
    second = bases.build(images(registry), files)
    assert not built()
    before, after = layers(registry, first), layers(registry, second)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_what_is_built_is_named_by_every_input(registry, client, under, checkout, files, built, tmp_path):
    first = Base("mlflow", under, checkout=checkout).build(images(registry), files)
    changed = tmp_path / "changed"
    shutil.copytree(checkout, changed)
    dockerfile = changed / "images/mlflow/Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "LABEL changed=yes\n")
    built()
    assert Base("mlflow", under, checkout=changed).build(images(registry), files) != first
    assert built()
    client.images.get(under).tag("zeta-tests", "again")
    try:
        assert Base("mlflow", "zeta-tests:again", checkout=checkout).build(images(registry), files) != first
        assert built()
    finally:
        client.images.remove("zeta-tests:again", noprune=True)


def test_a_models_own_packages_make_a_variant_that_others_do_not_see(
    registry, client, under, checkout, files, built, tmp_path
):
    shared = Base("mlflow", under, checkout=checkout).build(images(registry), files)
    own = lock(tmp_path, OWN, "click", shared=checkout / "images/mlflow/requirements.txt")
    variant = Base("mlflow", under, own, checkout).build(images(registry), files)
    code = f"import importlib.util; print(importlib.util.find_spec('{OWN}') is not None)"
    located = images(registry).located("zeta-mlflow")
    found = []
    for digest in (shared, variant):
        client.images.pull(f"{located}@{digest}")
        found.append(told(client, f"{located}@{digest}", code).strip())
    assert found == ["False", "True"]
    built()
    assert Base("mlflow", under, checkout=checkout).build(images(registry), files) == shared
    assert not built()


def test_the_bill_of_materials_is_what_is_installed_and_hangs_on_the_image(registry, client, under, checkout, files):
    digest = Base("mlflow", under, checkout=checkout).build(images(registry), files)
    located = f"{images(registry).located('zeta-mlflow')}@{digest}"
    client.images.pull(located)
    code = "import importlib.metadata as m; print(*(f'{d.name.lower()}@{d.version}' for d in m.distributions()))"
    known = json.loads(images(registry)._tagged("zeta-mlflow", f"sha256-{digest.hex}"))["manifests"]
    assert [one["artifactType"] for one in known] == [base.BILL]
    referrer = images(registry)._manifest("zeta-mlflow", Digest(known[0]["digest"]))
    _, layer = image.parts(referrer)
    bill = json.loads(b"".join(images(registry)._registry.download("zeta-mlflow", layer)))
    listed = {one["purl"].removeprefix("pkg:pypi/") for one in bill["components"] if one["type"] == "library"}
    assert listed == set(told(client, located, code).split())
    labels = client.images.get(located).labels
    assert labels["org.opencontainers.image.base.name"] == under
    assert labels["org.opencontainers.image.base.digest"] == client.images.get(under).id


def test_a_folder_of_wheels_without_an_index_and_another_docker_give_the_same_image(
    registry, under, checkout, files, tmp_path, monkeypatch
):
    first = Base("mlflow", under, checkout=checkout).build(images(registry), files)
    wheels = tmp_path / "wheels"
    lock_files = [checkout / "images/mlflow/requirements.txt", checkout / "images/install.txt"]
    requirements = [word for path in lock_files for word in ("-r", path)]
    fetch = [ROOT / ".zeta/envs/uv/bin/pip", "download", "-q", "--no-deps", "--require-hashes", "-d", wheels]
    subprocess.run([*fetch, *requirements], check=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with running(tmp_path / "registry") as other, started() as (_, same):
        again = Base("mlflow", same, checkout=checkout).build(images(other), files)
        assert layers(other, again) == layers(registry, first)
        assert again == first


# ---- what fails


def test_a_package_that_is_not_what_the_lock_says_is_not_installed(registry, under, checkout, files, tmp_path):
    forged = tmp_path / "forged"
    shutil.copytree(checkout, forged)
    path = forged / "images/mlflow/requirements.txt"
    path.write_text("\n".join(f"{one.name}=={one.version} --hash=sha256:{'0' * 64}" for one in base.packages(path)))
    before = tags(registry)
    with pytest.raises(Permanent, match="not what the lock says"):
        Base("mlflow", under, checkout=forged).build(images(registry), files)
    assert tags(registry) == before


def test_an_index_that_cannot_be_reached_is_temporary(registry, under, checkout, files, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    own = lock(tmp_path, OWN, shared=checkout / "images/mlflow/requirements.txt")
    with pytest.raises(Temporary, match="PIP_INDEX_URL"):
        Base("mlflow", under, own, checkout).build(images(registry), files | {"/app/own": own})


def test_a_build_that_fails_says_where(registry, under, checkout, files, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(checkout, broken)
    with (broken / "images/mlflow/Dockerfile").open("a") as file:
        file.write("USER root\nRUN echo what went wrong && exit 3\n")
    with pytest.raises(Permanent, match=r"(?s)the build failed.*returned a non-zero code: 3.*what went wrong"):
        Base("mlflow", under, checkout=broken).build(images(registry), files)


def test_a_base_is_pushed_to_a_private_registry(under, checkout, files, tmp_path, monkeypatch):
    certificate = Certificate(tmp_path)
    (tmp_path / "htpasswd").write_text(KNOWN)
    with running(tmp_path / "registry", **private(certificate, tmp_path / "htpasswd")) as address:
        monkeypatch.setattr(transport, "CERTIFICATES", tmp_path / "certs.d")
        (tmp_path / "certs.d" / address).mkdir(parents=True)
        shutil.copy(certificate.path, tmp_path / "certs.d" / address / "ca.crt")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        (tmp_path / "config.json").write_text(logged_in(address))
        made = Base("mlflow", under, checkout=checkout).build(images(f"https://{address}"), files)
        assert len(layers(f"https://{address}", made)) == 3


def test_a_registry_that_takes_no_base_is_temporary(under, checkout, files, tmp_path):
    readonly = {"filesystem": {"rootdirectory": str(tmp_path)}, "maintenance": {"readonly": {"enabled": True}}}
    with running(tmp_path, storage=readonly) as address, pytest.raises(Temporary, match="was not pushed"):
        Base("mlflow", under, checkout=checkout).build(images(address), files)


def test_an_image_to_start_from_that_is_nowhere_is_named(registry, client, checkout, files):
    with pytest.raises(ConfigError, match=r"ZETA_BASE_IMAGE: .*absent"):
        Base("mlflow", f"{registry}/absent:1", checkout=checkout).build(images(registry), files)


def test_docker_that_is_not_there_is_temporary(registry, checkout, files, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    with pytest.raises(Temporary, match="DOCKER_HOST"):
        Base("mlflow", "any:1", checkout=checkout).build(images(registry), files)


def test_a_base_of_models_needs_helm(registry, monkeypatch, tmp_path, files):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="helm is not on the PATH"):
        Base().build(images(registry), files)


# ---- the image that models run in


@pytest.fixture(scope="module")
def address(registry) -> str:
    """The registry that is given, which may have the base already, else the tests' own."""
    return os.environ.get("ZETA_REGISTRY", registry)


@pytest.fixture(scope="module")
def model_base(address, under, tmp_path_factory) -> Iterator[Digest]:
    folder, path = tmp_path_factory.mktemp("bin"), os.environ["PATH"]
    if shutil.which("helm") is None:
        (folder / "helm").write_text("#!/bin/sh\necho v4.0.0\n")
        (folder / "helm").chmod(0o755)
        os.environ["PATH"] = f"{path}:{folder}"
    try:
        yield Base(under=under).build(images(address), image.application(ROOT))
    finally:
        os.environ["PATH"] = path


@pytest.mark.timeout(1800)
def test_a_model_is_served_from_the_image_by_nobody_on_a_file_system_that_cannot_be_written(
    address, client, model_base, toy, tmp_path
):
    root = toy.titles(tmp_path / "toy", 1)
    remote = Remote(address, "titles", Base().build)
    digest = remote.append_model(model_base, {"/model": root / "model"}, {"zeta.version": "1"}, "titles:1")
    located = f"{remote.repository}@{digest}"
    client.images.pull(located)
    container = client.containers.run(
        located, detach=True, read_only=True, tmpfs={"/tmp": ""}, network_mode="none", cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )  # fmt: skip
    ask = textwrap.dedent("""
        import json, os, sys, urllib.request
        body = json.dumps({"dataframe_records": [{"title": "夏目漱石の文庫本"}]}).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request("http://127.0.0.1:8080/invocations", body, kind)
        answer = json.load(urllib.request.urlopen(request))
        print(json.dumps({"user": os.getuid(), "answer": answer["predictions"]}))
    """)
    try:
        deadline = time.monotonic() + 60
        while (said := container.exec_run(["python3", "-c", ask], demux=True)).exit_code:
            container.reload()
            assert container.status == "running", container.logs().decode()
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.2)
        assert json.loads(said.output[0]) == {"user": 65532, "answer": ["本@1"]}
        container.stop(timeout=30)
        assert container.wait()["StatusCode"] == 0
    finally:
        container.remove(force=True)


@pytest.mark.timeout(1800)
def test_the_image_brings_commands_and_helm_and_no_compiler(address, client, model_base):
    located = f"{images(address).located(BASE)}@{model_base}"
    client.images.pull(located)
    options = {"network_mode": "none", "remove": True, "read_only": True}
    assert b"Usage" in client.containers.run(located, ["--help"], **options)
    code = "import shutil; print([p for p in ('helm', 'cc', 'gcc', 'make', 'pip', 'uv', 'kubectl') if shutil.which(p)])"
    assert told(client, located, code, read_only=True).strip() == "['helm']"
    config = client.images.get(located).attrs["Config"]
    tag = next(pair.partition("=")[2] for pair in config["Env"] if pair.startswith("ZETA_BASE="))
    assert images(address).find(f"{BASE}:{tag}") == model_base
    assert config["User"] == "65532:65532"


@pytest.mark.timeout(1800)
def test_airflows_tasks_run_in_the_base_of_models_with_airflow_upon_it(address, client, under, model_base):
    repository, digest = build("tasks", images(address), ROOT / "models", under, "c0ffee")
    located = f"{images(address).located(repository)}@{digest}"
    client.images.pull(located)
    options = {"entrypoint": "/usr/bin/env", "network_mode": "none", "remove": True, "read_only": True}
    options |= {"tmpfs": {"/tmp": ""}}
    said = client.containers.run(located, ["/opt/airflow/bin/airflow", "version"], **options)
    assert said.decode().startswith("3.")
    assert b"Usage" in client.containers.run(located, ["/opt/zeta/bin/zeta", "--help"], **options)
    listed = client.containers.run(located, ["ls", "/app", "/app/models"], **options).decode().split()
    assert {"dags", "helm", "models", "pipeline", "sites", "type"} <= set(listed)
    assert "ZETA_COMMIT=c0ffee" in client.images.get(located).attrs["Config"]["Env"]
    assert build("tasks", images(address), ROOT / "models", under, "c0ffee") == (repository, digest)
