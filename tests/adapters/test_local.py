"""Releases on this machine: real supervisors, real servers, real connections."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pipeline import settings
from pipeline.adapters.local import LocalPlatform
from pipeline.adapters.releases import Desired, Releases, Wanted
from pipeline.errors import Permanent
from pipeline.manifest import Manifest
from pipeline.rollout import Release
from tests.loopback import Client
from tests.ports import free_port

NAME = "titles"
ONE, TWO, BAD = "sha256:1", "sha256:2", "sha256:bad"
ROWS = [{"title": "英語の参考書"}, {"title": "青い万年筆"}]


@pytest.fixture(scope="module")
def roots(toy, tmp_path_factory):
    """Unpacked images by digest; the fingerprint of the bad one differs."""
    folder = tmp_path_factory.mktemp("images")
    found = {ONE: toy.titles(folder / "1", 1), TWO: toy.titles(folder / "2", 2), BAD: toy.titles(folder / "bad", 3)}
    recorded = Manifest.read(found[BAD] / "model").fingerprint
    toy.spoil(found[BAD], fingerprint=recorded | {"japanese.sys.dic": "0000"})
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return replace(settings.load(), home=tmp_path_factory.mktemp("home"), model_port=free_port())


@pytest.fixture(scope="module")
def platform(roots, here):
    """A platform on which version 1 is stable; every test leaves it so."""
    platform = LocalPlatform(here, roots.__getitem__)
    try:
        platform.start_canary(NAME, "1", ONE)
        platform.promote(NAME)
        yield platform
    finally:
        platform.stop(NAME)


@pytest.fixture
def files(here):
    return Releases(here.home, NAME)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid):
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def served(address):
    return httpx.get(address, trust_env=False, timeout=60).json()["version"]


def test_a_promotion_under_load_fails_no_request(platform):
    address = platform.release(NAME, "stable").address
    inputs = [{"name": "title", "shape": [1], "datatype": "BYTES", "data": ["英語の参考書"]}]
    ways = [(keep_alive, pause) for keep_alive in (True, False) for pause in (0, 0, 0.05, 0.7)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(address, NAME, inputs, *way)) for way in ways]
        wait_for(lambda: all(len(client.answers) > 1 for client in clients))
        canary = platform.start_canary(NAME, "2", TWO)
        assert canary.address != address
        assert platform.predict(NAME, "canary", ROWS) == ["本@2", "文具@2"]
        assert platform.predict(NAME, "stable", ROWS) == ["本@1", "文具@1"]
        begin = time.monotonic()
        promoted = platform.promote(NAME)
        end = time.monotonic()
        seen = {client: len(client.answers) for client in clients}
        wait_for(lambda: all(len(client.answers) > seen[client] + 1 for client in clients))
    one, two = ("1", "本@1"), ("2", "本@2")
    try:
        assert (promoted.version, promoted.digest, promoted.address) == ("2", TWO, address)
        assert [client.failures for client in clients] == [[]] * len(clients)
        answers = [answer for client in clients for answer in client.answers]
        assert {said for _, _, said in answers} == {one, two}
        assert {said for _, ended, said in answers if ended < begin} == {one}
        assert {said for began, _, said in answers if began > end} == {two}
        assert platform.release(NAME, "canary") is None
    finally:
        platform.start_canary(NAME, "1", ONE)
        platform.promote(NAME)


def test_every_step_may_be_repeated(platform, files):
    assert platform.promote(NAME) == platform.release(NAME, "stable")
    first = platform.start_canary(NAME, "2", TWO)
    pid = files.observed().canary.pid
    assert platform.start_canary(NAME, "2", TWO) == first
    assert files.observed().canary.pid == pid
    platform.remove_canary(NAME)
    platform.remove_canary(NAME)
    assert gone(pid)
    assert platform.release(NAME, "canary") is None
    assert platform.release(NAME, "stable").version == "1"


def test_a_canary_that_is_not_ready_is_told_with_its_log_and_stable_still_serves(platform):
    with pytest.raises(Permanent) as raised:
        platform.start_canary(NAME, "3", BAD)
    assert "version 3 (sha256:bad)" in str(raised.value)
    assert "at training it was 0000" in str(raised.value)
    assert f"{NAME}-canary.log ends with:\n" in str(raised.value)
    assert platform.release(NAME, "canary") is None
    assert platform.predict(NAME, "stable", ROWS) == ["本@1", "文具@1"]


def test_a_canary_that_cannot_start_is_told(platform, roots, tmp_path, monkeypatch):
    shutil.copytree(roots[TWO], tmp_path / "image", symlinks=True)
    (tmp_path / "image" / "model" / "model.skops").write_bytes(b"no model")
    monkeypatch.setattr(platform, "_unpack", lambda digest: tmp_path / "image")
    with pytest.raises(Permanent, match=r"exited with status 1.*(?s:.*)model\.skops: does not load"):
        platform.start_canary(NAME, "3", BAD)


def test_a_promotion_that_fails_leaves_stable_serving(platform, toy, roots, tmp_path, monkeypatch):
    shutil.copytree(roots[TWO], tmp_path / "image", symlinks=True)
    monkeypatch.setattr(platform, "_unpack", lambda digest: {ONE: roots[ONE], TWO: tmp_path / "image"}[digest])
    platform.start_canary(NAME, "2", TWO)
    toy.spoil(tmp_path / "image", fingerprint={})
    with pytest.raises(Permanent, match="at training it was absent"):
        platform.promote(NAME)
    assert platform.release(NAME, "stable").version == "1"
    assert platform.release(NAME, "canary") is None
    assert platform.predict(NAME, "stable", ROWS) == ["本@1", "文具@1"]


def test_a_stable_server_that_dies_is_started_again_while_its_clients_wait(platform, files):
    before = files.observed().stable
    os.kill(before.pid, signal.SIGKILL)
    assert served(before.address) == "1"
    wait_for(lambda: files.observed().settled)
    after = files.observed().stable
    assert after.pid != before.pid
    assert after.restarts == before.restarts + 1
    assert platform.release(NAME, "stable").ready


def test_a_canary_that_dies_is_reported_and_not_started_again(platform, files):
    platform.start_canary(NAME, "2", TWO)
    os.kill(files.observed().canary.pid, signal.SIGKILL)
    wait_for(lambda: not platform.release(NAME, "canary").ready)
    assert files.observed().canary.error == "it exited with status -9"
    with pytest.raises(Permanent, match="no canary that is ready"):
        platform.predict(NAME, "canary", ROWS)
    assert platform.start_canary(NAME, "2", TWO).ready
    platform.remove_canary(NAME)


def test_a_supervisor_that_was_killed_is_repaired_by_the_next_call(platform, files):
    platform.start_canary(NAME, "2", TWO)
    before = files.observed()
    address = platform.release(NAME, "stable").address
    os.kill(before.supervisor, signal.SIGKILL)
    wait_for(lambda: gone(before.stable.pid) and gone(before.canary.pid))
    (files.folder / ".desired.json.1").write_text('{"generation": 99, "sta')
    assert platform.release(NAME, "stable") == Release("1", ONE, True, address)
    assert platform.release(NAME, "canary").ready
    assert files.observed().supervisor != before.supervisor
    assert served(address) == "1"
    platform.remove_canary(NAME)


def test_a_promotion_that_was_interrupted_is_completed(platform, files):
    platform.start_canary(NAME, "2", TWO)
    desired = files.desired()
    files.write(Desired(desired.generation + 1, stable=desired.canary))
    os.kill(files.observed().supervisor, signal.SIGKILL)
    assert platform.promote(NAME).version == "2"
    assert served(platform.release(NAME, "stable").address) == "2"
    platform.start_canary(NAME, "1", ONE)
    platform.promote(NAME)


def test_what_served_last_serves_again_when_what_was_to_follow_is_bad(platform, files, roots):
    desired = files.desired()
    bad = Wanted("3", BAD, str(roots[BAD]))
    os.kill(files.observed().supervisor, signal.SIGKILL)
    files.write(Desired(desired.generation + 1, stable=bad))
    assert platform.release(NAME, "stable").version == "1"
    with pytest.raises(Permanent, match=r"version 3 \(sha256:bad\)"):
        platform.promote(NAME)
    assert platform.predict(NAME, "stable", ROWS) == ["本@1", "文具@1"]


def test_only_one_supervisor_runs(platform, here):
    platform.ensure(NAME)
    environment = os.environ | {"ZETA_HOME": str(here.home)}
    command = [sys.executable, "-m", "pipeline.adapters.supervisor", NAME]
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "another supervisor runs already" in second.stderr


def test_stop_leaves_nothing_running_and_ensure_brings_it_back_on_its_port(platform, files):
    before = files.observed()
    address = platform.release(NAME, "stable").address
    platform.stop(NAME)
    assert gone(before.supervisor)
    assert gone(before.stable.pid)
    with pytest.raises(httpx.ConnectError):
        served(address)
    platform.ensure(NAME)
    assert served(address) == "1"


def test_what_is_removed_is_gone_and_does_not_come_back(platform, files):
    platform.start_canary(NAME, "2", TWO)
    before, address = files.observed(), platform.release(NAME, "stable").address
    for _ in range(2):
        platform.remove(NAME)
        assert gone(before.supervisor)
        assert gone(before.stable.pid)
        assert gone(before.canary.pid)
        assert platform.release(NAME, "stable") is None
    platform.start_canary(NAME, "1", ONE)
    assert platform.promote(NAME).address == address


def test_a_port_that_is_taken_is_told_and_another_model_gets_another(platform, files, here):
    other = Releases(here.home, "other")
    with other.listener(here.model_port, 0) as listener:
        port = listener.getsockname()[1]
        assert port != int((files.folder / "port").read_text())
        with pytest.raises(Permanent, match=f"port {port} is taken by another program"):
            other.listener(here.model_port, 0)
    with other.listener(1, 0) as listener:
        assert listener.getsockname()[1] == port


def test_a_request_that_does_not_fit_is_told(platform):
    with pytest.raises(Permanent, match="row 0 lacks column 'title'"):
        platform.predict(NAME, "stable", [{"text": "本"}])


def test_a_model_that_never_ran_has_no_release_and_starts_nothing(platform, here):
    assert platform.release("unknown", "stable") is None
    platform.remove_canary("unknown")
    assert platform.ensure("unknown") is None
    platform.stop("unknown")
    assert not (here.home / "releases" / "unknown").exists()


def test_a_stable_server_that_is_no_longer_ready_says_why(platform, files, toy, roots):
    before = files.observed().stable
    recorded = Manifest.read(roots[ONE] / "model").fingerprint
    toy.spoil(roots[ONE], fingerprint=recorded | {"numpy": "0.1"})
    try:
        os.kill(before.pid, signal.SIGKILL)
        reply = httpx.get(f"{before.address}/v2/health/ready", trust_env=False, timeout=60)
        assert reply.status_code == 503
        assert "at training it was 0.1" in reply.json()["error"]
        assert not platform.release(NAME, "stable").ready
    finally:
        toy.spoil(roots[ONE], fingerprint=recorded)
        platform.stop(NAME)
        platform.ensure(NAME)


def test_the_environment_of_a_server_holds_none_of_zetas_settings(platform, files):
    environment = Path(f"/proc/{files.observed().stable.pid}/environ").read_bytes().decode().split("\0")
    assert not [line for line in environment if line.startswith("ZETA_")]
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false" in environment
    assert "OMP_NUM_THREADS=1" in environment
