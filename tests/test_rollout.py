from datetime import timedelta

import numpy as np
import pytest

from pipeline.config import Canary
from pipeline.errors import Permanent, Temporary
from pipeline.manifest import Golden
from pipeline.observation import SECONDS, Observation, grouped
from pipeline.rollout import LOOK_SECONDS, Proof, Release, Target, roll_out
from pipeline.verdict import Rollout

OLD, NEW = "sha256:old", "sha256:new"
GOLDEN = Golden([{"title": "a"}, {"title": "b"}], ["A", "B"])
FRESH = Golden([{"title": f"row {i}"} for i in range(450)], [f"ROW {i}" for i in range(450)])
PROOF = Proof(GOLDEN, FRESH)
CHAMPION, CHALLENGER = Target("1", OLD), Target("2", NEW)
RULES = Canary(steps=[10, 50], hold=timedelta(seconds=10 * LOOK_SECONDS), requests=100)
TICKS = 20


def served(requests, errors=0, slow=0, answers=("A", "B", "C", "D")):
    """What a server has counted of so many requests; ``slow`` of them took 0.3 s, the others 3 ms."""
    slower = np.array([requests if bound < 0.003 else slow if bound < 0.3 else 0 for bound in SECONDS])
    return Observation(requests, errors, slower, grouped(answers) * requests // len(answers))


STABLE = served(20)


def as_trained(rows):
    return [row["title"].upper() for row in rows]


def wrong(rows):
    return ["?"] * len(rows)


def first_fifty(rows):
    return [*as_trained(rows[:50]), *[None] * (len(rows) - 50)]


def broken(rows):
    raise Permanent("500: it does not answer")


class Memory:
    """A platform that runs releases in memory.

    ``answers``: what a digest answers, by role. ``fails``: calls that raise Permanent, before or after their effect.
    ``live``: what canary and baseline serve between two looks, when it can split live requests.
    """

    def __init__(self, stable=OLD, answers=None, fails=(), live=None):
        self.live = live
        self.counted = {"canary": Observation(), "baseline": Observation(), "stable": Observation()}
        self.ticks = 0
        self.running = {"stable": self._release(stable)} if stable else {}
        self.answers = answers or {}
        self.fails = set(fails)
        self.calls = []
        self.history = []
        self.interrupted_at = None

    def release(self, name, role):
        self._call("release", role)
        return self.running.get(role)

    def start_canary(self, name, version, digest):
        with self._fallible("start_canary", digest):
            self.running["canary"] = self._release(digest, version)
        return self.running["canary"]

    def predict(self, name, role, rows):
        self._call("predict", role, len(rows))
        runs = "stable" if role == "baseline" else role
        if runs not in self.running:
            raise Permanent(f"{role} does not run")
        answers = self.answers.get((self.running[runs].digest, role), as_trained)(rows)
        self.counted[role] += served(1, answers=("A",)) if len(rows) == 1 else Observation(1)
        return answers

    def split(self, name, percent):
        self._call("split", percent)
        if self.live is not None:
            # The servers may be started anew for that.
            self.counted = dict.fromkeys(self.counted, Observation())
        return self.live is not None

    def observe(self, name, role):
        self._call("observe", role)
        return self.counted[role]

    def sleep(self, seconds):
        assert seconds == LOOK_SECONDS
        self.ticks += 1
        for role, more in zip(("canary", "baseline", "stable"), (*self.live, STABLE), strict=True):
            self.counted[role] += more

    def promote(self, name):
        with self._fallible("promote", self.running["canary"].digest):
            self.running["stable"] = self.running["canary"]
        return self.running["stable"]

    def remove_canary(self, name):
        with self._fallible("remove_canary", ""):
            self.running.pop("canary", None)

    def remove(self, name):
        with self._fallible("remove", ""):
            self.running.clear()

    def digest(self, role):
        return self.running[role].digest if role in self.running else None

    def _release(self, digest, version="1"):
        return Release(version, digest, True, f"http://{digest}")

    def _call(self, *call):
        if len(self.calls) == self.interrupted_at:
            self.interrupted_at = None
            raise Temporary("the process is killed here")
        self.calls.append(call)
        self.history.append(self.digest("stable"))

    def _fallible(self, name, digest):
        self._call(name, digest)
        return _Effect(self.fails, name, digest)


class _Effect:
    def __init__(self, fails, name, digest):
        self.fails, self.what = fails, (name, digest)

    def __enter__(self):
        self._fail("before")

    def __exit__(self, *raised):
        self._fail("after")

    def _fail(self, when):
        if (*self.what, when) in self.fails:
            raise Permanent(f"{self.what[0]} fails {when} its effect")


def test_a_proven_version_replaces_the_old_one():
    platform = Memory()
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert verdict.outcome == Rollout.PROMOTED
    assert verdict.reasons == (
        "2 golden rows answered as trained, 450 fresh rows as without a server",
        "compared on 0 live requests, 0 of the champion beside it; replayed 100 fresh rows one by one",
    )
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)
    assert platform.running["stable"].version == "2"


def test_canary_and_stable_answer_every_row_in_batches_before_it_is_called_promoted():
    platform = Memory()
    roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, None)
    asked = [call for call in platform.calls if call[0] in ("predict", "promote")]
    proof = [2, 200, 200, 50]
    assert asked == [
        *[("predict", "canary", rows) for rows in proof],
        ("promote", NEW),
        *[("predict", "stable", rows) for rows in proof],
    ]


def test_live_requests_are_split_by_steps_and_watched_for_as_long_as_configured():
    platform = Memory(live=(served(10), served(10)))
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert [call[1] for call in platform.calls if call[0] == "split"] == [10, 50]
    assert platform.ticks == TICKS
    assert verdict.outcome == Rollout.PROMOTED
    assert verdict.reasons[1] == (
        "compared on 200 live requests, 200 of the champion beside it; "
        "at 10 % it had 25% of the requests; at 50 % it had 25% of the requests"
    )
    assert (verdict.numbers["canary_requests"], verdict.numbers["canary_errors"]) == (200, 0)


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (served(100, errors=5), "errors: 15 of 300 requests, 0 of 300 beside it"),
        (served(100, slow=50), "latency: 50% of the requests took longer than"),
        (served(100, answers=("A", "A", "A", "D")), "apart from those beside it on live requests"),
    ],
)
def test_a_canary_that_serves_worse_than_the_champion_beside_it_is_rolled_back_early(canary, words):
    platform = Memory(live=(canary, served(100)))
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert (verdict.outcome, platform.digest("stable"), platform.digest("canary")) == (Rollout.ROLLED_BACK, OLD, None)
    assert words in verdict.reasons[0]
    assert platform.ticks < TICKS


def test_without_live_requests_and_without_fresh_rows_a_version_is_held_and_the_champion_stays():
    platform = Memory(live=(Observation(), Observation()))
    proof = Proof(GOLDEN, Golden([], []))
    verdict = roll_out(platform, "toy", CHALLENGER, proof, CHAMPION, RULES, platform.sleep)
    assert (verdict.outcome, platform.digest("stable"), platform.digest("canary")) == (Rollout.HELD, OLD, None)
    assert "no fresh rows to replay instead" in verdict.reasons[0]


def test_a_replay_that_goes_worse_than_the_champions_is_a_fault():
    platform = Memory()
    counts = iter([*[Observation()] * 3, served(100, errors=100), served(100), Observation()])
    platform.observe = lambda name, role: next(counts)
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert (verdict.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, OLD)
    assert verdict.reasons == ("errors: 100 of 100 requests, 0 of 100 beside it",)


def test_what_has_proven_itself_before_is_brought_back_without_being_compared():
    platform = Memory(live=(served(100, errors=100), served(100)))
    assert roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION).outcome == Rollout.PROMOTED
    assert platform.ticks == 0


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ({"fails": [("start_canary", NEW, "before")]}, "start_canary fails before"),
        ({"fails": [("start_canary", NEW, "after")]}, "start_canary fails after"),
        ({"answers": {(NEW, "canary"): wrong}}, "canary: golden row 0 is answered '?', at training"),
        ({"answers": {(NEW, "canary"): lambda rows: [None] * len(rows)}}, "canary: golden row 0 is answered None"),
        ({"answers": {(NEW, "canary"): lambda rows: as_trained(rows)[:199]}}, "canary: 450 fresh rows got 448 answers"),
        ({"answers": {(NEW, "canary"): first_fifty}}, "canary: fresh row 50 is answered None"),
        ({"answers": {(NEW, "canary"): broken}}, "500: it does not answer"),
        ({"fails": [("promote", NEW, "before")]}, "promote fails before"),
        ({"fails": [("promote", NEW, "after")]}, "promote fails after"),
        ({"answers": {(NEW, "stable"): wrong}}, "stable: golden row 0 is answered '?'"),
        ({"answers": {(NEW, "stable"): broken}}, "500: it does not answer"),
    ],
)  # fmt: skip
def test_whatever_fails_the_old_version_serves_afterwards_and_no_canary_is_left(platform, words):
    platform = Memory(**platform)
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert words in verdict.reasons[0]
    assert (platform.digest("stable"), platform.digest("canary")) == (OLD, None)
    assert platform.running["stable"].version == "1"
    assert None not in platform.history


def test_a_canary_is_never_promoted_before_it_is_proven():
    platform = Memory(answers={(NEW, "canary"): wrong})
    roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert set(platform.history) == {OLD}


def test_what_differs_is_told_row_by_row_but_not_without_end():
    platform = Memory(answers={(NEW, "canary"): lambda rows: [None] * len(rows)})
    assert len(roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep).reasons) == 2 + 5 + 1


def test_a_version_that_serves_already_is_proven_there_and_a_canary_beside_it_removed():
    platform = Memory(stable=NEW)
    platform.running["canary"] = platform._release(NEW)
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert verdict.outcome == Rollout.PROMOTED
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)
    assert {call[:2] for call in platform.calls if call[0] == "predict"} == {("predict", "stable")}


def test_a_version_that_serves_already_and_is_not_fit_gives_way_to_the_champion():
    platform = Memory(stable=NEW, answers={(NEW, "stable"): wrong})
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
    assert (verdict.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, OLD)


def test_a_champion_that_is_not_fit_is_left_to_serve_and_told():
    platform = Memory(stable=NEW, answers={(NEW, "stable"): wrong})
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHALLENGER, RULES, platform.sleep)
    assert (verdict.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, NEW)


def test_a_version_that_is_there_but_not_ready_is_rolled_out_anew():
    platform = Memory()
    platform.running["stable"] = Release("2", NEW, False, "http://nowhere")
    assert roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep).outcome == Rollout.PROMOTED
    assert platform.running["stable"].ready


def test_the_first_version_of_a_model_needs_no_old_one():
    platform = Memory(stable=None)
    assert roll_out(platform, "toy", CHALLENGER, PROOF, None, RULES, platform.sleep).outcome == Rollout.PROMOTED
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)


@pytest.mark.parametrize("role", ["canary", "stable"])
def test_a_first_version_that_is_not_fit_is_not_served(role):
    platform = Memory(stable=None, answers={(NEW, role): broken})
    assert roll_out(platform, "toy", CHALLENGER, PROOF, None, RULES, platform.sleep).outcome == Rollout.ROLLED_BACK
    assert platform.running == {}


def test_an_old_version_that_cannot_be_brought_back_is_said_together_with_why_it_should_be():
    fails = [("promote", OLD, "before")]
    platform = Memory(answers={(NEW, "stable"): broken}, fails=fails)
    with pytest.raises(Permanent, match=r"version 2 is not fit: 500: it does not answer; .*promote fails before"):
        roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)


@pytest.mark.parametrize("answers", [{}, {(NEW, "canary"): broken}, {(NEW, "stable"): broken}])
def test_killed_anywhere_a_whole_version_serves_and_the_next_run_ends(answers):
    undisturbed = Memory(answers=answers)
    roll_out(undisturbed, "toy", CHALLENGER, PROOF, CHAMPION, RULES, undisturbed.sleep)
    for kill in range(len(undisturbed.calls)):
        platform = Memory(answers=answers)
        platform.interrupted_at = kill
        with pytest.raises(Temporary):
            roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
        assert platform.digest("stable") in (OLD, NEW)
        again = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION, RULES, platform.sleep)
        assert platform.digest("canary") is None
        assert set(platform.history) <= {OLD, NEW}
        if not answers:
            assert (again.outcome, platform.digest("stable")) == (Rollout.PROMOTED, NEW)
        else:
            assert (again.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, OLD)
