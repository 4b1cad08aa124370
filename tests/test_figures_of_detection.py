"""What `make bench-statistics` simulates in bulk is what Zeta decides every morning."""

import numpy as np
import pytest

from pipeline import detectors
from pipeline.config import Degradation
from pipeline.detectors import Others
from pipeline.tally import Point
from tests.bench.statistics.detection import DROP, LOSS, REFERENCE, YEAR, World, zeta

RULE = Degradation(smallest_drop=DROP, false_alarms_per_year=0.05)


@pytest.mark.parametrize("world", [World(2000, 0.01, earlier=2), World(500, 0.01, 0.5, weekly=True, earlier=0)])
def test_a_simulated_year_has_the_alarms_that_its_mornings_have(world, monkeypatch):
    monkeypatch.setattr(detectors, "DAYS_A_YEAR", YEAR)
    losses = world.losses(3, 5, 0.03, np.array([20, 40, 60]))
    alarms, variance = zeta(losses, world), LOSS * (1 - LOSS) / world.rows
    assert alarms.any(axis=0).all()
    for champion, column in enumerate(losses.T):
        points = [Point(day, 1, world.rows, float(loss), variance) for day, loss in enumerate(column)]
        begin, end = len(points) - YEAR - REFERENCE, len(points) - YEAR
        earlier = [points[:begin]] if begin else []
        for day in [*range(0, YEAR, 9), 26, 28, 54, 55, 56]:
            found = detectors.state(points[begin:end], points[end : end + day + 1], RULE, Others(earlier))
            assert (found.evidence > 1) == alarms[day, champion], (champion, day, found.evidence)
