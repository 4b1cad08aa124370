import pytest

from pipeline.data import Window
from pipeline.ledger import Look, look

WINDOW = Window(100, 128)


def test_the_first_look_errs_by_the_most():
    assert look(WINDOW, [], 0.05) == Look(1, pytest.approx(0.0304, abs=1e-4))


@pytest.mark.parametrize(
    ("earlier", "number"),
    [([Window(72, 100)], 1), ([Window(128, 156)], 1), ([Window(73, 101)], 2), ([WINDOW, WINDOW, Window(0, 28)], 3)],
    ids=["ends where it begins", "begins where it ends", "a day in common", "only what overlaps"],
)
def test_looks_at_none_of_its_rows_do_not_count(earlier, number):
    assert look(WINDOW, earlier, 0.05).number == number


@pytest.mark.parametrize("step", [0, 1, 2, 5, 27])
def test_looks_that_share_a_row_never_spend_more_than_alpha(step):
    windows = [Window(day, day + 28) for day in range(0, step * 200 + 1, step)] if step else [WINDOW] * 200
    spent = [look(window, windows[:at], 0.05).alpha for at, window in enumerate(windows)]
    for day in range(windows[-1].end):
        assert sum(alpha for alpha, one in zip(spent, windows, strict=True) if one.first <= day < one.end) <= 0.05
