import dataclasses

import numpy as np
import pytest

from pipeline import scores
from pipeline.comparison import Difference, Pairs, difference
from pipeline.config import GateRules
from pipeline.evaluation import FEWEST_SLICE_ROWS
from pipeline.evidence import Evidence
from pipeline.gate import is_worse, judge
from pipeline.ledger import Look
from pipeline.verdict import Gate

RULES = GateRules(baseline="most_frequent", slice_margin=0.02, baseline_margin=0.01)


def gain(estimate, half=0.01, rows=2000):
    return Difference(estimate, estimate - half, estimate + half, 28, rows)


EVIDENCE = Evidence(
    rows=2000,
    loss=0.15,
    look=Look(1, 0.03),
    gains={"champion": gain(0.05), "baseline": gain(0.3)},
    slices={"channel = app": gain(0.04), "channel = web": gain(0.06)},
    first_loss=0.15,
)


def judged(rules=RULES, **changes):
    verdict = judge(dataclasses.replace(EVIDENCE, **changes), rules, minimum_rows=500, smallest_drop=0.02)
    assert all(np.isfinite(list(verdict.numbers.values())))
    return verdict


def with_gain(rival, found):
    return {"gains": EVIDENCE.gains | {rival: found}}


def test_a_better_challenger_is_promoted_with_by_how_much():
    verdict = judged()
    assert verdict.outcome == Gate.PROMOTE
    assert verdict.reasons == (
        "better than the champion by 0.050 (at least 0.040) on 2000 rows",
        "better than the baseline by 0.300 (at least 0.290) on 2000 rows",
    )
    assert verdict.numbers["gain_on_champion_low"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("rise", "found", "words"),
    [
        (
            0.03,
            gain(0.028),
            "the champion is stale: the champion's loss changed by +0.030 since its deployment, and on ",
        ),
        (
            0.03,
            gain(0.0),
            "the data got harder, or changed too lately to be learnt: the champion's loss",
        ),
        (0.03, gain(0.0, half=0.03), "whether the champion is stale or the data got harder is open"),
        (0.005, gain(0.0), "whether the champion is stale or the data got harder is open"),
    ],
)
def test_the_verdict_says_whether_the_champion_is_stale_or_the_data_got_harder(rise, found, words):
    verdict = judged(rise=rise, **with_gain("champion", found))
    assert verdict.reasons[0].startswith(words)
    assert len([reason for reason in verdict.reasons if "since its deployment" in reason]) == 1


def test_the_first_version_has_no_champion_to_beat_and_no_reference_to_recover():
    verdict = judged(gains={"baseline": gain(0.3)}, slices={}, first_loss=None)
    assert verdict.outcome == Gate.PROMOTE
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize(
    ("loss", "outcome"), [(0.16, Gate.PROMOTE), (0.161, Gate.PROMOTE_NOT_RECOVERED), (0.3, Gate.PROMOTE_NOT_RECOVERED)]
)
def test_a_chain_of_small_losses_since_the_first_deployment_is_said(loss, outcome):
    verdict = judged(loss=loss)
    assert verdict.outcome == outcome
    assert verdict.outcome.passed
    recovered = outcome == Gate.PROMOTE
    assert (
        f"improved, not recovered: loss {loss:.3f}, at the first deployment 0.150" in verdict.reasons
    ) is not recovered


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_gain("champion", gain(0.005)), "better than the champion: difference +0.005, 97% sure of only"),
        (with_gain("champion", gain(-0.05)), "not shown to be better than the champion: difference -0.050"),
        (with_gain("champion", gain(0.01)), "needed above 0.000 (2000 rows, 28 days)"),
        (with_gain("baseline", gain(0.015)), "not shown to be better than the baseline: difference +0.015"),
        (with_gain("baseline", gain(-0.3)), "not shown to be better than the baseline: difference -0.300"),
        ({"slices": {"channel = app": gain(-0.05)}}, "slice channel = app: worse by 0.050 on 2000 rows, at most 0.020"),
        ({"itself": True}, "it is the champion itself"),
        ({"itself": True, "rows": 0}, "it is the champion itself"),
        ({"pairs": {"champion": Pairs(12, 9)}}, "champion: difference +0.050, 97% sure of only +0.040, needed above"),
        ({"pairs": {"champion": Pairs(0, 0)}}, "right alone on 0 rows, wrong alone on 0: mid-p 0.5, needed at most"),
        ({"pairs": {"baseline": Pairs(9, 40)}}, "not shown to be better than the baseline"),
        (with_gain("champion", gain(float("nan"))), "not shown to be better than the champion"),
        (with_gain("champion", Difference(0.3, -np.inf, np.inf, 28, 2000)), "not shown to be better than the champion"),
    ],
)  # fmt: skip
def test_a_challenger_that_falls_short_is_rejected_with_the_reason(changes, words):
    verdict = judge(dataclasses.replace(EVIDENCE, **changes), RULES, minimum_rows=500, smallest_drop=0.02)
    assert verdict.outcome == Gate.REJECT
    assert not verdict.outcome.passed
    assert len(verdict.reasons) == 1
    assert words in verdict.reasons[0]


def test_every_reason_against_a_challenger_is_said():
    slices = {"x = 1": gain(-0.1), "x = 2": gain(-0.1)}
    verdict = judged(gains={"champion": gain(0.0), "baseline": gain(0.0)}, slices=slices)
    assert verdict.outcome == Gate.REJECT
    assert len(verdict.reasons) == 4


def test_whoever_looks_again_is_told_why_it_must_be_surer():
    verdict = judged(**with_gain("champion", gain(0.005)), look=Look(3, 0.003))
    assert "99.7% sure of only" in verdict.reasons[0]
    assert verdict.reasons[1] == "look 3 at rows of this window, which is why it must be 99.7% sure"
    assert (verdict.numbers["look"], verdict.numbers["alpha"]) == (3, 0.003)


def test_rows_that_were_gained_for_every_one_lost_are_needed_beside_the_bound():
    verdict = judged(pairs={"champion": Pairs(110, 70), "baseline": Pairs(600, 10)})
    assert verdict.outcome == Gate.PROMOTE
    assert verdict.numbers["mid_p_on_champion"] == pytest.approx(0.0015, abs=0.0002)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 499},
        {"rows": 0},
        {"loss": None},
        {"gains": {}},
        {"gains": {"champion": gain(0.05)}},
        {"gains": {"champion": gain(0.05), "baseline": None}},
        {"gains": {"champion": None, "baseline": gain(0.3)}},
    ],
)
def test_missing_evidence_never_passes(changes):
    verdict = judged(**changes)
    assert verdict.outcome == Gate.INSUFFICIENT
    assert not verdict.outcome.passed
    assert verdict.reasons


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({"loss": float("nan")}, Gate.INSUFFICIENT), ({"first_loss": float("nan")}, Gate.PROMOTE_NOT_RECOVERED)],
)
def test_a_loss_that_is_no_number_never_passes_as_recovered(changes, outcome):
    verdict = judge(dataclasses.replace(EVIDENCE, **changes), RULES, minimum_rows=500, smallest_drop=0.02)
    assert verdict.outcome == outcome


def compared(first, second):
    """Return what the gate sees of two models whose (days, rows) of 0/1 losses are given."""
    score = scores.get("mae")
    sums = [
        np.stack([np.full(len(one), one.shape[1]), one.sum(axis=1), one.sum(axis=1)], axis=1) for one in (first, second)
    ]
    return difference(score, *sums, RULES.confidence)


def test_a_candidate_that_is_compared_with_itself_is_refused():
    losses = (np.random.default_rng(0).random((28, 100)) < 0.2).astype(float)
    verdict = judged(**with_gain("champion", compared(losses, losses)))
    assert verdict.outcome == Gate.REJECT


def test_candidates_as_good_as_the_champion_are_rarely_promoted_and_clearly_better_ones_nearly_always():
    random = np.random.default_rng(1)
    passed = {0.0: 0, 0.05: 0}
    for better in passed:
        for _ in range(300):
            old, new = ((random.random((28, 70)) < level).astype(float) for level in (0.2, 0.2 - better))
            passed[better] += judged(**with_gain("champion", compared(old, new))).outcome.passed
    assert passed[0.0] <= 300 * 0.08
    assert passed[0.05] >= 300 * 0.95


@pytest.mark.parametrize(
    ("found", "worse"),
    [
        (gain(-0.05), True),
        (gain(-0.015), False),
        (gain(-0.05, half=0.06), False),
        (gain(-0.5, half=0.1, rows=FEWEST_SLICE_ROWS - 1), False),
        (gain(-0.5, half=0.1, rows=FEWEST_SLICE_ROWS), True),
        (gain(0.05), False),
    ],
    ids=["worse", "within the margin", "chance", "too few rows", "just enough rows", "better"],
)
def test_a_slice_is_worse_beyond_its_margin_and_beyond_chance_on_enough_rows(found, worse):
    assert is_worse(found, RULES) is worse
