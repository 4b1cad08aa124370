"""The drawing of a backtest: a line of scores a policy, and below it what Zeta did. For a page 900 pixels wide."""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backtest.outcome import ALWAYS, NEVER, ZETA, Backtest, Mark, mark
from pipeline.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _LINE = "#1f2933", "#5f6b7a", "#e3e7ec"
_LINES = {ALWAYS: ("#c77700", "retraining always"), NEVER: ("#8a94a3", "never retraining"), ZETA: ("#1f6feb", "Zeta")}
# From the lowest row of the strip: its word, the marker and its colour.
_MARKS: dict[Mark, tuple[str, str, str]] = {
    "data_bad": ("bad data", "s", _MUTED),
    "alarm": ("alarm, waits", "|", "#d1242f"),
    "rejected": ("rejected", "X", "#d1242f"),
    "promoted": ("promoted", "^", "#1a7f37"),
}
_INCHES, _DOTS = (9.0, 4.8), 200


def draw(found: Backtest, file: Path) -> None:
    """Draw it into a file. Like backtests, like drawings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure_ = Figure(figsize=_INCHES, dpi=_DOTS, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure_)
    scores, strip = figure_.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for axes in (scores, strip):
        axes.set_axisbelow(True)
        axes.grid(color=_LINE, linewidth=0.8)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=9, labelcolor=_MUTED)
    _scores(scores, found)
    _strip(strip, found)
    figure_.savefig(file, format="png", metadata={"Software": None})


def _scores(axes: "Axes", found: Backtest) -> None:
    means = found.means()
    days = _numbers(day for pool in found.pools for day in (pool.first, pool.last + timedelta(days=1)))
    for policy, (colour, words) in _LINES.items():
        values = [score for pool in found.pools for score in [pool.scores[policy]] * 2]
        heights = [float("nan") if value is None else value for value in values]
        fits = found.costs[policy].fits
        label = f"{words}: mean {figure(means[policy]) or '-'}, {fits} fit{'s' * (fits > 1)}"
        axes.plot(days, heights, color=colour, linewidth=2 if policy == ZETA else 1.3, label=label)
    for day in _numbers(one.at.date() for one in found.mornings if one.promoted):
        axes.axvline(day, color=_MARKS["promoted"][2], linewidth=0.8, linestyle=":")
    title = f"{found.model}: {found.score} of what each policy served"
    axes.set_title(title, loc="left", fontsize=11, color=_INK, pad=26)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9,
        labelcolor=_INK, borderaxespad=0.2, handlelength=1.4, columnspacing=1.6,
    )  # fmt: skip
    if found.better == "lower":
        axes.invert_yaxis()


def _strip(axes: "Axes", found: Backtest) -> None:
    days: dict[Mark, list[date]] = {kind: [] for kind in _MARKS}
    for one in found.mornings:
        if kind := mark(one):
            days[kind].append(one.at.date())
    shown = [kind for kind in _MARKS if days[kind] or kind != "data_bad"]
    for height, kind in enumerate(shown):
        _, marker, colour = _MARKS[kind]
        axes.plot(_numbers(days[kind]), [height] * len(days[kind]), marker, color=colour, markersize=6)
    axes.xaxis_date()
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_yticks(range(len(shown)), [_MARKS[kind][0] for kind in shown])


def _numbers(days: Iterable[date]) -> list[float]:
    from matplotlib.dates import date2num

    return [float(date2num(day)) for day in days]
