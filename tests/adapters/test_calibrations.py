import numpy as np
import pytest

from pipeline import calibration
from pipeline.adapters import calibrations
from tests.installation import KEEP, at

INPUTS = (-40, 5, 20)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "known", calibration.known)
    calibrations.keep(tmp_path)
    return tmp_path


def fresh(folder):
    """Look calibrations up as a process does that has just begun."""
    calibrations._kept.cache_clear()
    calibrations.keep(folder)


def test_what_a_process_has_simulated_the_next_one_reads(folder, monkeypatch):
    simulated = calibration.known(*INPUTS)
    assert np.array_equal(simulated, calibration.exceeded(*INPUTS))
    fresh(folder)
    monkeypatch.setattr(calibration, "exceeded", None)
    assert np.array_equal(calibration.known(*INPUTS), simulated)
    assert calibration.known(*INPUTS) is calibration.known(*INPUTS)


@pytest.mark.parametrize("left", [b"", b"\x93NUMPY", b"no array"])
def test_one_that_was_cut_short_is_made_anew(folder, left):
    simulated = calibration.known(*INPUTS)
    [file] = folder.glob("*/*.npy")
    whole = file.read_bytes()
    file.write_bytes(left)
    fresh(folder)
    assert np.array_equal(calibration.known(*INPUTS), simulated)
    assert file.read_bytes() == whole


def test_other_code_reads_none_of_it(folder, monkeypatch):
    calibration.known(*INPUTS)
    monkeypatch.setattr(calibrations.np, "__version__", "0")
    fresh(folder)
    calibration.known(*INPUTS)
    assert len([*folder.glob("*/*.npy")]) == 2


def test_the_processes_of_a_run_share_them(kept):
    made, name = kept
    done = made.zeta("decide", name, "--at", at(KEEP).isoformat())
    assert done.returncode == 0, done.stderr
    assert [*(made.home / "calibrations").glob("*/*.npy")]
