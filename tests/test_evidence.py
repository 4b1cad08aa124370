import numpy as np
import pytest

from pipeline import scores
from pipeline.comparison import Pairs, difference
from pipeline.config import GateRules
from pipeline.evaluation import FEWEST_SLICE_ROWS, Scored
from pipeline.evidence import Frozen, gather
from pipeline.ledger import Look
from pipeline.tally import Tally

RULES, LOOK, DAYS = GateRules(baseline="most_frequent"), Look(2, 0.0076), list(range(10))
FROZEN = Frozen(first=0.1, champion=0.15)


def scored(name="accuracy", rivals=("champion", "baseline"), small=FEWEST_SLICE_ROWS - 1):
    """Return rows of ten days in three slices, of which one has few rows; every subject errs by chance."""
    random, score = np.random.default_rng(0), scores.get(name)
    days, slices = np.repeat(DAYS, 60), np.array(["a", "b"])[random.integers(0, 2, 600)].astype(object)
    slices[random.choice(600, small, replace=False)] = "few"
    truth, pairs = np.full(600, "x", object), {rival: Tally(score) for rival in rivals if score.binary}
    tallies = {subject: Tally(score) for subject in (*rivals, "challenger")}
    for tally in tallies.values():
        tally.add(days, {"at": slices}, score.rows(truth, random.choice(["x", "y"], 600, p=[0.8, 0.2])))
    for tally in pairs.values():
        tally.add(days, {}, np.tile([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], (200, 1)))
    return Scored(tallies, {}, pairs)


def between(found, confidence, group=("", "")):
    sums = (found.tallies[name].matrix(DAYS, group) for name in ("champion", "challenger"))
    return difference(found.tallies["champion"].score, *sums, confidence)


def test_bounds_on_the_rivals_err_by_the_looks_alpha():
    found = scored()
    assert gather(found, DAYS, RULES, LOOK, FROZEN).gains["champion"] == between(found, 1 - 0.0076)


@pytest.mark.parametrize(("few", "judged"), [(FEWEST_SLICE_ROWS - 1, 2), (FEWEST_SLICE_ROWS, 3)])
def test_the_slices_that_are_judged_share_one_error(few, judged):
    found = scored(small=few)
    slices = gather(found, DAYS, RULES, LOOK, FROZEN).slices
    assert slices == {f"at = {one}": between(found, 1 - 0.05 / judged, ("at", one)) for one in ("a", "b", "few")}


def test_pairs_are_those_of_the_days_that_count_under_a_binary_score_alone():
    pairs = gather(scored(), DAYS[:3], RULES, LOOK, FROZEN).pairs
    assert pairs == dict.fromkeys(("champion", "baseline"), Pairs(60, 60))
    assert gather(scored("micro_f1"), DAYS, RULES, LOOK, FROZEN).pairs == {}


def test_the_champions_rise_is_since_its_own_deployment():
    found = scored()
    loss = found.tallies["champion"].loss()
    assert gather(found, DAYS, RULES, LOOK, FROZEN).rise == pytest.approx(loss - 0.15)
    assert gather(found, DAYS, RULES, LOOK, Frozen(first=0.1)).rise is None


def test_without_a_champion_there_is_the_baseline_and_no_slice():
    found = gather(scored(rivals=("baseline",)), DAYS, RULES, LOOK, FROZEN)
    assert (list(found.gains), found.slices, found.rise) == (["baseline"], {}, None)


def test_without_days_nothing_is_known():
    found = gather(scored(), [], RULES, LOOK, FROZEN)
    assert (found.rows, found.loss, found.gains) == (0, None, {"champion": None, "baseline": None})
    assert found.rise is None
    assert found.pairs == dict.fromkeys(("champion", "baseline"), Pairs(0, 0))
