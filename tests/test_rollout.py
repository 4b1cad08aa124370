import pytest

from pipeline.errors import Permanent, Temporary
from pipeline.manifest import Golden
from pipeline.rollout import Proof, Release, Target, roll_out
from pipeline.verdict import Rollout

OLD, NEW = "sha256:old", "sha256:new"
GOLDEN = Golden([{"title": "a"}, {"title": "b"}], ["A", "B"])
FRESH = [{"title": f"row {i}"} for i in range(450)]
PROOF = Proof(GOLDEN, FRESH)
CHAMPION, CHALLENGER = Target("1", OLD), Target("2", NEW)


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
    """

    def __init__(self, stable=OLD, answers=None, fails=()):
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
        if role not in self.running:
            raise Permanent(f"{role} does not run")
        return self.answers.get((self.running[role].digest, role), as_trained)(rows)

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
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    assert verdict.outcome == Rollout.PROMOTED
    assert verdict.reasons == ("2 golden rows answered as trained, 450 fresh rows without an error",)
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)
    assert platform.running["stable"].version == "2"


def test_canary_and_stable_answer_every_row_in_batches_before_it_is_called_promoted():
    platform = Memory()
    roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    asked = [call for call in platform.calls if call[0] in ("predict", "promote")]
    proof = [2, 200, 200, 50]
    assert asked == [
        *[("predict", "canary", rows) for rows in proof],
        ("promote", NEW),
        *[("predict", "stable", rows) for rows in proof],
    ]


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ({"fails": [("start_canary", NEW, "before")]}, "start_canary fails before"),
        ({"fails": [("start_canary", NEW, "after")]}, "start_canary fails after"),
        ({"answers": {(NEW, "canary"): wrong}}, "canary: golden row 0 is answered '?', at training"),
        ({"answers": {(NEW, "canary"): lambda rows: [None] * len(rows)}}, "canary: golden row 0 is answered None"),
        ({"answers": {(NEW, "canary"): lambda rows: as_trained(rows)[:199]}}, "canary: 200 fresh rows got 199 answers"),
        ({"answers": {(NEW, "canary"): first_fifty}}, "canary: 200 fresh rows got 200 answers"),
        ({"answers": {(NEW, "canary"): broken}}, "500: it does not answer"),
        ({"fails": [("promote", NEW, "before")]}, "promote fails before"),
        ({"fails": [("promote", NEW, "after")]}, "promote fails after"),
        ({"answers": {(NEW, "stable"): wrong}}, "stable: golden row 0 is answered '?'"),
        ({"answers": {(NEW, "stable"): broken}}, "500: it does not answer"),
    ],
)  # fmt: skip
def test_whatever_fails_the_old_version_serves_afterwards_and_no_canary_is_left(platform, words):
    platform = Memory(**platform)
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert words in verdict.reasons[0]
    assert (platform.digest("stable"), platform.digest("canary")) == (OLD, None)
    assert platform.running["stable"].version == "1"
    assert None not in platform.history


def test_a_canary_is_never_promoted_before_it_is_proven():
    platform = Memory(answers={(NEW, "canary"): wrong})
    roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    assert set(platform.history) == {OLD}


def test_every_difference_is_a_reason():
    platform = Memory(answers={(NEW, "canary"): lambda rows: [None] * len(rows)})
    assert len(roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION).reasons) == 2 + 3


def test_a_version_that_serves_already_is_proven_there_and_a_canary_beside_it_removed():
    platform = Memory(stable=NEW)
    platform.running["canary"] = platform._release(NEW)
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    assert verdict.outcome == Rollout.PROMOTED
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)
    assert {call[:2] for call in platform.calls if call[0] == "predict"} == {("predict", "stable")}


def test_a_version_that_serves_already_and_is_not_fit_gives_way_to_the_champion():
    platform = Memory(stable=NEW, answers={(NEW, "stable"): wrong})
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
    assert (verdict.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, OLD)


def test_a_champion_that_is_not_fit_is_left_to_serve_and_told():
    platform = Memory(stable=NEW, answers={(NEW, "stable"): wrong})
    verdict = roll_out(platform, "toy", CHALLENGER, PROOF, CHALLENGER)
    assert (verdict.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, NEW)


def test_a_version_that_is_there_but_not_ready_is_rolled_out_anew():
    platform = Memory()
    platform.running["stable"] = Release("2", NEW, False, "http://nowhere")
    assert roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION).outcome == Rollout.PROMOTED
    assert platform.running["stable"].ready


def test_the_first_version_of_a_model_needs_no_old_one():
    platform = Memory(stable=None)
    assert roll_out(platform, "toy", CHALLENGER, PROOF, None).outcome == Rollout.PROMOTED
    assert (platform.digest("stable"), platform.digest("canary")) == (NEW, None)


@pytest.mark.parametrize("role", ["canary", "stable"])
def test_a_first_version_that_is_not_fit_is_not_served(role):
    platform = Memory(stable=None, answers={(NEW, role): broken})
    assert roll_out(platform, "toy", CHALLENGER, PROOF, None).outcome == Rollout.ROLLED_BACK
    assert platform.running == {}


def test_an_old_version_that_cannot_be_brought_back_is_said_together_with_why_it_should_be():
    fails = [("promote", OLD, "before")]
    platform = Memory(answers={(NEW, "stable"): broken}, fails=fails)
    with pytest.raises(Permanent, match=r"version 2 is not fit: 500: it does not answer; .*promote fails before"):
        roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)


@pytest.mark.parametrize("answers", [{}, {(NEW, "canary"): broken}, {(NEW, "stable"): broken}])
def test_killed_anywhere_a_whole_version_serves_and_the_next_run_ends(answers):
    undisturbed = Memory(answers=answers)
    roll_out(undisturbed, "toy", CHALLENGER, PROOF, CHAMPION)
    for kill in range(len(undisturbed.calls)):
        platform = Memory(answers=answers)
        platform.interrupted_at = kill
        with pytest.raises(Temporary):
            roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
        assert platform.digest("stable") in (OLD, NEW)
        again = roll_out(platform, "toy", CHALLENGER, PROOF, CHAMPION)
        assert platform.digest("canary") is None
        assert set(platform.history) <= {OLD, NEW}
        if not answers:
            assert (again.outcome, platform.digest("stable")) == (Rollout.PROMOTED, NEW)
        else:
            assert (again.outcome, platform.digest("stable")) == (Rollout.ROLLED_BACK, OLD)
