"""The digest: its text, from standings; and the command ``zeta digest`` of a real installation."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline import digest, fleet
from pipeline.standing import Standing
from pipeline.trouble import Kind, Trouble
from tests.installation import KEEP, at
from tests.loopback import Receiver

SINCE = datetime(2026, 3, 1, 5, tzinfo=UTC)
KEPT = Standing(
    "kept", champion="1", judged="1", judged_at="2026-03-03T05:00:00+00:00", verdict="keep", reasons="not degraded",
    score="accuracy", now=0.85, deployed=0.86, evidence=0.25, e_value=0.5,
)  # fmt: skip
RETRAINED = replace(
    KEPT, model="category", verdict="retrain", now=0.812, evidence=4.213, e_value=3.14e6,
    trouble=Trouble(Kind.GATE_REJECTED, SINCE),
)  # fmt: skip


def quiet(number: int) -> list[Standing]:
    return [replace(KEPT, model=f"m{n:02}", evidence=n / 100) for n in range(number)]


def test_a_healthy_fleet_is_a_title_and_a_few_lines():
    told = digest.of(quiet(31))
    assert told.title == "Zeta: 0 of 31 models degraded"
    assert (
        told.text
        == """\
By evidence, above 1 is an alarm:
- m30: evidence 0.30; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5
- m29: evidence 0.29; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5
- m28: evidence 0.28; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5
- m27: evidence 0.27; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5
- m26: evidence 0.26; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5
- 26 more: healthy, evidence 0.25 at most"""
    )
    assert told.kind is Kind.DIGEST


def test_what_is_not_known_comes_first_and_then_what_is_surest():
    bad = replace(
        KEPT, model="price", verdict="data_bad", reasons="volume: 0 rows", trouble=Trouble(Kind.DATA_BAD, SINCE)
    )
    paused = replace(KEPT, model="sites", evidence=1.01, e_value=None, paused="a sale")
    told = digest.of([KEPT, RETRAINED, bad, paused])
    assert told.title == "Zeta: 2 of 4 models degraded, 1 without a verdict"
    assert (
        told.text
        == """\
Without a verdict:
- price: data_bad: volume: 0 rows; trouble: data_bad since 2026-03-01

By evidence, above 1 is an alarm:
- category: evidence 4.21; degraded for sure; retrain; accuracy 0.812 (0.860 at deployment); e-value 3.14e+06; \
trouble: gate_rejected since 2026-03-01
- sites: evidence 1.01; degraded; keep; accuracy 0.850 (0.860 at deployment); paused: a sale
- kept: evidence 0.25; keep; accuracy 0.850 (0.860 at deployment); e-value 0.5

Of those degraded for sure, at most 5% are expected not to be."""
    )


@pytest.mark.parametrize(
    ("standing", "line"),
    [
        (
            replace(KEPT, judged_at="2026-03-01T20:00:00+00:00", missed="2026-03-03T05:00:00+09:00", e_value=1e9),
            "missed its run of 2026-03-03 05:00; the newest verdict is of 2026-03-02 05:00",
        ),
        (
            Standing("kept", missed="2026-03-03T05:00:00+09:00"),
            "missed its run of 2026-03-03 05:00; there is no verdict yet",
        ),
        (replace(KEPT, verdict="insufficient", reasons="9 matured rows"), "insufficient: 9 matured rows"),
        (
            replace(KEPT, champion=None, judged="", verdict="retrain", reasons="no champion yet", evidence=None),
            "retrain: no champion yet",
        ),
        (
            replace(KEPT, verdict="retrain", reasons="a history begins anew", evidence=None),
            "retrain: a history begins anew",
        ),
        (Standing("kept", fault="kept/model.yaml:3: task\n- more"), "kept/model.yaml:3: task - more"),
        (Standing("kept", fault="x" * 500), "x" * 199 + "…"),
    ],
)
def test_a_model_without_a_verdict_of_this_morning_is_never_healthy(standing, line):
    told = digest.of([standing, RETRAINED])
    assert told.title == "Zeta: 1 of 2 models degraded, 1 without a verdict"
    assert told.text.splitlines()[:2] == ["Without a verdict:", f"- kept: {line}"]


def test_no_model_that_degraded_is_new_or_is_in_trouble_is_summed_up():
    new = replace(KEPT, model="new", champion="2", judged="1", verdict="retrain", evidence=None, e_value=None)
    troubled = replace(KEPT, model="troubled", evidence=0.01, trouble=Trouble(Kind.PROMOTED_NOT_RECOVERED, SINCE))
    degraded = [replace(RETRAINED, model=f"d{n}", e_value=1.0) for n in range(7)]
    told = digest.of([*quiet(20), new, troubled, *degraded])
    assert told.title == "Zeta: 7 of 29 models degraded"
    lines = told.text.splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == [
        *(f"- d{n}" for n in range(7)),
        "- troubled",
        "- new",
        "- 20 more",
    ]
    assert lines[-2] == "- new: version 2 is not judged yet"
    assert "for sure" not in told.text


def test_a_model_that_is_not_judged_lowers_nothing_that_is_asked_of_the_others():
    barely = replace(KEPT, e_value=20.0)
    assert "degraded for sure" in digest.of([barely]).text
    assert "degraded for sure" not in digest.of([barely, Standing("broken", fault="broken")]).text


def test_the_command_prints_the_digest_and_sends_it_where_the_setting_says(kept, monkeypatch):
    made, name = kept
    with Receiver() as receiver:
        plain = made.zeta("digest", ZETA_ALERT_TEAM=receiver.url())
        assert (plain.returncode, receiver.messages) == (0, []), plain.stderr
        sent = made.zeta("digest", "--send", ZETA_ALERT_TEAM=receiver.url(), ZETA_DIGEST="team")
    assert (sent.returncode, sent.stdout) == (0, plain.stdout), sent.stderr
    [message] = receiver.messages
    assert message["type"] == "info"
    assert message["title"] == "Zeta: 0 of 1 models degraded, 1 without a verdict"
    assert sent.stdout == f"{message['title']}\n\n{message['message']}\n"
    assert f"- {name}: missed its run of " in message["message"]
    [standing] = fleet.standings([name], at(KEEP).replace(hour=9))
    assert digest.of([standing]).text.splitlines()[1].startswith(f"- {name}: evidence {standing.evidence:.2f}; keep; ")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {},
            "ConfigError: ZETA_DIGEST is not set; expected the NAME of the ZETA_ALERT_<NAME> that is to get the digest",
        ),
        ({"ZETA_DIGEST": "team"}, "ConfigError: ZETA_ALERT_TEAM is not set; expected an Apprise URL"),
    ],
)
def test_a_digest_that_has_nowhere_to_go_is_one_clear_error(kept, variables, said):
    done = kept[0].zeta("digest", "--send", **variables)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(said)
