"""Delay against false alarms: what each rule comes to as it is made more or less sensitive."""

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np

from tests.bench.statistics import detection
from tests.bench.statistics.detection import STEADY, WANDERING, Rule, World

_WORLDS = {"the true loss is steady": STEADY, "it wanders by one point a day": WANDERING}
_RULES: dict[str, list[Rule]] = {
    "Zeta": [partial(detection.zeta, alpha=alpha) for alpha in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)],
    "fixed drop": [partial(detection.fixed_drop, drop=drop) for drop in (0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05)],
    "daily z": [partial(detection.daily_z, alpha=alpha) for alpha in (1e-7, 1e-5, 1e-4, 1e-3, 0.01, 0.05)],
    "Mann-Whitney": [partial(detection.mann_whitney, alpha=alpha) for alpha in (1e-5, 1e-4, 1e-3, 0.02)],
}
Lines = dict[tuple[str, str], list[tuple[float, float]]]
"""(world, rule) -> points: share of unchanged years with a false alarm, median days until a drop is found."""


def lines(workers: Executor, number: int) -> Lines:
    """Simulate every rule in every world, at each of its thresholds."""
    begun = {
        (title, name): [workers.submit(_point, rule, world, number) for rule in rules]
        for title, world in _WORLDS.items()
        for name, rules in _RULES.items()
    }
    return {line: [point.result() for point in points] for line, points in begun.items()}


def draw(found: Lines, file: Path) -> None:
    """Draw the curves, one panel a world."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, len(_WORLDS), sharey=True)
    for panel, title in zip(panels, _WORLDS, strict=True):
        for name in _RULES:
            panel.plot(*np.transpose(found[title, name]), "o-", label=name, linewidth=2.5 if name == "Zeta" else 1)
        panel.set(title=title, xlabel="share of unchanged years with a false alarm", yscale="log", ylim=(1, 400))
    panels[0].set_ylabel("median days until a drop of 2 points is found")
    panels[-1].legend()
    figure.savefig(file, dpi=100)


def _point(rule: Rule, world: World, number: int) -> tuple[float, float]:
    found = detection.delays(rule, world, detection.DROP, number)
    return detection.false_alarms(rule, world, number) / number, float(np.median(found)) if len(found) else np.nan
