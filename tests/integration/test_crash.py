"""A run that is killed and run again ends as an undisturbed one, and production serves whole versions all along."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline import artifact
from pipeline.data import frame
from tests.installation import BOOTSTRAP, RECOVERED, at, opened, zeta
from tests.loopback import Client

KILLED = Path(__file__).with_name("killed.py")
TITLES = ["文庫 新品", "冷蔵庫 中古", "万年筆 新品"]
# When to kill: at a share of an undisturbed run's time; when a step has answered; right after a call.
BOOTSTRAP_KILLS = [
    0.15, "evaluate", 0.3, "decide", 0.4, "train", 0.5, "gate", 0.6, "build-image", 0.7, 0.8, "roll-out",
]  # fmt: skip
RETRAIN_KILLS = [
    ("Registry.add_points", 1), "evaluate", "decide", ("Registry.register", 1), "train", ("Registry.add_points", 2),
    "gate", ("Layout.append_model", 1), "build-image", ("LocalPlatform.start_canary", 1), ("LocalPlatform.promote", 1),
    ("Registry.set_alias", 1), ("Registry.set_alias", 2), "roll-out",
]  # fmt: skip
ROLLBACK_KILLS = [
    ("Registry.set_note", 1), ("LocalPlatform.start_canary", 1), ("LocalPlatform.promote", 1),
    ("Registry.set_alias", 1),
]  # fmt: skip


def client(installation, name):
    """Return a client that asks the toy that serves for as long as it is entered."""
    columns = (("title", "BYTES", TITLES), ("weight", "FP64", [1.0] * len(TITLES)))
    inputs = [{"name": title, "shape": [len(TITLES)], "datatype": kind, "data": data} for title, kind, data in columns]
    return Client(installation.address(name), name, inputs)


@pytest.fixture(scope="module")
def installation(tmp_path_factory, tracking_uri):
    with opened(tmp_path_factory.mktemp("crash"), tracking_uri) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(installation):
    """What a model looks like after each run, and how long the first one took, in seconds."""
    name, states = installation.toy(alerts=[]), []
    for day in (BOOTSTRAP, RECOVERED):
        begin = time.monotonic()
        done = installation.zeta("run", name, "--at", at(day))
        assert done.returncode == 0, done.stderr
        states.append((state(installation, name), time.monotonic() - begin))
    return states


@pytest.fixture(scope="module")
def bootstrapped(installation, undisturbed):
    """A model whose first run was killed again and again, and its state at last."""
    name = installation.toy(alerts=[])
    for kill in BOOTSTRAP_KILLS:
        killed(installation, kill, undisturbed[0][1], "run", name, "--at", at(BOOTSTRAP))
    done = installation.zeta("run", name, "--at", at(BOOTSTRAP))
    assert done.returncode == 0, done.stderr
    return name, state(installation, name)


@pytest.fixture(scope="module")
def retrained(installation, undisturbed, bootstrapped):
    """The same model, its state after a killed retraining, and the client that asked it meanwhile."""
    name, _ = bootstrapped
    with client(installation, name) as asking:
        for kill in RETRAIN_KILLS:
            killed(installation, kill, undisturbed[1][1], "run", name, "--at", at(RECOVERED))
            assert installation.served(name)["ready"]
        done = installation.zeta("run", name, "--at", at(RECOVERED))
        assert done.returncode == 0, done.stderr
    return name, state(installation, name), asking


def killed(installation, kill, whole, *command):
    """Start a command and kill it; a share of time may come when it has ended, anything else must be met."""
    after = [sys.executable, KILLED, kill[0], str(kill[1])] if isinstance(kill, tuple) else [zeta()]
    process = subprocess.Popen(
        [*after, *map(str, command)], env=os.environ | {"TMPDIR": str(installation.folder)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if isinstance(kill, float):
        try:
            process.wait(kill * whole)
        except subprocess.TimeoutExpired:
            process.kill()
    said = []
    for line in process.stderr:
        said.append(line)
        if isinstance(kill, str) and f": {kill} {{" in line:
            process.kill()
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL or (isinstance(kill, float) and process.returncode == 0), "".join(said)


def state(installation, name):
    """Return what must be the same however often a run was killed: all but times and what a fit leaves to chance."""
    seen = installation.seen(name)
    for tags in seen["versions"].values():
        tags.pop("digest", None)
    for metrics in seen["metrics"].values():
        for key in [key for key in metrics if key.startswith("seconds_")]:
            del metrics[key]
    digest = installation.registry.aliased(name, "champion").tag("digest")
    seen["releases"] = {role: found and (found[0], found[1] == digest) for role, found in seen["releases"].items()}
    return seen


def answers(installation, name, tmp_path):
    """Return (version, *answers) of each version, from its files in the registry."""
    found = set()
    for version in installation.registry.versions(name):
        model = artifact.load(installation.registry.download(version, tmp_path / version.number))
        rows = frame([{"title": title, "weight": 1.0} for title in TITLES], model.manifest.features)
        found.add((version.number, *model.predict(rows).tolist()))
    return found


def test_a_killed_bootstrap_ends_as_an_undisturbed_one(undisturbed, bootstrapped):
    assert bootstrapped[1] == undisturbed[0][0]
    assert bootstrapped[1]["aliases"] == {"champion": "1", "challenger": "1"}
    assert bootstrapped[1]["releases"] == {"stable": ("1", True), "canary": None}


def test_a_killed_retraining_ends_as_an_undisturbed_one(undisturbed, retrained):
    assert retrained[1] == undisturbed[1][0]
    assert retrained[1]["aliases"] == {"champion": "2", "challenger": "2", "previous": "1"}
    assert retrained[1]["releases"] == {"stable": ("2", True), "canary": None}
    tags = retrained[1]["runs"][at(RECOVERED).isoformat()]
    assert (tags["verdict"], tags["gate"], tags["rollout"]) == ("retrain", "promote", "promoted")


def test_all_along_clients_got_whole_answers_of_one_of_the_two_versions(installation, retrained, tmp_path):
    name, _, asking = retrained
    assert asking.failures == []
    assert {said for _, _, said in asking.answers} == answers(installation, name, tmp_path)


@pytest.mark.parametrize("last", ["rollback", "evaluate"])
def test_a_killed_rollback_is_completed_by_the_next_one_or_the_next_run(installation, retrained, last):
    name = retrained[0]
    before = state(installation, name)["aliases"]
    with client(installation, name) as asking:
        for kill in ROLLBACK_KILLS:
            killed(installation, kill, 0, "rollback", name)
        done = installation.zeta(last, name)
        assert done.returncode == 0, done.stderr
    after = state(installation, name)
    assert (after["aliases"]["champion"], after["aliases"]["previous"]) == (before["previous"], before["champion"])
    assert after["releases"] == {"stable": (before["previous"], True), "canary": None}
    assert "zeta.rollback" not in after["notes"]
    assert asking.failures == []


def test_nothing_that_a_killed_run_had_started_goes_on(installation, retrained):
    deadline = time.monotonic() + 30
    while left := batches(installation):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def batches(installation):
    """Return the command lines of processes that predict for a run of this installation."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        # A process that has ended since it was listed is none that goes on.
        with suppress(FileNotFoundError, ProcessLookupError):
            command = entry.read_bytes().decode().split("\0")
            if "pipeline.serving.batch" in command and any(str(installation.folder) in part for part in command):
                found.append(command)
    return found
