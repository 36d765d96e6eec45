"""A session's vital signs as one SVG: values, limits, doses, interventions and alarms on one time axis.

Readable in grey: every series has a marker and a dash of its own, priorities differ in hatching. The same picture gives
the same bytes. Imported by the chart's own process alone: matplotlib costs a second and 80 MB (ADR 14).
"""

import io
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.monitoring.chart_data import Alarm, Bound, Chart, Mark, Point, Series

mpl.rcParams.update(
    {
        "svg.hashsalt": "stillwater",
        "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and copied
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.9",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
BUCKETS = 400
# Colour, marker, dash: the last two tell the series apart without the first.
STYLES = {
    "systolic": ("#7a0010", "v", "-"),
    "diastolic": ("#b05a00", "^", "--"),
    "heart_rate": ("#005a32", "o", "-"),
    "respiratory_rate": ("#4a4a4a", "s", ":"),
    "spo2": ("#00408a", "D", "-"),
    "temperature": ("#5a2d82", "P", "-."),
    "etco2": ("#806000", "X", "--"),
    "pain": ("#303030", "*", ":"),
}
PANELS = (
    ("mm[Hg]", ("systolic", "diastolic")),
    ("/min", ("heart_rate", "respiratory_rate")),
    ("%", ("spo2",)),
    ("other", ("temperature", "etco2", "pain")),
)
HATCH = {"high": "xxxx", "medium": "////", "low": "...."}
SHADE = {"high": "0.45", "medium": "0.7", "low": "0.88"}
BOUND_DASH = {"high": (0, (6, 2)), "medium": (0, (2, 2)), "low": (0, (1, 3))}
MARKERS = {"dose": ("D", "black"), "intervention": ("s", "0.4")}


def thin(points: Sequence[Point], buckets: int = BUCKETS) -> list[Point]:
    """At most two points per bucket of time: its lowest and its highest, so that no excursion is lost."""
    if len(points) <= 2 * buckets:
        return list(points)
    first, last = points[0].minute, points[-1].minute
    width = (last - first) / buckets or 1.0
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(min(int((point.minute - first) / width), buckets - 1), []).append(point)
    kept = []
    for number in sorted(found):
        extremes = {min(found[number], key=_value), max(found[number], key=_value)}
        kept += sorted(extremes, key=lambda point: point.minute)
    return kept


def _value(point: Point) -> float:
    return point.value


def render(chart: Chart) -> bytes:
    """SVG with title and description."""
    panels = [(unit, names) for unit, names in PANELS if any(series.name in names for series in chart.series)]
    heights = [2.0] * len(panels) + [0.8 + 0.22 * len({alarm.rule for alarm in chart.alarms})]
    figure = Figure(figsize=(11, 1.2 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (unit, names) in zip(axes, panels, strict=False):
        _draw_panel(panel, unit, chart, names)
    _draw_events(axes[-1], chart)
    axes[-1].set_xlabel(chart.axis)
    axes[-1].set_xlim(*_span(chart))
    figure.suptitle(chart.title)
    made = io.BytesIO()
    figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    return _described(made.getvalue().decode(), chart).encode()


def _span(chart: Chart) -> tuple[float, float]:
    minutes = [point.minute for series in chart.series for point in (series.points[0], series.points[-1])]
    minutes += [mark.minute for mark in chart.marks] + [alarm.begin for alarm in chart.alarms]
    minutes += [alarm.end for alarm in chart.alarms if alarm.end is not None] + [chart.now]
    low, high = min(minutes), max(minutes)
    return low - 1, max(high, low + 5) + 1


def _draw_panel(panel: Axes, unit: str, chart: Chart, names: Sequence[str]) -> None:
    panel.set_ylabel(unit)
    for series in (one for one in chart.series if one.name in names):
        _draw_series(panel, series)
    for bound in (one for one in chart.bounds if one.name in names):
        _draw_bound(panel, bound)
    for mark in chart.marks:
        panel.axvline(mark.minute, color="0.6", linewidth=0.7, linestyle="-" if mark.kind == "dose" else ":")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _draw_series(panel: Axes, series: Series) -> None:
    colour, marker, dash = STYLES[series.name]
    points = thin([point for point in series.points if not point.doubtful])
    every = max(len(points) // 25, 1)
    panel.plot(
        [point.minute for point in points],
        [point.value for point in points],
        color=colour,
        marker=marker,
        linestyle=dash,
        linewidth=1.2,
        markersize=4,
        markevery=every,
        label=series.label,
    )
    doubtful = [point for point in series.points if point.doubtful]
    if doubtful:
        minutes, values = [point.minute for point in doubtful], [point.value for point in doubtful]
        panel.scatter(minutes, values, marker="x", color="0.3", s=24, label=f"{series.label}, not believed")


def _draw_bound(panel: Axes, bound: Bound) -> None:
    panel.axhline(bound.value, color="0.35", linewidth=0.8, linestyle=BOUND_DASH[bound.priority])
    panel.annotate(
        f"{bound.value:g} {bound.label}",
        (0.998, bound.value),
        xycoords=("axes fraction", "data"),
        fontsize=6,
        color="0.15",
        ha="right",
        va="center",
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        zorder=5,
    )


def _draw_events(panel: Axes, chart: Chart) -> None:
    """One row per rule that alarmed, and one for what people did."""
    rows = sorted({alarm.rule for alarm in chart.alarms})
    panel.set_yticks(range(len(rows) + 1), ["given, done", *rows], fontsize=7)
    panel.set_ylim(-0.8, len(rows) + 0.8)
    for alarm in chart.alarms:
        _draw_alarm(panel, rows.index(alarm.rule) + 1, alarm, chart.now)
    for mark in chart.marks:
        _draw_mark(panel, mark)


def _draw_alarm(panel: Axes, row: int, alarm: Alarm, now: float) -> None:
    width = max((alarm.end if alarm.end is not None else now) - alarm.begin, 0.2)
    shade, hatch = SHADE[alarm.priority], HATCH[alarm.priority]
    panel.barh(row, width, left=alarm.begin, height=0.6, color=shade, hatch=hatch, edgecolor="black", linewidth=0.6)
    if alarm.acknowledged is not None:
        panel.plot([alarm.acknowledged], [row], marker="|", color="black", markersize=12)


def _draw_mark(panel: Axes, mark: Mark) -> None:
    marker, colour = MARKERS[mark.kind]
    panel.plot([mark.minute], [0], marker=marker, color=colour, markersize=6)
    panel.annotate(mark.label, (mark.minute, 0), xytext=(0, 6), textcoords="offset points", fontsize=7, ha="left")


def _described(svg: str, chart: Chart) -> str:
    """Title and description as an assistive technology looks for them; no XML prologue, so that it can be embedded."""
    body = svg[svg.index("<svg") :]
    opening, _, rest = body.partition(">")
    words = f'<title id="chart-title">{escape(chart.title)}</title><desc id="chart-desc">{escape(chart.words())}</desc>'
    return f'{opening} role="img" aria-labelledby="chart-title chart-desc">\n {words}{rest}'
