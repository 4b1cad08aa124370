"""A Helm that is killed at its work leaves a release pending; the next call mends it, and what served serves."""

import shutil
import sys
from pathlib import Path

import pytest

from pipeline.errors import Permanent
from pipeline.rollout import roll_out
from pipeline.verdict import Rollout
from tests.cluster.conftest import RULES, promoted

NAME = "cut"
SCRIPT = Path(__file__).with_name("cut_helm.py")


@pytest.fixture(scope="module")
def cut(cluster, tmp_path_factory):
    """Let the next Helm be killed when the release gets a status: ``cut("pending-upgrade")``."""
    folder = tmp_path_factory.mktemp("helm")
    program, at = folder / "helm", folder / "at"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P {SCRIPT} "$@"\n')
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUT_HELM", shutil.which("helm"))
        patch.setenv("CUT_AT", str(at))
        patch.setenv("HELM", str(program))
        yield at.write_text
    assert not at.exists()


@pytest.fixture(scope="module")
def platform(cut, platform):
    return platform


def test_one_killed_at_the_first_release_leaves_nothing_and_the_next_run_promotes(platform, images, cut):
    cut("pending-install")
    verdict = roll_out(platform, NAME, images.target("1"), images.proof("1"), None)
    assert verdict.outcome == Rollout.ROLLED_BACK
    assert "helm upgrade failed" in verdict.reasons[0]
    assert [platform.release(NAME, role) for role in ("stable", "canary")] == [None, None]
    promoted(platform, images, NAME)


def test_one_killed_at_an_upgrade_is_rolled_back(platform, images, cut):
    champion = promoted(platform, images, NAME)
    cut("pending-upgrade")
    verdict = roll_out(platform, NAME, images.target("2"), images.proof("2"), champion, RULES.canary)
    assert verdict.outcome == Rollout.ROLLED_BACK
    stable = platform.release(NAME, "stable")
    assert (stable.digest, stable.ready, platform.release(NAME, "canary")) == (champion.digest, True, None)


def test_one_killed_at_the_rollback_of_a_killed_one_is_mended_as_well(platform, images, cut):
    champion, two = promoted(platform, images, NAME), images.target("2")
    for status, change in (
        ("pending-upgrade", lambda: platform.start_canary(NAME, two.version, two.digest)),
        ("pending-rollback", lambda: platform.remove_canary(NAME)),
    ):
        cut(status)
        with pytest.raises(Permanent, match="failed"):
            change()
    platform.remove_canary(NAME)
    stable = platform.release(NAME, "stable")
    assert (stable.digest, stable.ready, platform.release(NAME, "canary")) == (champion.digest, True, None)


def test_one_killed_at_the_removal_is_completed(platform, images, cut):
    promoted(platform, images, NAME)
    cut("uninstalling")
    with pytest.raises(Permanent, match="helm uninstall failed"):
        platform.remove(NAME)
    platform.remove(NAME)
    assert platform.release(NAME, "stable") is None
