"""`zeta backtest`: a year of mornings on made-up rows whose meaning turns round in the middle of it."""

from datetime import date, timedelta

import msgspec
import pytest

from pipeline import workspace
from pipeline.backtest import report
from pipeline.backtest.outcome import Backtest
from pipeline.backtest.play import mornings, play, schedule
from pipeline.backtest.walk import PooledDays
from pipeline.data import EPOCH
from pipeline.errors import ConfigError, DataError
from pipeline.verdict import Decision
from tests import parts
from tests.installation import opened
from tests.ports import free_port

BEGIN, TURNED, END = date(2025, 1, 1), date(2025, 7, 1), date(2025, 12, 31)
FIRST = BEGIN + timedelta(days=45)
TURN = {"本": "家電", "家電": "文具", "文具": "本"}
"""What the words of a title mean from then on."""
WEEKLY = {
    "schedule": "0 5 * * 1",
    "training": {"window": "28d", "cooldown": "14d"},
    "gate": {"window": "14d"},
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A toy with a year of rows, where there is no registry."""
    folder = tmp_path_factory.mktemp("backtest")
    rows = parts.listings((BEGIN - EPOCH).days, (END - BEGIN).days + 1, 20)
    late = rows["at"].map(lambda moment: moment.date() >= TURNED)
    rows.loc[late, "category"] = rows.loc[late, "category"].map(TURN)
    rows["at"] = rows["at"].map(lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"))
    rows.to_sql("listings", f"sqlite:///{folder / 'rows.db'}", index=False)
    with opened(folder, f"http://127.0.0.1:{free_port()}") as made:
        yield made, made.toy(**WEEKLY)


@pytest.fixture(scope="module")
def year(toy):
    return play(workspace.load(toy[1]), FIRST, END)


def test_every_scheduled_morning_is_lived_in_the_models_timezone(toy):
    config = workspace.load(toy[1]).config.model_copy(update={"timezone": "Asia/Tokyo"})
    found = mornings(config, date(2025, 3, 3), date(2025, 3, 17))
    assert [one.isoformat() for one in found] == [f"2025-03-{day:02}T05:00:00+09:00" for day in (3, 10, 17)]


def test_it_finds_the_turn_retrains_and_promotes_once(year):
    first, *rest = year.mornings
    assert (first.champion, first.challenger, first.promoted) == (None, "1", True)
    before = [one for one in rest if one.at.date() <= TURNED]
    assert {(one.champion, one.verdict) for one in before} == {("1", Decision.KEEP)}
    alarms = [one for one in rest if one.alarm]
    assert timedelta(0) < alarms[0].at.date() - TURNED <= timedelta(days=7)
    [promotion] = [one for one in rest if one.promoted]
    assert promotion.at.date() - TURNED <= timedelta(days=49)
    after = [one for one in rest if one.at > promotion.at]
    assert {(one.champion, one.verdict) for one in after} == {(promotion.challenger, Decision.KEEP)}
    counts = year.counts()
    assert (counts["mornings"], counts["promotions"], counts["alarms"]) == (len(year.mornings), 1, len(alarms))
    assert counts["retrains"] == counts["rejected"] + 1


def test_policies_are_alike_until_the_turn_and_the_frozen_one_stays_behind(year):
    means = year.means()
    assert means["never"] < means["zeta"] < means["always"]
    assert means["never"] < 0.6 < 0.8 < means["zeta"]
    before = [pool.scores for pool in year.pools if pool.last < TURNED]
    assert all(scores["zeta"] == scores["never"] for scores in before)
    last = year.pools[-1].scores
    assert last["never"] < 0.2 < 0.8 < last["zeta"]


def test_what_was_trained_is_counted(year):
    trained = [one for one in year.mornings if one.challenger]
    assert year.costs["zeta"].fits == len(trained)
    assert year.costs["never"].fits == 1
    # Every later morning knows new points.
    assert year.costs["always"].fits == len(year.mornings)
    assert all(cost.seconds > 0 for cost in year.costs.values())


def test_the_outcome_depends_on_no_number_of_processes(toy):
    # A score that numbers its classes as they turn up, and whose error takes resamples.
    name, last = toy[0].toy(**WEEKLY, evaluation={"score": "macro_f1"}), FIRST + timedelta(days=45)
    one, two = (play(workspace.load(name), FIRST, last, processes) for processes in (1, 2))
    assert one.means()["zeta"] > 0.8
    assert one.mornings == two.mornings
    assert one.pools == two.pools
    assert {policy: cost.fits for policy, cost in one.costs.items()} == {
        policy: cost.fits for policy, cost in two.costs.items()
    }


def test_the_files_hold_all_of_it(year, tmp_path, capsys):
    found = report.write(year, tmp_path / "new" / "folder")
    assert [file.name for file in found] == ["backtest.json", "backtest.png"]
    assert msgspec.json.decode(found[0].read_bytes(), type=Backtest) == year
    assert found[1].read_bytes().startswith(b"\x89PNG")
    assert report.write(year, tmp_path)[1].read_bytes() == found[1].read_bytes()
    report.show(year)
    printed = capsys.readouterr().out
    assert "retraining always" in printed
    assert f"mornings {len(year.mornings)}, alarms {year.counts()['alarms']}" in printed


def test_always_refits_on_mornings_with_a_new_point_and_answers_what_begins_then(toy):
    config = workspace.load(toy[1]).config
    first = (date(2025, 3, 3) - EPOCH).days
    pools = [PooledDays([first + 3 * index + 2], 3, 60) for index in range(5)]
    moments = mornings(config.model_copy(update={"schedule": "0 5 * * *"}), date(2025, 3, 3), date(2025, 3, 10))
    found = [(one.end - first, list(one.pools)) for one in schedule(config, pools, moments)]
    # The pool of days 0 to 2 is known on the morning of day 3, which answers what begins on that day.
    assert found == [(3, [1]), (6, [2, 3, 4])]


@pytest.mark.parametrize(
    ("first", "last", "message", "code"),
    [
        ("2025-03-02", "2025-03-01", "expected the first day before the last", 2),
        ("March", "2025-03-01", "--from 'March': expected a day in ISO 8601", 2),
        ("2025-03-04", "2025-03-05", 'no morning of the schedule "0 5 * * 1" is from 2025-03-04 to 2025-03-05', 2),
        ("2031-03-01", "2031-06-01", "gives no row in", 3),
        ("2025-01-01", "2025-01-10", "no version was fit to be the first by 2025-01-06", 3),
    ],
)
def test_what_cannot_be_replayed_is_one_error(toy, first, last, message, code):
    from pipeline import backtest

    expected = ConfigError if code == ConfigError.exit_code else DataError
    with pytest.raises(expected) as error:
        backtest.run(toy[1], first, last, None)
    assert message in str(error.value)


def test_the_command_prints_where_its_files_are(toy, tmp_path):
    made, name = toy
    done = made.zeta("backtest", name, "--from", FIRST, "--to", FIRST + timedelta(days=14), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [str(tmp_path / "backtest.json"), str(tmp_path / "backtest.png")]
    assert "refits" in done.stderr
    assert "refits" not in done.stdout
