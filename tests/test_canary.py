import numpy as np
import pytest
from scipy.stats import hypergeom

from pipeline.canary import ALPHA, Watch, apart, evidence, radius
from pipeline.observation import GROUPS, SECONDS, SIDE, Observation

EVEN = np.full(GROUPS, 1 / GROUPS)
HALF = np.r_[np.full(GROUPS // 2, 2 / GROUPS), np.zeros(GROUPS // 2)]
LOOKS, REQUESTS = 40, 60


def watched(seed, errors=0.01, slower=1.0, shares=EVEN, beside=1):
    """Let a canary serve, and ``beside`` times as many servers; return the look at which it is called bad, and why."""
    random = np.random.default_rng(seed)

    def serve(share_of_errors, slower, shares, times):
        asked = random.poisson(REQUESTS * times)
        seconds = random.lognormal(np.log(0.01 * slower), 0.5, asked)
        late = np.array([(seconds > bound).sum() for bound in SECONDS])
        return Observation(asked, random.binomial(asked, share_of_errors), late, random.multinomial(asked, shares))

    watch = Watch(usual=0.1, shift=0.1)
    for look in range(LOOKS):
        if faults := watch.look(serve(errors, slower, shares, 1), serve(0.01, 1.0, EVEN, beside)):
            return look, faults
    return None, []


@pytest.mark.parametrize("beside", [1, 4])
def test_a_canary_as_good_as_the_champion_is_hardly_ever_called_bad_at_any_look(beside):
    called = sum(watched(seed, beside=beside)[0] is not None for seed in range(300))
    assert called <= 300 * ALPHA


@pytest.mark.parametrize(
    ("change", "words", "requests"),
    [
        ({"errors": 0.06}, "errors: ", 600),
        ({"slower": 3.0}, "latency: ", 180),
        ({"shares": HALF}, "predictions: ", 900),
    ],
)
def test_a_bad_canary_is_found_within_so_many_requests_and_named(change, words, requests):
    found = [watched(seed, **change) for seed in range(20)]
    assert all(look is not None and faults[0].startswith(words) for look, faults in found)
    assert np.median([look for look, _ in found]) < requests / REQUESTS


def test_a_canary_that_is_a_little_slower_is_let_through():
    assert [watched(seed, slower=1.15)[0] for seed in range(20)] == [None] * 20


def test_predictions_may_be_as_far_apart_as_on_the_same_rows():
    counts = [Observation(0, 0, groups=(shares * 100_000).astype(int)) for shares in (HALF, EVEN)]
    assert Watch(usual=0.45, shift=0.1).look(*counts) == []
    [fault] = Watch(usual=0.3, shift=0.1).look(*counts)
    assert fault.startswith("predictions: 0.50 apart from those beside it on live requests (at least 0.4")


@pytest.mark.parametrize(("requests", "others", "events"), [(50, 50, 7), (10, 90, 30), (200, 40, 200)])
def test_evidence_is_expected_to_be_at_most_one_when_both_serve_alike(requests, others, events):
    counts = np.arange(events + 1)
    weights = hypergeom.pmf(counts, requests + others, requests, events)
    share = requests / (requests + others)
    expected = sum(weight * np.exp(evidence(k, events - k, share)) for k, weight in zip(counts, weights, strict=True))
    assert (expected <= 1 + 1e-9).all()


def test_nothing_asked_is_no_evidence():
    assert evidence(0, 0, 0.0).tolist() == [0] * 5
    assert Watch(usual=0, shift=0).look(Observation(), Observation()) == []
    assert apart(np.zeros(GROUPS), EVEN) == 0


def test_labels_that_share_a_row_are_told_apart_by_their_columns_and_the_other_way_round():
    one, right, below = (np.eye(GROUPS)[group] for group in (0, 1, SIDE))
    assert (apart(one, right), apart(one, below)) == (1, 1)


def test_the_radius_holds_what_it_says():
    random = np.random.default_rng(5)
    rows, alpha = 500, 0.1
    draws = random.multinomial(rows, EVEN, size=2000)
    far = np.mean([apart(draw, EVEN) > radius(rows, alpha / 2) for draw in draws])
    assert far <= alpha
    assert radius(4 * rows, alpha) == pytest.approx(radius(rows, alpha) / 2)
