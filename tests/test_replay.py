"""`zeta replay`: a recorded verdict is made again, and whatever stands in the way is told."""

import json

import pytest

from pipeline import replay, workspace
from pipeline.errors import Permanent
from tests.installation import BOOTSTRAP, COMMIT, KEEP, at


def told(kept, day=KEEP):
    return replay.replay(workspace.load(kept[1]), at(day))


def refused(kept, day=KEEP):
    with pytest.raises(Permanent) as error:
        told(kept, day)
    return str(error.value)


@pytest.fixture
def record(kept):
    """The record of the morning that held, to be read and written; afterwards it is as it was."""
    made, name = kept
    run_id = made.registry.run(name, at(KEEP))
    text = made.registry.read(run_id, "decision.json")
    yield json.loads(text), lambda changed: made.registry.write(run_id, "decision.json", json.dumps(changed))
    made.registry.write(run_id, "decision.json", text)


@pytest.mark.parametrize(("day", "verdict"), [(BOOTSTRAP, "retrain"), (KEEP, "keep")])
def test_a_verdict_made_again_is_equal(kept, day, verdict):
    first, *rest = told(kept, day)
    assert first.endswith(f"{at(day).isoformat()}: {verdict}; made again it is equal, bit for bit")
    assert not [line for line in rest if line.startswith("note:")]


def test_the_command_says_so_and_fails_when_it_is_not(kept, record):
    made, name = kept
    done = made.zeta("replay", name, "--at", at(KEEP))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == told(kept)
    record[1](record[0] | {"outcome": "retrain"})
    done = made.zeta("replay", name, "--at", at(KEEP))
    assert (done.returncode, done.stdout) == (1, "")
    assert 'outcome was recorded as "retrain" and is "keep"' in done.stderr


def test_the_record_holds_what_the_verdict_was_made_from(kept, record):
    held, _ = record
    points = kept[0].seen(kept[1])["points"]["1"]
    assert [row[0] for row in held["inputs"]["reference"] + held["inputs"]["since"]] == [one["day"] for one in points]
    assert held["inputs"]["champion"] == "1"
    assert held["made_with"]["commit"] == COMMIT
    assert 0 < held["numbers"]["reference"] < 0.5


def test_a_changed_number_is_told_field_by_field(kept, record):
    held, write = record
    reference = held["numbers"]["reference"]
    changed = reference * (1 + 1e-15)
    write(held | {"numbers": held["numbers"] | {"reference": changed}})
    text = refused(kept)
    assert f"numbers.reference was recorded as {changed!r} and is {reference!r}" in text
    assert text.count("was recorded as") == 1


def test_a_changed_input_differs_from_the_registrys_history(kept, record):
    held, write = record
    held["inputs"]["reference"][0][3] += 0.5
    write(held)
    text = refused(kept)
    assert "numbers.reference was recorded as" in text
    assert "the registry's history of version 1 holds 1 points otherwise, or not: " in text


def test_other_code_is_told(kept, monkeypatch):
    monkeypatch.setenv("ZETA_COMMIT", "f" * 40)
    assert f"note: commit is {'f' * 40}, when it was recorded {COMMIT}" in told(kept)


def test_a_record_without_inputs_is_one_error_that_names_what_to_do(kept, record):
    record[1]({"outcome": "keep", "reasons": [], "numbers": {}})
    expected = f"is no whole record: Object missing required field `inputs`; `zeta decide {kept[1]} --at"
    assert expected in refused(kept)


def test_a_missing_record_is_one_error_that_names_the_runs_there_are_and_no_run_is_made(kept):
    text = refused(kept, KEEP + 1)
    assert f"no verdict is recorded at {at(KEEP + 1).isoformat()}" in text
    assert at(KEEP).isoformat() in text
    assert f"zeta run {kept[1]} --at" in text
    assert len(kept[0].registry.runs(kept[1])) == 2


def test_a_history_that_is_gone_is_told_and_the_verdict_still_equal(kept):
    registry, name = kept[0].registry, kept[1]
    version = registry.version(name, "1")
    monitor = registry.monitor(version)
    registry.client.delete_run(monitor)
    try:
        first, *rest = told(kept)
    finally:
        registry.client.delete_run(registry.monitor(version))
        registry.client.restore_run(monitor)
    assert first.endswith("equal, bit for bit")
    assert any("the registry's history of version 1 holds" in line for line in rest)
