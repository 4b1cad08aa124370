"""All of `zeta` on a real cluster, run from outside of it: degraded, promoted, killed, refused, by hand."""

import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import workspace
from tests.cluster.objects import free, lease, settled, tracks, written
from tests.cluster.outside import asked, landed, rows, run, status, trained
from tests.installation import BOOTSTRAP, RECOVERED, at, opened, zeta
from tests.integration.test_crash import killed
from tests.ports import free_port

HOLD = 2
ROLLOUT = {
    "canary": {"steps": [50], "hold": f"{HOLD}s", "requests": 20},
    "resources": {"cpu": "50m", "memory": "512Mi"},
}
WHY = "it knows the new words"
INTRODUCED = {"stable": "1", "baseline": "1", "canary": "2"}
# What is killed, right after which call (the first, the second), and what there is then: tracks, and the champion.
KILLS = [
    ("run", "Remote.append_model", 1, {"stable": "1"}, "1"),
    ("run", "KubernetesPlatform.split", 1, INTRODUCED, "1"),
    # As a scheduler does it: the step alone once more, on what the killed one has left.
    ("roll-out", "KubernetesPlatform.start_canary", 1, INTRODUCED, "1"),
    ("roll-out", "KubernetesPlatform.promote", 1, {"stable": "2", "canary": "2"}, "1"),
    ("run", "KubernetesPlatform.remove_canary", 1, {"stable": "2"}, "1"),
    ("run", "Registry.set_alias", 1, {"stable": "2"}, "1"),
    ("run", "Registry.set_alias", 2, {"stable": "2"}, "2"),
]


def await_(met, what):
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def installation(cluster, namespace, base_image, tmp_path_factory, tracking_uri):
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("loop"), tracking_uri) as made:
        patch.setenv("ZETA_PLATFORM", "kubernetes")
        patch.setenv("ZETA_NAMESPACE", namespace)
        patch.setenv("ZETA_BASE_IMAGE", base_image)
        yield made
        names = [folder.name for folder in (made.folder / "models").iterdir()]
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: workspace.load(name).platform.remove(name), names))


@pytest.fixture(scope="module")
def pair(installation):
    """Two models whose first versions two processes have rolled out at once; and how these ran."""
    names = [installation.toy(alerts=[], rollout=ROLLOUT, data={"features": ["title"]}) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: run("run", name, "--at", at(BOOTSTRAP)), names))
    return names, done


@pytest.fixture(scope="module")
def abandoned(installation, namespace, pair):
    """The Lease of the second one as a killed process has left it, and what the next process came to."""
    name = pair[0][1]
    command = ("evaluate", name, "--at", at(RECOVERED))
    killed(installation, ("KubernetesPlatform.remove_canary", 1), 0, *command)
    return lease(namespace, name).spec, run(*command)


@pytest.fixture(scope="module")
def promoted(installation, namespace, pair, abandoned):
    """The first one's degraded morning, undisturbed: how it ran, what it ended in, what its clients were told; and
    the objects of the second one, before and after."""
    [first, second], _ = pair
    before = settled(namespace, second)
    with asked(namespace, first) as clients:
        done = run("run", first, "--at", at(RECOVERED))
    return done, landed(installation, namespace, first), clients, (before, written(namespace, second))


@pytest.fixture(scope="module")
def admitted(pair, abandoned, promoted):
    """The first process that is let in to the second one again, and how long after the killed one's last sign of life.

    Meanwhile the first one has been rolled out."""
    while (done := run("evaluate", pair[0][1], "--at", at(RECOVERED))).code == 75:
        assert datetime.now(UTC) < abandoned[0].renew_time + timedelta(minutes=2), done.said
        time.sleep(1)
    return done, datetime.now(UTC) - abandoned[0].renew_time


@pytest.fixture(scope="module")
def swept(installation, namespace, pair, admitted):
    """The second one's degraded morning, killed again and again: what there was after each kill, what it ended in,
    what its clients were told."""
    [_, name], _ = pair
    moments, begin = [], time.monotonic()
    with asked(namespace, name) as clients:
        for command, place, call, _, _ in KILLS:
            killed(installation, (place, call), 0, command, name, "--at", at(RECOVERED))
            answers = installation.ask(name, rows())
            champion = installation.registry.aliased(name, "champion").number
            now = {role: (track["version"], track["weight"]) for role, track in tracks(namespace, name).items()}
            moments.append((now, champion, answers))
            print(f"{time.monotonic() - begin:.1f} s: {command} killed after {place} {call}: {now}")
            free(namespace, name)
        done = run("run", name, "--at", at(RECOVERED))
    assert done.code == 0, done.said
    return moments, landed(installation, namespace, name), clients


def test_two_models_are_rolled_out_at_once_by_two_processes(installation, pair):
    names, done = pair
    assert [one.code for one in done] == [0, 0], [one.said for one in done]
    begins, ends = ([one.steps[step] for one in done] for step in ("build-image", "roll-out"))
    both = min(ends) - max(begins)
    print(f"roll-outs of {ends[0] - begins[0]:.1f} s and {ends[1] - begins[1]:.1f} s, {both:.1f} s of them at once")
    assert both > 0
    for name in names:
        assert installation.ask(name, rows()) == trained(installation, name, "1")


def test_a_degraded_champion_is_replaced_and_the_pods_answer_as_the_new_version(installation, pair, promoted):
    name, (done, seen, clients, _) = pair[0][0], promoted
    assert done.code == 0, done.said
    beyond = done.steps["roll-out"] - done.steps["gate"] - HOLD
    print(f"degraded to promoted, beyond training and hold: {beyond:.1f} s; its clients were told {clients.said}")
    tags = seen["runs"][at(RECOVERED).isoformat()]
    assert (tags["verdict"], tags["gate"], tags["rollout"]) == ("retrain", "promote", "promoted")
    assert seen["aliases"] == {"champion": "2", "challenger": "2", "previous": "1"}
    assert seen["tracks"] == {"stable": ("2", True, 2, 100)}
    assert seen["deployments"] == {"stable": (True, 2, 2)}
    assert installation.ask(name, rows()) == trained(installation, name, "2") != trained(installation, name, "1")
    assert (clients.failed, set(clients.said)) == ([], {"1", "2"})


def test_a_roll_out_writes_to_no_object_of_another_model(promoted):
    before, after = promoted[-1]
    print(f"{len(before)} objects, of {len({key.partition(' ')[0] for key in before})} kinds")
    assert {"Deployment", "Pod", "Secret", "Service", "Lease"} <= {key.partition(" ")[0] for key in before}
    assert after == before


def test_the_lease_of_a_killed_process_ends_by_itself(abandoned, admitted):
    (left, refused), (done, waited) = abandoned, admitted
    print(f"refused: {refused.said.strip()}; let in {waited.total_seconds():.1f} s after the last renewal")
    assert refused.code == 75
    assert f"{left.holder_identity} is at work on its release since" in refused.said
    assert done.code == 0, done.said
    assert waited.total_seconds() > left.lease_duration_seconds


@pytest.mark.usefixtures("admitted")
def test_a_paused_model_is_not_retrained_and_the_status_says_so(pair):
    name = pair[0][1]
    assert run("pause", name, "--reason", "the shop is being rebuilt").code == 0
    done = run("run", name, "--at", at(RECOVERED))
    assert (done.code, list(done.steps)) == (0, ["evaluate", "decide"]), done.said
    told = status(name)
    assert told["paused"].startswith("the shop is being rebuilt (since ")
    assert (told["release"], told["servers"], told["verdict"]) == ("v1 ready", "2/2", "keep")
    assert run("resume", name).code == 0
    assert status(name)["paused"] is None


@pytest.mark.usefixtures("admitted")
def test_without_the_registry_a_run_is_to_be_tried_again_and_production_is_untouched(installation, namespace, pair):
    name, dead = pair[0][1], f"127.0.0.1:{free_port()}"
    # The registry may know a model of this name from another day.
    before, tag = settled(namespace, name), workspace.load(name).images.find(f"{name}:2")
    for command, steps in (("run", ["evaluate", "decide", "train", "gate"]), ("build-image", [])):
        done = run(command, name, "--at", at(RECOVERED), ZETA_REGISTRY=dead)
        print(done.said.splitlines()[-1])
        assert (done.code, list(done.steps)) == (75, steps)
        assert re.findall("^Temporary: .*", done.said, re.MULTILINE) == done.said.splitlines()[-1:]
        assert f"registry {dead} does not answer" in done.said
        assert "Traceback" not in done.said
    assert workspace.load(name).images.find(f"{name}:2") == tag
    assert "digest" not in installation.registry.version(name, "2").tags
    after = settled(namespace, name)
    assert {key for key in before | after if before.get(key) != after.get(key)} == {f"Lease zeta-{name}"}


def test_killed_anywhere_a_roll_out_ends_as_an_undisturbed_one(promoted, swept):
    assert swept[1] == promoted[1]


def test_between_the_kills_one_version_answers_and_nobody_is_without_an_answer(installation, pair, swept):
    name, (moments, _, clients) = pair[0][1], swept
    print(f"its clients were told {clients.said}")
    for (_, place, _, expected, champion), (now, named, answers) in zip(KILLS, moments, strict=True):
        assert ({role: version for role, (version, _) in now.items()}, named) == (expected, champion), place
        assert sum(weight for _, weight in now.values()) >= 100, (place, now)
        assert answers == trained(installation, name, expected["stable"]), place
    assert (clients.failed, set(clients.said)) == ([], {"1", "2"})


def test_while_one_process_is_at_work_another_is_refused_and_the_status_shows_the_canary(installation, namespace, pair):
    name = pair[0][0]
    platform = workspace.load(name).platform
    first = subprocess.Popen([zeta(), "rollback", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        await_(lambda: platform.release(name, "canary") is not None, "a canary")
        first.send_signal(signal.SIGSTOP)
        await_(lambda: platform.release(name, "canary").ready, "a canary that is ready")
        before, told = settled(namespace, name), status(name)
        refused = run("run", name, "--at", at(RECOVERED + 1))
        assert settled(namespace, name) == before
    finally:
        first.send_signal(signal.SIGCONT)
        said, _ = first.communicate()
    print(refused.said.splitlines()[-1])
    assert refused.code == 75
    assert re.search(rf"^Temporary: zeta-{name}: \S+-{first.pid}-\w+ is at work", refused.said, re.MULTILINE)
    assert (told["release"], told["servers"], told["canary"]) == ("v2 ready", "2/2", "v1 ready")
    assert first.returncode == 0, said
    told = status(name)
    assert (told["champion"], told["release"], told["canary"]) == ("1", "v1 ready", None)
    assert told["address"] == f"http://{name}.{namespace}.svc"
    assert installation.ask(name, rows()) == trained(installation, name, "1")
    assert at(RECOVERED + 1).isoformat() not in installation.seen(name)["runs"]


def test_a_promotion_by_hand_that_is_killed_while_pods_are_replaced_is_completed_by_the_next(
    installation, namespace, pair
):
    name = pair[0][0]
    command = ("promote", name, "--version", "2", "--reason", WHY, "--at", at(RECOVERED))
    killed(installation, ("Helm.upgrade", 3), 0, *command)
    told, now = status(name), {role: track["version"] for role, track in tracks(namespace, name).items()}
    print(f"after the kill: {now}, {told['release']}, {told['servers']} pods ready")
    assert now == {"stable": "2", "canary": "2"}
    assert installation.ask(name, rows()) in [trained(installation, name, number) for number in "12"]
    assert installation.registry.aliased(name, "champion").number == "1"
    free(namespace, name)
    done = run(*command)
    assert done.code == 0, done.said
    told, seen = status(name), landed(installation, namespace, name)
    assert (told["champion"], told["release"], told["servers"], told["canary"]) == ("2", "v2 ready", "2/2", None)
    assert seen["tracks"] == {"stable": ("2", True, 2, 100)}
    assert seen["aliases"] == {"champion": "2", "challenger": "2", "previous": "1"}
    assert seen["versions"]["2"]["by_hand"].startswith(f"{WHY} (")
    assert installation.ask(name, rows()) == trained(installation, name, "2")
