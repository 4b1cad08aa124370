"""Live requests through a Gateway, shared by weight; and what they came to, as a Prometheus has scraped it."""

import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace

import pytest
from kubernetes import client

from pipeline.adapters.prometheus import Prometheus
from pipeline.errors import Permanent
from pipeline.rollout import roll_out
from pipeline.verdict import Rollout
from tests.cluster.conftest import RULES, promoted
from tests.cluster.machine import NODE
from tests.loopback import await_answer
from tests.ports import free_port

NAME = "shared"
GATEWAY = "gateway/zeta"


@pytest.fixture(scope="module")
def targets(cluster, namespace, tmp_path_factory):
    """A file that names the pods of the namespace, for as long as the test lasts, as a Prometheus reads it."""
    file, ended = tmp_path_factory.mktemp("targets") / "targets.json", threading.Event()
    core = client.CoreV1Api()

    def write():
        while not ended.wait(0.5):
            found = [
                {"targets": [f"{pod.status.pod_ip}:8080"], "labels": {"namespace": namespace, "pod": pod.metadata.name}}
                for pod in core.list_namespaced_pod(namespace).items
                if pod.status.pod_ip
            ]
            changed = file.with_suffix(".new")
            changed.write_text(json.dumps(found))
            changed.rename(file)

    writer = threading.Thread(target=write)
    writer.start()
    yield file
    ended.set()
    writer.join()


@pytest.fixture(scope="module")
def prometheus(targets, tmp_path_factory):
    """The address of a Prometheus that scrapes the pods of the namespace every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no program prometheus (Debian: prometheus)")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    job = {"job_name": "pods", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}
    (folder / "config.json").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    command = [
        program, f"--config.file={folder}/config.json", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        await_answer(f"http://127.0.0.1:{port}/-/ready", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def settings(own, settings, prometheus):
    """Those of a cluster with a Gateway, as `make cluster` has one."""
    return replace(settings, gateway=GATEWAY, prometheus=prometheus)


def test_the_canary_gets_its_share_by_weight_and_no_client_sees_a_failure(platform, images, settings, load):
    champion = promoted(platform, images, NAME)
    with load(NAME, rate=100, via=f"{NODE}:8000", host=f"{NAME}.{settings.domain}") as asked:
        verdict = roll_out(platform, NAME, images.target("2"), images.proof("2"), champion, RULES.canary)
    print(verdict.reasons, asked.said, asked.failures)
    assert verdict.outcome == Rollout.PROMOTED, verdict.reasons
    assert (asked.failed, set(asked.said)) == ([], {"1", "2"})
    assert verdict.numbers["canary_requests"] >= RULES.canary.requests
    shares = dict(re.findall(r"at (\d+) % it had (\d+)% of the requests", verdict.reasons[1]))
    assert {step: pytest.approx(int(step), abs=8) for step in shares} == {
        step: int(had) for step, had in shares.items()
    }
    assert shares.keys() == {"10", "50"}


def test_what_a_prometheus_does_not_know_is_told(prometheus):
    with pytest.raises(Permanent, match=r"has scraped nothing of \['absent'\]"):
        Prometheus(prometheus).observe("zeta", ["absent"])
    with pytest.raises(Permanent, match="does not answer as a Prometheus does"):
        Prometheus(f"http://127.0.0.1:{free_port()}").observe("zeta", ["absent"])
