"""What a person does by hand, with the commands that they type."""

import pytest

from pipeline.demo.inbox import Inbox
from pipeline.trouble import Kind
from tests.installation import BOOTSTRAP, HOPELESS, RECOVERED, at, opened, run


@pytest.fixture(scope="module")
def rejected(tmp_path_factory, tracking_uri):
    """A model whose version 1 serves and whose version 2 the gate has rejected; and the inbox of its pages."""
    with (
        opened(tmp_path_factory.mktemp("hands"), tracking_uri) as made,
        Inbox() as inbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        name = made.toy()
        assert run(name, BOOTSTRAP, HOPELESS)["gate"] == {"verdict": "reject"}
        yield made, name, inbox


def test_a_paused_model_is_scored_and_not_retrained_until_it_is_resumed(rejected):
    made, name, _ = rejected
    assert made.zeta("pause", name, "--reason", "the shop is being rebuilt").returncode == 0
    answers = run(name, RECOVERED)
    assert list(answers) == ["evaluate", "decide"]
    tags = made.seen(name)["runs"][at(RECOVERED).isoformat()]
    assert tags["verdict"] == "keep"
    assert "paused: the shop is being rebuilt (since " in tags["reasons"]
    assert "paused, keep" in made.zeta("status", name).stdout
    assert made.zeta("resume", name).returncode == 0
    assert run(name, RECOVERED + 1)["decide"]["verdict"] == "retrain"


def test_a_version_promoted_by_hand_serves_says_why_and_can_be_rolled_back(installation, monkeypatch):
    with Inbox() as inbox:
        monkeypatch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        name = installation.toy()
        run(name, BOOTSTRAP, HOPELESS)
        done = installation.zeta(
            "promote", name, "--version", "2", "--reason", "it knows the new words", "--at", at(HOPELESS)
        )
        assert done.returncode == 0, done.stderr
        assert inbox.has(name, Kind.PROMOTED_BY_HAND)
    seen = installation.seen(name)
    assert (seen["aliases"]["champion"], seen["aliases"]["previous"], seen["releases"]["stable"][0]) == ("2", "1", "2")
    why = seen["versions"]["2"]["by_hand"]
    assert why.startswith("it knows the new words (")
    assert why.endswith("the gate said reject)")
    assert installation.zeta("rollback", name).returncode == 0
    assert installation.seen(name)["aliases"]["champion"] == "1"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("promote", "--version", "2", "--reason", " "), "--reason is empty"),
        (("pause", "--reason", ""), "--reason is empty"),
        (("promote", "--version", "99", "--reason", "x"), "99"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(rejected, command, words):
    made, name, _ = rejected
    before = made.seen(name)
    done = made.zeta(command[0], name, *command[1:])
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert made.seen(name) == before
