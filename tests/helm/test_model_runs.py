"""The commands of helm/model's pods, run as processes: they serve, answer the probes, and pass ``helm test``."""

import os
import subprocess
import sys

import httpx
import pytest

from tests.loopback import await_answer
from tests.ports import free_port
from tests.serving import toy

_SECONDS = 60


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An unpacked image of the model ``titles``."""
    return toy.titles(tmp_path_factory.mktemp("image") / "titles", 1)


@pytest.fixture(scope="module")
def manifests(model):
    return model.render(release="titles")


def process(container, image, here, **options):
    """Start what a container starts, in an unpacked image; ``here`` are the addresses it has outside a cluster."""
    command = [*container["command"], *container["args"]]
    assert command[0] == "python3"
    argv = [here.get(word, word.replace("/model", f"{image}/model")) for word in command[1:]]
    where = f"{image}{container['workingDir']}"
    return subprocess.Popen([sys.executable, *argv], cwd=where, stderr=subprocess.STDOUT, text=True, **options)


@pytest.fixture(scope="module")
def address(manifests, image, tmp_path_factory):
    """The address of the server that the stable pods start."""
    [container] = manifests.pods()["titles-stable"]["spec"]["containers"]
    [port] = [port["containerPort"] for port in container["ports"] if port["name"] == "http"]
    free, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        server = process(container, image, {str(port): str(free)}, stdout=output, env=environment)
    try:
        await_answer(f"http://127.0.0.1:{free}{container['startupProbe']['httpGet']['path']}", server, log)
        yield f"http://127.0.0.1:{free}"
    finally:
        server.kill()
        server.wait()


def test_the_servers_command_serves_and_answers_the_probes(manifests, address):
    [container] = manifests.pods()["titles-stable"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        reply = httpx.get(address + container[probe]["httpGet"]["path"], trust_env=False)
        assert reply.status_code == 200, probe


def test_the_server_says_which_version_and_digest_it_is(address):
    served = httpx.get(address, trust_env=False).json()
    assert (served["version"], served["digest"]) == ("3", "sha256:" + "a" * 64)


def test_what_a_server_monitor_scrapes_is_there(model, address):
    [monitor] = model.render({"monitoring": {"enabled": True}}).of("ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    assert 'zeta_model_info{digest="sha256:' in httpx.get(address + endpoint["path"], trust_env=False).text


def test_the_test_pods_command_passes_on_the_server_that_it_is_for(manifests, image, address):
    [golden] = manifests.pods()["titles-test-stable"]["spec"]["containers"]
    asked = process(golden, image, {"http://titles-stable": address}, stdout=subprocess.PIPE)
    said, _ = asked.communicate(timeout=_SECONDS)
    assert (asked.returncode, said) == (0, f"{address}: 4 golden rows answered as at training\n")
