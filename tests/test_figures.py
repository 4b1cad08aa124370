import math

import pytest

from pipeline.figures import figure


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.41449, "0.414"),
        (0.00012, "0.000120"),
        (12.345, "12.3"),
        (123456.7, "123,457"),
        (-0.012, "-0.012"),
        (0, "0"),
        (None, None),
        (math.nan, None),
        (-math.inf, None),
    ],
)
def test_a_figure_has_the_digits_one_reads(value, shown):
    assert figure(value) == shown


def test_a_gain_shows_its_plus():
    assert figure(0.25, "+") == "+0.250"
