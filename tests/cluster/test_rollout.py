"""Roll-outs on a real cluster: what is planted is found, what served before serves, and no client sees a failure."""

import time
from contextlib import contextmanager

import pytest

from pipeline.rollout import roll_out
from pipeline.verdict import Rollout
from tests.cluster.conftest import RULES, promoted

NAME = "titles"


@pytest.fixture
def champion(platform, images):
    """Version 1 serves, before and after."""
    yield promoted(platform, images, NAME)
    stable, canary = platform.release(NAME, "stable"), platform.release(NAME, "canary")
    assert stable.ready
    assert canary is None


@contextmanager
def measured(what):
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s")


def deliver(platform, images, name):
    return roll_out(platform, NAME, images.target(name), images.proof(name), images.target("1"), RULES.canary)


def test_a_fit_version_replaces_the_champion_and_no_client_sees_a_failure(platform, images, champion, load):
    with load(NAME) as asked, measured("from a degraded champion to a promoted version"):
        verdict = deliver(platform, images, "2")
    print(verdict.reasons, asked.said, verdict.numbers)
    assert verdict.outcome == Rollout.PROMOTED
    assert (asked.failed, set(asked.said)) == ([], {"1", "2"})
    assert verdict.numbers["canary_requests"] > 0
    assert platform.release(NAME, "stable").digest == images.digests["2"]
    verdict = roll_out(platform, NAME, images.target("1"), images.proof("1"), images.target("2"))
    assert verdict.outcome == Rollout.PROMOTED


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong", "canary: golden row 0 is answered"),
        ("errors", "errors: "),
        ("latency", "latency: "),
        ("shifted", "predictions: "),
        ("dies", "died (Error, exit code 3)"),
    ],
)
def test_a_faulty_version_is_rolled_back_and_the_champion_serves_on(platform, images, champion, load, fault, words):
    with load(NAME, rate=100) as asked, measured(f"{fault}: until it is found and rolled back"):
        verdict = deliver(platform, images, f"2-{fault}")
    print(verdict.reasons, asked.failures, asked.said)
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert words in verdict.reasons[0]
    assert platform.release(NAME, "stable").digest == champion.digest
    if fault in ("wrong", "latency", "shifted"):
        assert asked.failed == []


def test_without_live_requests_fresh_rows_are_replayed(platform, images, champion):
    verdict = deliver(platform, images, "2")
    assert verdict.outcome == Rollout.PROMOTED
    assert "replayed 100 fresh rows one by one" in verdict.reasons[1]
    roll_out(platform, NAME, images.target("1"), images.proof("1"), images.target("2"))


def test_an_image_that_is_not_there_is_rolled_back(platform, images, champion):
    images.digests["2-absent"] = "sha256:" + "0" * 64
    with measured("absent image: until it is rolled back"):
        verdict = deliver(platform, images, "2-absent")
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert "ImagePull" in verdict.reasons[0] or "ErrImage" in verdict.reasons[0]
