"""Charts as inline SVG, in the colours and the font of the page around them; like input, like drawing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import east_asian_width

from pipeline.figures import figure
from pipeline.slices import Better, Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pipeline.comparison import Difference

# Stand-ins while matplotlib draws: it knows no CSS variables.
_INK, _MUTED, _LINE, _PAPER, _CHAMPION, _CHALLENGER, _BAD = (f"#0{i}0{i}0{i}" for i in range(1, 8))
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _PAPER: "var(--paper)",
    _CHAMPION: "var(--champion)",
    _CHALLENGER: "var(--challenger)",
    _BAD: "var(--bad)",
}
_TEXT = 11
_TOP, _BOTTOM = 20, 26


@dataclass(frozen=True)
class ScoredDay:
    """One evaluation of the champion ``version``: its score, 95 % interval and score at deployment."""

    day: date
    score: float
    low: float
    high: float
    reference: float | None
    version: str


def score_over_time(points: Sequence[ScoredDay], alarm: date | None, summary: str, width: int) -> str:
    """Draw each champion's score with its interval, its reference (dashed) and the alarm (dotted)."""
    canvas = _Canvas("score", summary, width, height=230, left=46, right=34)
    first, last = points[0].day.toordinal(), points[-1].day.toordinal()
    pad = max(0.5, (last - first) / 50)
    canvas.axes.set_xlim(first - pad, last + pad)
    named = -math.inf
    for version, group in groupby(points, key=lambda point: point.version):
        champion = list(group)
        start = champion[0].day.toordinal() - pad / 2
        _draw_champion(canvas.axes, champion, pad)
        if start > first:
            canvas.axes.axvline(start, color=_MUTED, linewidth=1)
        if start - named > (last - first) * 60 / width:
            canvas.text(start, 1.03, f"v{version}", "y", color=_MUTED)
            named = start
    if alarm:
        x = alarm.toordinal()
        canvas.axes.axvline(x, color=_BAD, linewidth=1.5, linestyle=":")
        late = x > (first + last) / 2
        canvas.text(x, 0.03, "\u00a0alarm\u00a0", "y", color=_BAD, ha="right" if late else "left")
    ticks = {round(first + (last - first) * i / (width // 140)) for i in range(width // 140 + 1)}
    canvas.finish_axis("y")
    canvas.axes.set_xticks(sorted(ticks), [date.fromordinal(tick).isoformat() for tick in sorted(ticks)])
    return canvas.svg()


def _draw_champion(axes: "Axes", points: list[ScoredDay], pad: float) -> None:
    days = [point.day.toordinal() for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    references = [math.nan if point.reference is None else point.reference for point in points]
    axes.fill_between(days, low, high, color=_CHAMPION, alpha=0.14, linewidth=0)
    axes.vlines(days, low, high, color=_CHAMPION, alpha=0.4, linewidth=1)
    axes.plot(days, [point.score for point in points], "o-", color=_CHAMPION, linewidth=1.6, markersize=3)
    ends = [days[0] - pad / 2, *days, days[-1] + pad / 2]
    axes.plot(ends, [references[0], *references, references[-1]], "--", color=_INK, linewidth=1)


def gain(difference: "Difference", needed: float, summary: str, width: int) -> str:
    """Draw the challenger's gain with both its bounds against what is needed."""
    canvas = _Canvas("gain", summary, width, height=110)
    low, high = difference.low, difference.high
    known = [needed, low, high]
    room = max(max(known) - min(known), 1e-9) * 0.2
    canvas.axes.set_xlim(min(known) - room, max(known) + room)
    canvas.axes.set_ylim(0, 1)
    canvas.axes.axvspan(min(known) - room, needed, color=_BAD, alpha=0.07, linewidth=0)
    canvas.axes.axvline(needed, color=_INK, linewidth=1.2)
    canvas.axes.hlines(0.5, low, high, color=_CHALLENGER, linewidth=2)
    canvas.axes.vlines([low, high], 0.38, 0.62, color=_CHALLENGER, linewidth=2)
    canvas.axes.plot([difference.estimate], [0.5], "D", color=_CHALLENGER, markersize=8)
    canvas.text(needed, 1.05, "too low\u00a0\u00a0", "y", ha="right", color=_MUTED)
    canvas.text(needed, 1.05, "\u00a0\u00a0enough", "y", color=_MUTED)
    canvas.finish_axis("x", "+")
    canvas.axes.set_yticks([])
    return canvas.svg()


def dots(slices: Sequence[Slice], better: Better, margin: float, summary: str, width: int) -> str:
    """Draw a row for each slice: champion (ring), challenger (diamond), what the margin allows (bar)."""
    canvas = _Canvas("slices", summary, width, height=44 * len(slices) + _TOP + _BOTTOM)
    canvas.axes.set_ylim(len(slices) - 0.3, -0.5)
    for y, one in enumerate(slices):
        canvas.text(0, y - 0.12, _fit(f"{one.column} = {one.value}", 34), "x", color=_INK)
        if one.outside:
            canvas.text(1, y - 0.12, "outside", "x", color=_BAD, ha="right", fontweight="bold")
        _draw_slice(canvas.axes, y + 0.2, one, margin * (1 if better == "lower" else -1))
    canvas.axes.margins(x=0.07)
    canvas.finish_axis("x")
    canvas.axes.set_yticks([])
    return canvas.svg()


def _draw_slice(axes: "Axes", y: float, one: Slice, allowed: float) -> None:
    champion, challenger = (math.nan if score is None else score for score in (one.champion, one.challenger))
    axes.hlines(y, champion, champion + allowed, color=_CHAMPION, alpha=0.25, linewidth=8)
    axes.hlines(y, champion, challenger, color=_MUTED, linewidth=1)
    axes.plot([champion], [y], "o", markerfacecolor=_PAPER, markeredgecolor=_CHAMPION, markersize=7)
    axes.plot([challenger], [y], "D", color=_CHALLENGER, markersize=6)


def _fit(text: str, units: int) -> str:
    """Cut to a width in half-width characters: a Japanese one takes two."""
    text = " ".join(text.split())
    used = 0
    for at, letter in enumerate(text):
        used += 2 if east_asian_width(letter) in "WF" else 1
        if used > units:
            return text[:at] + "…"
    return text


class _Canvas:
    """One pair of axes. Its words never reach matplotlib, which would lay them out with fonts of its own."""

    def __init__(self, name: str, summary: str, width: int, height: int, left: int = 4, right: int = 4) -> None:
        from matplotlib.figure import Figure

        self.name, self.summary, self.width, self.height = name, summary, width, height
        self._words: list[str] = []
        inner = (width - left - right, height - _TOP - _BOTTOM)
        self.figure = Figure(figsize=(width / 72, height / 72))
        self.axes = self.figure.add_axes(
            (left / width, _BOTTOM / height, inner[0] / width, inner[1] / height), frameon=False
        )
        self.axes.tick_params(length=0, labelsize=_TEXT, labelcolor=_MUTED, pad=6)

    def text(self, x: float, y: float, words: str, share: Literal["x", "y"], **style: Any) -> None:
        """Write at (x, y) of the data, but the coordinate ``share`` is a share of the axes."""
        transform = self.axes.get_xaxis_transform() if share == "y" else self.axes.get_yaxis_transform()
        self.axes.text(x, y, f"@{len(self._words)}@", transform=transform, fontsize=_TEXT, **style)
        self._words.append(words)

    def finish_axis(self, axis: Literal["x", "y"], sign: str = "") -> None:
        """Give the axis of the scores a few figures and hairlines."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        one = self.axes.yaxis if axis == "y" else self.axes.xaxis
        one.set_major_locator(MaxNLocator(4))
        one.set_major_formatter(FuncFormatter(lambda value, _: figure(value, sign) or ""))
        one.grid(color=_LINE, linewidth=1)
        self.axes.set_axisbelow(True)

    def svg(self) -> str:
        """Return the drawing as an <svg> element without a fixed size or colour."""
        import matplotlib

        drawn, no = StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{self.name}-{self.width}"}):
            self.figure.savefig(drawn, format="svg", metadata=no, transparent=True)
        body = drawn.getvalue().partition("</defs>")[2]
        body = re.sub(r'<g id="[^"]*"', "<g", re.sub(r"font-family: [^;\"]*;? ?", "", body))
        body = re.sub("#0[1-7]0[1-7]0[1-7]", lambda colour: _VARIABLES[colour[0]], body)
        body = re.sub(r"@(\d+)@", lambda word: escape(self._words[int(word[1])]), body)
        summary, box = escape(self.summary), f"0 0 {self.width} {self.height}"
        return f'<svg viewBox="{box}" role="img" aria-label="{summary}"><title>{summary}</title>{body}'
