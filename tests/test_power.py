import pytest

from pipeline import power
from tests import parts

VARIANCE, DROP = 0.15 * 0.85, 0.02


@pytest.fixture
def promised(tmp_path):
    def promised(rows, drop=DROP, **changes):
        rules = parts.model(tmp_path, **{"gate": {"window": "28d"}, "evaluation": {"minimum_rows": 500}} | changes)
        return power.expected(VARIANCE, rows, rules, drop)

    return promised


def test_more_rows_and_larger_drops_are_found_sooner(promised):
    usual = promised(2000)
    assert 2 <= usual.delay <= 6
    assert promised(500).delay > usual.delay
    assert promised(2000, drop=0.01).delay > usual.delay
    assert promised(2000, drop=0.05).delay < usual.delay


def test_false_alarms_are_as_rare_as_configured(promised):
    assert promised(2000).false_alarms <= 0.06
    assert promised(2000, degradation={"false_alarms_per_year": 1.0}).false_alarms > 0.1


def test_few_rows_a_day_are_pooled_and_days_are_told(promised):
    found = promised(100)
    assert (found.pooled, found.delay % 5) == (5, 0)
    assert found.delay >= promised(500).delay


def test_a_drop_that_drowns_in_noise_is_never_found(promised):
    assert promised(500, drop=0.001).delay == power.NEVER


def test_the_gate_needs_four_times_the_rows_for_half_the_gain(promised):
    usual, half = promised(2000), promised(2000, drop=DROP / 2)
    assert half.gate_rows == pytest.approx(4 * usual.gate_rows, rel=0.01)
    assert 2000 < usual.gate_rows < 3000
    assert usual.held == 28 * 2000


def test_a_gate_window_of_too_few_points_promises_nothing(promised):
    assert promised(30) is None
