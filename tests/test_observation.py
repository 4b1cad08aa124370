import numpy as np
import pytest

from pipeline import observation
from pipeline.observation import GROUPS, SECONDS, Observation, group, grouped
from pipeline.serving.metrics import Metrics


@pytest.fixture
def metrics():
    return Metrics("toy", "1", "sha256:1", lambda: 0)


def test_what_a_server_counts_is_read_from_its_page(metrics):
    for code, seconds in ((200, 0.003), (200, 0.3), (500, 0.3), (400, 0.0001)):
        metrics.request("/invocations", code, seconds)
    metrics.request("/v2/models/toy/infer", 503, 20)
    metrics.request("/v2/health/ready", 500, 20)
    metrics.predictions(["本", "本", "文具"])
    read = observation.read(metrics.text().decode())
    assert (read.requests, read.errors) == (5, 2)
    assert dict(zip(SECONDS, read.slower.tolist(), strict=True)) == {
        0.001: 4, 0.0025: 4, 0.005: 3, 0.01: 3, 0.025: 3, 0.05: 3, 0.1: 3, 0.25: 3, 0.5: 1, 1: 1, 2.5: 1, 5: 1, 10: 1,
    }  # fmt: skip
    np.testing.assert_array_equal(read.groups, grouped(["本", "本", "文具"]))


def test_a_server_that_was_asked_nothing_has_counted_nothing(metrics):
    read = observation.read(metrics.text().decode())
    assert (read.requests, read.errors, read.slower.sum(), read.groups.sum()) == (0, 0, 0, 0)


def test_predicted_numbers_are_counted_by_size(metrics):
    metrics.numbers([100.0, 104.0, 1e6, -100.0])
    read = observation.read(metrics.text().decode())
    np.testing.assert_array_equal(read.groups, grouped([100.0, 104.0, 1e6, -100.0]))
    assert group(100.0) == group(104.0)
    assert len({group(10.0**power) for power in range(8)}) > 4


def test_each_label_of_a_list_counts():
    np.testing.assert_array_equal(grouped([["a", "b"], [], "a"]), grouped(["a", "b", "a"]))
    assert grouped([]).tolist() == [0] * GROUPS


def test_counts_of_servers_add_up_and_earlier_ones_are_taken_off():
    one = Observation(2, 1, np.arange(len(SECONDS)), np.arange(GROUPS))
    both = one + one
    assert (both.requests, both.errors, both.slower[-1], both.groups[-1]) == (4, 2, 24, 2 * (GROUPS - 1))
    rest = both.since(one)
    assert (rest.requests, rest.errors, rest.slower[-1], rest.groups[-1]) == (2, 1, 12, GROUPS - 1)


def test_a_server_that_was_started_anew_has_counted_all_of_it_since():
    before, now = Observation(5, 1), Observation(3, 1)
    assert now.since(before) is now
