import numpy as np
import pytest

from pipeline import scores
from pipeline.gap import Gap

DAYS = [100, 101, 102]


def rows(seed, n, right, also):
    """Return days, truths and both answers of n rows: the champion is right on a share ``right``, the control on those
    and on a share ``also`` more."""
    random = np.random.default_rng(seed)
    drawn, truth = random.random(n), np.full(n, "x", object)
    champion, control = (np.where(drawn < share, "x", "y").astype(object) for share in (right, right + also))
    return random.choice(DAYS, n), truth, champion, control


def made(name, found, *parts):
    score, (days, truth, champion, control) = scores.get(name), found
    gap = Gap(score)
    for part in parts or [np.arange(len(days))]:
        gap.add(days[part], score.rows(truth[part], champion[part]), score.rows(truth[part], control[part]))
    return gap


@pytest.mark.parametrize("name", ["accuracy", "micro_f1"])
def test_a_gap_is_the_champions_loss_less_the_controls_on_the_same_rows(name):
    found = made(name, rows(0, 3000, 0.7, 0.1)).point([*DAYS, 103], 5)
    assert (found.day, found.days, found.rows) == (103, 5, 3000)
    assert found.loss == pytest.approx(0.1, abs=0.02)


def test_what_both_get_wrong_does_not_vary():
    """Of two models that agree on nine rows in ten, the gap varies as those few rows do."""
    gaps = [made("accuracy", rows(seed, 2000, 0.5, 0.1)).point(DAYS, 3) for seed in range(40)]
    assert np.mean([gap.variance for gap in gaps]) == pytest.approx(0.1 * 0.9 / 2000, rel=0.1)
    assert np.var([gap.loss for gap in gaps]) < 4 * 0.1 * 0.9 / 2000


def test_batches_do_not_matter():
    found = rows(1, 900, 0.7, 0.1)
    order = np.argsort(found[0], kind="stable")
    found = tuple(column[order] for column in found)
    whole, parts = made("accuracy", found), made("accuracy", found, *np.split(np.arange(900), [7, 400, 401]))
    assert parts.point(DAYS, 3) == whole.point(DAYS, 3)


def test_without_rows_there_is_none():
    assert Gap(scores.get("accuracy")).point(DAYS, 3) is None
    assert made("accuracy", rows(1, 90, 0.7, 0.1)).point([99], 1) is None
