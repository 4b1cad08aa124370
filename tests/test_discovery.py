import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.discovery import discoveries

RATE = 0.05
FLEETS = st.lists(st.floats(0, 1e300) | st.floats(1, 1000), min_size=1, max_size=40).map(
    lambda values: {f"m{number}": value for number, value in enumerate(values)}
)
RATES = st.floats(0.01, 0.5)


@given(st.floats(0, 1e300), RATES)
def test_one_model_alone_is_held_against_markovs_inequality(e_value, rate):
    assert discoveries({"m": e_value}, rate) == ({"m"} if e_value >= 1 / rate else set())


@given(FLEETS, RATES)
def test_whoever_is_discovered_has_what_so_many_discoveries_ask_for_and_no_more_could_be(fleet, rate):
    found = discoveries(fleet, rate)
    assert all(len(found) * fleet[model] >= len(fleet) / rate for model in found)
    for more in range(len(found) + 1, len(fleet) + 1):
        assert sum(more * value >= len(fleet) / rate for value in fleet.values()) < more


@given(FLEETS, RATES, st.randoms())
def test_the_order_of_the_models_does_not_matter(fleet, rate, random):
    shuffled = list(fleet.items())
    random.shuffle(shuffled)
    assert discoveries(dict(shuffled), rate) == discoveries(fleet, rate)


@given(FLEETS, RATES, st.data())
def test_more_evidence_on_a_model_loses_no_discovery(fleet, rate, data):
    model = data.draw(st.sampled_from(sorted(fleet)))
    more = fleet | {model: fleet[model] * data.draw(st.floats(1, 100))}
    assert discoveries(fleet, rate) <= discoveries(more, rate)


@given(FLEETS, RATES)
def test_a_model_of_which_nothing_is_known_makes_no_other_a_discovery(fleet, rate):
    assert discoveries(fleet | {"unknown": 0.0}, rate) <= discoveries(fleet, rate)


def gaussian(common):
    """Return e-values (mornings, models) of unchanged models whose losses share so much of their noise."""
    random = np.random.default_rng(0)
    noise = np.sqrt(common) * random.normal(size=(4000, 1)) + np.sqrt(1 - common) * random.normal(size=(4000, 20))
    return np.exp(2.5 * noise - 2.5**2 / 2)


def together():
    """Return e-values that reach the bound: all models are high on the same rare mornings."""
    rare = np.random.default_rng(0).random((4000, 1)) < RATE
    return np.where(rare, 1 / RATE, 0.0) * np.ones(20)


@pytest.mark.parametrize("degraded", [0, 3])
@pytest.mark.parametrize(
    "unchanged", [gaussian(0.0), gaussian(0.5), gaussian(1.0), together()], ids=["alone", "half", "same", "together"]
)
def test_of_the_discoveries_no_more_are_false_than_the_rate_however_the_models_depend(unchanged, degraded):
    shares = []
    for e_values in unchanged:
        fleet = dict(enumerate(e_values)) | {-number: 1e4 for number in range(1, degraded + 1)}
        found = discoveries(fleet, RATE)
        shares.append(sum(model >= 0 for model in found) / max(len(found), 1))
        assert all(-number in found for number in range(1, degraded + 1))
    assert np.mean(shares) <= RATE + 3 * np.std(shares) / np.sqrt(len(shares))
