"""What a roll-out needs breaks while it goes on: what served serves on, and what can be completed is."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.adapters.kubernetes import KubernetesPlatform
from pipeline.config import Resources
from pipeline.rollout import roll_out
from pipeline.verdict import Rollout
from tests.cluster import processes
from tests.cluster.conftest import RULES, promoted
from tests.cluster.faults import plant

NAME = "titles"
DOWN_SECONDS = 5


@pytest.fixture
def whole(own):
    """The cluster's components run again afterwards."""
    yield
    start()


def start():
    """Start the components that do not run."""
    done = subprocess.run([sys.executable, "-m", "tests.cluster", "up"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "made anew" not in done.stderr, done.stderr


def kill(program):
    """Kill a component; return when it is gone."""
    pids = [pid for pid in processes.members(processes.OWN) if Path(f"/proc/{pid}/exe").resolve().name == program]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(pid in processes.members(processes.OWN) for pid in pids):
        time.sleep(0.05)


def test_an_api_server_that_is_killed_and_comes_back_only_delays_a_rollout(whole, platform, images, load):
    champion = promoted(platform, images, NAME)
    restart = threading.Timer(DOWN_SECONDS, start)

    def sleep(seconds):
        if restart.ident is None:
            kill("kube-apiserver")
            restart.start()
        time.sleep(seconds)

    with load(NAME) as asked:
        begin = time.monotonic()
        verdict = roll_out(platform, NAME, images.target("2"), images.proof("2"), champion, RULES.canary, sleep=sleep)
        took = time.monotonic() - begin
        restart.join()
    print(f"API server away for {DOWN_SECONDS} s and its start: promoted in {took:.1f} s; {asked.failures} failures")
    assert verdict.outcome == Rollout.PROMOTED, verdict.reasons
    assert asked.failed == []
    assert platform.release(NAME, "stable").digest == images.digests["2"]


def test_a_registry_that_is_away_at_the_pull_rolls_back(whole, platform, images, load, tmp_path):
    champion = promoted(platform, images, NAME)
    below = ("titles", champion.digest)
    images.digests["2-new"] = str(images.remote.append(below, plant("wrong", tmp_path), {"new": "yes"}, "titles:2-new"))
    kill("docker-registry")
    with load(NAME) as asked:
        begin = time.monotonic()
        verdict = roll_out(platform, NAME, images.target("2-new"), images.proof("2"), champion, RULES.canary)
        took = time.monotonic() - begin
    print(f"registry away: rolled back in {took:.1f} s; {asked.failures} failures; {verdict.reasons[0][:200]}")
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert "ErrImagePull" in verdict.reasons[0] or "ImagePullBackOff" in verdict.reasons[0]
    stable = platform.release(NAME, "stable")
    assert (stable.digest, stable.ready, asked.failed) == (champion.digest, True, [])


def test_a_version_that_no_node_has_room_for_is_rolled_back(settings, platform, images):
    champion = promoted(platform, images, NAME)
    rules = RULES.model_copy(update={"resources": Resources(cpu="640", memory="512Mi")})
    greedy = KubernetesPlatform(settings, images.remote.repository, rules)
    begin = time.monotonic()
    verdict = roll_out(greedy, NAME, images.target("2"), images.proof("2"), champion, rules.canary)
    print(f"no room: rolled back in {time.monotonic() - begin:.1f} s; {verdict.reasons[0][:200]}")
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert "finds no node: " in verdict.reasons[0]
    assert "Insufficient cpu" in verdict.reasons[0]
    stable = platform.release(NAME, "stable")
    assert (stable.digest, stable.ready, platform.release(NAME, "canary")) == (champion.digest, True, None)
