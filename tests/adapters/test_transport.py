import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters import transport
from pipeline.adapters.remote import BASE
from pipeline.adapters.transport import Transport
from pipeline.errors import ConfigError, Permanent, Temporary
from pipeline.image import Digest
from tests.adapters.registries import (
    KNOWN,
    LABELS,
    PASSWORD,
    USER,
    Certificate,
    based,
    logged_in,
    private,
    remote,
    running,
    tokens,
    written,
)
from tests.ports import free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def closed(tmp_path_factory, certificate) -> Iterator[tuple[str, Digest]]:
    """A registry with TLS that asks for a password, and a base in it."""
    folder = tmp_path_factory.mktemp("closed")
    with running(folder) as address:
        base = based(address, folder / "app")
    (folder / "htpasswd").write_text(KNOWN)
    with running(folder, **private(certificate, folder / "htpasswd")) as address:
        yield address, base


@pytest.fixture
def docker_config(tmp_path, monkeypatch, certificate) -> Path:
    """The place of Docker's config, empty; the certificate is trusted."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker/config.json"


# ---- addresses


@pytest.mark.parametrize(
    ("address", "origin", "prefix"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000/", ""),
        ("localhost:5000", "http://localhost:5000/", ""),
        ("[::1]:5000", "http://[::1]:5000/", ""),
        ("registry.example", "https://registry.example/", ""),
        ("registry:5000/zeta/", "https://registry:5000/", "zeta/"),
        ("https://127.0.0.1:5000", "https://127.0.0.1:5000/", ""),
        ("http://10.0.0.1:5000/team/zeta", "http://10.0.0.1:5000/", "team/zeta/"),
    ],
)
def test_an_address_says_how_to_speak_to_it_as_for_docker(address, origin, prefix):
    found = Transport(address)
    assert (found._origin, found.prefix) == (origin, prefix)


@pytest.mark.parametrize(
    "address", ["", "zeta", "team/zeta", "ftp://a.b", "a.b/Team", "a.b:port", "a.b/x:tag", "user@a.b"]
)
def test_another_address_is_refused(address):
    with pytest.raises(ConfigError, match="ZETA_REGISTRY="):
        Transport(address)


# ---- private registries


def used(address: str, base: Digest, folder: Path) -> bytes:
    """Push, find, attach, unpack, each by a process that knows nothing yet; return a file of what was pushed."""
    digest = remote(address).append_model(base, written(folder / "inputs"), LABELS, "category:1")
    assert remote(address).find("category:1") == digest
    remote(address).attach((BASE, base), "application/vnd.cyclonedx+json", b"{}")
    return (remote(address).unpack(digest, folder / "unpacked") / "model/zeta.json").read_bytes()


def test_a_password_in_dockers_config_opens_a_private_registry(closed, docker_config, tmp_path):
    address, base = closed
    docker_config.write_text(logged_in(address))
    assert used(f"https://{address}", base, tmp_path) == b"{}"


def test_a_credential_helper_of_dockers_opens_a_private_registry(closed, docker_config, tmp_path, monkeypatch):
    address, base = closed
    helper = tmp_path / "bin/docker-credential-tests"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": "", "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
    docker_config.write_text(json.dumps({"credHelpers": {address: "tests"}}))
    assert used(f"https://{address}", base, tmp_path) == b"{}"


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_private_registry_that_lets_nobody_in_is_named_with_what_to_do(closed, docker_config, password):
    address, _ = closed
    if password:
        docker_config.write_text(logged_in(address, password))
    with pytest.raises(ConfigError, match=f"{address} answers .* 401 .*docker login {address}"):
        remote(f"https://{address}").find("category:1")


@pytest.mark.filterwarnings("ignore:docker-credential")
def test_a_config_of_dockers_that_cannot_be_used_is_named(closed, docker_config):
    docker_config.write_text(json.dumps({"credsStore": "absent-tests"}))
    with pytest.raises(ConfigError, match="Docker's config gives no credentials"):
        remote(f"https://{closed[0]}").find("category:1")


def test_a_certificate_that_nobody_vouches_for_is_refused_until_it_lies_where_docker_looks(
    closed, docker_config, tmp_path, monkeypatch, certificate
):
    address, _ = closed
    docker_config.write_text(logged_in(address))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transport, "CERTIFICATES", tmp_path / "certs.d")
    place = tmp_path / "certs.d" / address / "ca.crt"
    with pytest.raises(ConfigError, match=f"not to be trusted: .*{place}"):
        remote(f"https://{address}").find("category:1")
    place.parent.mkdir(parents=True)
    shutil.copy(certificate.path, place)
    assert remote(f"https://{address}").find("absent:1") is None


def test_a_registry_without_tls_says_how_to_name_it(tmp_path):
    with running(tmp_path) as address, pytest.raises(ConfigError, match=f"ZETA_REGISTRY=http://{address}"):
        remote(f"https://{address}").find("category:1")


def test_a_token_is_fetched_for_each_thing_that_is_done(docker_config, tmp_path, certificate):
    with running(tmp_path / "registry") as address:
        base = based(address, tmp_path / "app")
    with tokens(certificate) as auth, running(tmp_path / "registry", auth=auth) as address:
        with pytest.raises(ConfigError, match=f"docker login {address}"):
            remote(address).find("category:1")
        docker_config.write_text(logged_in(address))
        assert used(address, base, tmp_path) == b"{}"


# ---- a registry that fails


def test_a_registry_that_is_down_is_temporary():
    with pytest.raises(Temporary, match="does not answer"):
        remote(f"127.0.0.1:{free_port()}").find("category:1")


def test_a_registry_that_never_answers_is_temporary(monkeypatch):
    monkeypatch.setattr(transport, "_ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Temporary, match="does not answer"):
        remote(f"127.0.0.1:{silent.getsockname()[1]}").find("category:1")


def test_a_registry_that_cannot_write_is_temporary(tmp_path):
    with running(tmp_path) as address:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "data").write_text("a file in its place")
        with pytest.raises(Temporary, match="500"):
            remote(address).find("category:1")


def test_a_registry_that_takes_nothing_is_permanent(tmp_path):
    with running(tmp_path) as address:
        base = based(address, tmp_path / "app")
    settings = {"filesystem": {"rootdirectory": str(tmp_path / "data")}, "maintenance": {"readonly": {"enabled": True}}}
    with running(tmp_path, storage=settings) as address, pytest.raises(Permanent, match="405"):
        remote(address).append_model(base, written(tmp_path / "inputs"), LABELS, "category:1")
