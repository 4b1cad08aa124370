"""The DAG of the digest, read and run by the real Airflow; the ``zeta`` command is a script of the test's."""

import json
import sys

import pytest

from tests.dags.played import airflow, play

AT = "2026-03-03T09:00:00+00:00"
# Fails for now at first.
FAKE = """\
import json, sys
from pathlib import Path
calls = Path(__file__).with_name("calls")
with calls.open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print("Zeta: 0 of 0 models degraded")
sys.exit(75 if len(calls.read_text().splitlines()) == 1 else 0)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path


def test_it_is_there_when_somebody_gets_the_digest(home):
    variables = {"ZETA_DIGEST": "team", "ZETA_DIGEST_SCHEDULE": "30 7 * * 1-5"}
    parsed = play(home, "parse", AT, **variables)
    assert (list(parsed["dags"]), parsed["errors"]) == (["zeta-digest"], {})
    dag = parsed["dags"]["zeta-digest"]
    timetable = dag["timetable"]["__var"]
    assert (timetable["expression"], timetable["timezone"]) == ("30 7 * * 1-5", "UTC")
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    assert play(home, "parse", AT, ZETA_DIGEST="") == {"dags": {}, "errors": {}}


def test_a_schedule_that_is_none_is_told_and_stops_no_other_dag(home):
    parsed = play(home, "parse", AT, ZETA_DIGEST="team", ZETA_DIGEST_SCHEDULE="every morning")
    assert list(parsed["errors"]) == ["digest.py"]
    assert "ZETA_DIGEST_SCHEDULE='every morning': expected five cron fields" in parsed["errors"]["digest.py"]


def test_it_sends_the_digest_and_tries_again_what_may_succeed_later(home):
    command = home / "zeta"
    command.write_text(f"#!{sys.executable}\n{FAKE}")
    command.chmod(0o755)
    airflow(home, "-m", "airflow", "db", "migrate")
    variables = {"ZETA_DIGEST": "team", "ZETA_COMMAND": str(command)}
    [run] = play(home, "play", AT, "zeta-digest", **variables).values()
    assert run == {"state": "success", "tasks": {"digest": ["success", 2]}}
    assert [json.loads(line) for line in (home / "calls").read_text().splitlines()] == [["digest", "--send"]] * 2
