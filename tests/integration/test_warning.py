"""Labels that mature late, rows that shift before: an early warning on a real registry, and nothing but a warning."""

import json
from dataclasses import dataclass, field

import pytest

from pipeline import steps, workspace
from pipeline.demo.inbox import Inbox
from pipeline.trouble import Kind
from tests.installation import at, opened, run
from tests.parts import WORDS

MATURES, FIRST, CALM, SHIFTED, LOST, AGAIN, OVER = 7, 31, 33, 39, 40, 41, 46
SHIFT = f"{at(34):%Y-%m-%d}", f"{at(39):%Y-%m-%d}"
TITLE = "early warning: the newest rows are unlike those at the gate"


@dataclass
class Story:
    """What was there after each morning."""

    made: object
    name: str
    inbox: Inbox
    runs: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    titles: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    troubles: dict = field(default_factory=dict)

    def morning(self, day):
        """Let the labels mature that are old enough, and run."""
        begin = f"{at(day - MATURES):%Y-%m-%d}"
        self.made.change_rows("UPDATE listings SET category = truth WHERE at < ?", begin)
        self.answers[day] = run(self.name, day)
        seen, moment = self.made.seen(self.name), at(day).isoformat()
        self.runs[day], self.metrics[day] = seen["runs"][moment], seen["metrics"][moment]
        self.titles[day] = [title.removeprefix(f"{self.name}: ") for title in self.inbox.titles]
        self.troubles[day] = json.loads(seen["notes"].get("zeta.trouble", "{}")).get("kind")

    @property
    def app(self):
        """The code in the image of the model that serves."""
        champion = self.made.registry.aliased(self.name, "champion")
        return workspace.load(self.name).unpacked(champion.tag("digest")) / "app"


@pytest.fixture(scope="module")
def story(tmp_path_factory, tracking_uri):
    with (
        opened(tmp_path_factory.mktemp("warned"), tracking_uri) as made,
        Inbox() as inbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        told = Story(made, made.toy(data={"matures_after": f"{MATURES}d"}), inbox)
        # No label is there before it is mature, and none is wrong but by chance.
        made.change_rows("ALTER TABLE listings ADD COLUMN truth TEXT")
        for label, words in WORDS.items():
            for word in words.split():
                made.change_rows(
                    "UPDATE listings SET truth = ?, category = NULL WHERE title LIKE ?", label, f"%{word}%"
                )
        made.change_rows("UPDATE listings SET truth = '本' WHERE item_id LIKE '%3'")
        # Words that the champion does not know: what it does is as right as before.
        made.change_rows("UPDATE listings SET title = title || ' 期間限定送料無料' WHERE at >= ? AND at < ?", *SHIFT)
        for day in (FIRST, CALM):
            told.morning(day)
        work = workspace.load(told.name)
        with pytest.MonkeyPatch.context() as blind:
            blind.setattr(steps, "watch", lambda *_: None)
            told.without = decided(told, work)
        told.with_ = decided(told, work)
        told.morning(SHIFTED)
        told.morning(SHIFTED)
        told.status = json.loads(made.zeta("status", told.name, "--json").stdout)
        file = told.app / "pipeline/serving/batch.py"
        code = file.read_text(encoding="utf-8")
        file.write_text(code.replace(', "confidence"]', "]"), encoding="utf-8")
        told.morning(LOST)
        file.write_text(code, encoding="utf-8")
        for day in (AGAIN, OVER):
            told.morning(day)
        yield told


def decided(story, work):
    """Return the record of the verdict on the morning of the shift, as it is written."""
    steps.evaluate(work, at(SHIFTED))
    steps.decide(work, at(SHIFTED))
    run_id = story.made.registry.run(story.name, at(SHIFTED))
    return story.made.registry.read(run_id, "decision.json"), story.made.registry.run_tags(run_id).get("warning")


def test_rows_like_those_at_the_gate_are_not_warned_of(story):
    assert (story.runs[CALM]["warning"], story.runs[CALM]["warning_lost"]) == ("", "")
    assert story.titles[CALM] == []
    assert 0 <= story.metrics[CALM]["inputs_evidence"] <= 1


def test_shifted_rows_are_warned_of_once_before_their_labels_come(story):
    tags = story.runs[SHIFTED]
    assert f"title is 0.{tags['warning'].partition(' 0.')[2][:2]} apart from that at the gate" in tags["warning"]
    assert f"..{at(38):%Y-%m-%d} (evidence" in tags["warning"]
    assert "points that have labels now" in tags["warning"]
    assert story.metrics[SHIFTED]["inputs_evidence"] > 1
    assert story.titles[SHIFTED] == story.titles[AGAIN] == [TITLE]
    assert story.troubles[SHIFTED] == Kind.WARNING
    assert story.status[0]["trouble"]["kind"] == "warning"


def test_a_warning_does_nothing_but_warn(story):
    for day in (SHIFTED, LOST, AGAIN, OVER):
        assert story.runs[day]["verdict"] == "keep"
        assert "train" not in story.answers[day]
    assert list(story.made.seen(story.name)["versions"]) == ["1"]


def test_the_record_of_a_verdict_is_the_same_with_and_without_a_warning(story):
    (blind, nothing), (seeing, warned) = story.without, story.with_
    assert not nothing
    assert "apart from that at the gate" in warned
    assert seeing == blind


def test_a_champion_that_cannot_tell_costs_the_warning_alone(story):
    tags = story.runs[LOST]
    assert tags["warning"] == ""
    assert "'confidence'" in tags["warning_lost"]
    assert tags["verdict"] == "keep"
    assert story.titles[LOST] == [TITLE]
    assert story.troubles[LOST] == Kind.WARNING
    assert story.runs[AGAIN]["warning_lost"] == ""
    assert "apart" in story.runs[AGAIN]["warning"]


def test_once_the_labels_are_there_the_warning_is_over_and_its_end_is_said(story):
    assert story.runs[OVER]["warning"] == ""
    assert story.titles[OVER] == [TITLE, f"over after {OVER - SHIFTED} days: {TITLE}"]
    assert story.troubles[OVER] is None


def test_expected_and_true_score_stand_in_one_chart_and_a_point_is_written_once(story):
    registry = story.made.registry
    champion = registry.aliased(story.name, "champion")
    history = registry.client.get_metric_history
    shown = {one.step: one.value for one in history(registry.monitor(champion), "expected_score")}
    true = {one.step: one.value for one in history(registry.monitor(champion), "score")}
    assert len(true.keys() & shown.keys()) > 15
    assert max(shown) - max(true) == MATURES
    assert all(abs(true[day] - shown[day]) < 0.25 for day in true.keys() & shown.keys())
    assert abs(story.metrics[OVER]["expected_error"]) < 0.05
    assert len(history(registry.monitor(champion), "expected_score")) == len(shown)
    for series in ("expected_", "predictions_", "inputs_title_", "inputs_weight_"):
        assert [point.day for point in registry.points(champion, series)] == sorted(shown)
