"""The figures that Zeta's decisions have to reach, simulated: ``python -m tests.bench.statistics [years]``.

Prints each with its bounds, and what simpler rules come to in the same run; draws delays against false alarms
(curves.png); puts both into MLflow if that runs; exits with 1 and the names of the figures that are missed.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.workspace import commit
from tests.bench.statistics import curves, detection, gate, shown
from tests.bench.statistics.figure import Figure

CONSOLE = Console(width=150)


def main(number: int) -> None:
    """Simulate, print, draw, put into MLflow."""
    # Before curves.png is drawn, which is a file of the checkout.
    code, image = commit() or "unknown", Path(__file__).with_name("curves.png")
    with CONSOLE.status(f"{number} model-years a scenario"), ProcessPoolExecutor() as workers:
        rules = {"Zeta": detection.zeta, **detection.BASELINES}
        compared = {name: workers.submit(detection.comparison, rule, number // 10) for name, rule in rules.items()}
        found = detection.rows(number, workers)
        drawn = curves.lines(workers, number // 10)
        table = Table("rule", *detection.COMPARED, title="Beside simpler rules", title_justify="left")
        for name, cells in compared.items():
            table.add_row(name, *cells.result())
    found += gate.rows()
    CONSOLE.print(_table(found), table)
    curves.draw(drawn, image)
    CONSOLE.print(shown.put(found, drawn, image, {"commit": code, "years": str(number)}), soft_wrap=True)
    if missed := [f"{figure.name} ({figure.scenario})" for figure in found if not figure.met]:
        sys.exit("missed: " + "; ".join(missed))


def _table(found: list[Figure]) -> Table:
    table = Table(
        "figure", "scenario", "found", "95 % bounds", "of", "target", "", title="Figures", title_justify="left"
    )
    for figure in found:
        value, low, high = (
            f"{one:.0f} d" if figure.target.endswith("d") else f"{one:.2%}"
            for one in (figure.value, figure.low, figure.high)
        )
        table.add_row(
            figure.name, figure.scenario, value, f"{low} .. {high}", str(figure.number), figure.target,
            "" if figure.met else "MISSED",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
