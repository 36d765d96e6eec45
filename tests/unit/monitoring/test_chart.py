"""The chart: everything on one axis, in words too, and the same bytes for the same data."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.chart import HATCH, STYLES, render, thin
from services.monitoring.chart_data import Alarm, Bound, Chart, Mark, Point, Series, chart_of
from services.monitoring.charts import Charts
from services.monitoring.vitals import BY_NAME
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.persistence.mongo import Document

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart(
    title="Vital signs of session s-1",
    axis="minutes",
    now=60,
    series=[
        Series("systolic", "systolic", [Point(0, 120), Point(20, 190), Point(21, 999, doubtful=True)]),
        Series("spo2", "SpO2", [Point(0, 97), Point(30, 88)]),
    ],
    bounds=[Bound("systolic", "sbp_critical_high", 180, "high")],
    marks=[Mark("dose", "ketamine 35 mg", 0), Mark("intervention", "oxygen", 31)],
    alarms=[Alarm("sbp_critical_high", "high", 20, 25, 21), Alarm("spo2_critical_low", "high", 30)],
)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_the_same_chart_is_the_same_bytes_and_survives_its_journey() -> None:
    assert render(CHART) == render(Chart.decode(CHART.encode()))
    assert b"<dc:date>" not in render(CHART)


def test_it_tells_its_title_and_its_content_in_words() -> None:
    root = ET.fromstring(render(CHART))  # noqa: S314 - our own
    assert root.get("role") == "img"
    labelled = [root.find(f"{SVG}{name}") for name in ("title", "desc")]
    assert [part.get("id") for part in labelled if part is not None] == str(root.get("aria-labelledby")).split()
    words = CHART.words()
    assert "systolic: lowest 120, highest 190, last 190." in words
    assert "oxygen at minute 31." in words
    assert "Alarm spo2_critical_low, high, from minute 30 and goes on." in words


def test_everything_of_it_is_drawn() -> None:
    text = " ".join(ET.fromstring(render(CHART)).itertext())  # noqa: S314 - our own
    for drawn in ("systolic", "SpO2", "not believed", "180 sbp_critical_high", "ketamine 35 mg", "oxygen"):
        assert drawn in text


def test_a_name_that_is_markup_stays_text() -> None:
    drawn = render(replace(CHART, marks=[Mark("intervention", "<script>x</script>&", 3)]))
    assert b"<script>" not in drawn
    ET.fromstring(drawn)  # noqa: S314 - our own


def test_series_are_told_apart_without_colour() -> None:
    assert set(STYLES) == set(BY_NAME)
    assert len({marker for _, marker, _ in STYLES.values()}) == len(STYLES)
    assert len(set(HATCH.values())) == len(HATCH)


def test_a_session_without_anything_is_drawn_too() -> None:
    empty = Chart("t", "minutes", 0, [])
    assert b"Nothing was measured." in render(empty)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 300)), min_size=1, max_size=400), st.integers(1, 20))
def test_thinning_loses_no_excursion(values: list[tuple[float, float]], buckets: int) -> None:
    points = sorted((Point(minute, value) for minute, value in values), key=lambda point: point.minute)
    kept = thin(points, buckets)
    assert len(kept) <= max(2 * buckets, 1)
    assert {min(p.value for p in kept), max(p.value for p in kept)} == {
        min(p.value for p in points),
        max(p.value for p in points),
    }
    assert [p.minute for p in kept] == sorted(p.minute for p in kept)


def test_minute_zero_is_the_first_dose() -> None:
    session: Document = {"_id": "s-1", "created_at": at(-30), "ended_at": None}
    session["doses"] = [{"at": NOON, "medication": "ketamine", "amount_mg": 35.0}]
    readings = [
        {"_id": "r-2", "sign": "8480-6", "value": 130, "taken_at": at(5), "quarantined": "above_bound"},
        {"_id": "r-1", "sign": "8480-6", "value": 120, "taken_at": at(-10)},
    ]
    alarms = [{"_id": "a", "rule": "r", "priority": "high", "raised_at": at(6), "cleared_at": at(8)}]
    facts = {"intervention_code": "oxygen"}
    entries = [
        {"_id": "e", "kind": "intervention", "occurred_at": at(7), "facts": facts},
        {"_id": "f", "kind": "observation", "occurred_at": at(8), "facts": {}},
    ]
    chart = chart_of(session, readings, [], alarms, entries, at(9.9))
    assert chart.series[0].points == [Point(-10, 120), Point(5, 130, doubtful=True)]
    assert [(mark.label, mark.minute) for mark in chart.marks] == [("ketamine 35 mg", 0), ("oxygen", 7)]
    assert (chart.alarms[0].begin, chart.alarms[0].end, chart.now) == (6, 8, 9)


@pytest.mark.parametrize(
    ("told", "minute"), [(None, 9), (at(7), 7), (at(3), 6)], ids=["at once", "later", "at the chair already"]
)
def test_an_alarm_is_accepted_when_it_was_not_when_that_was_written_down(told: datetime | None, minute: float) -> None:
    session: Document = {"_id": "s", "created_at": at(0), "doses": []}
    alarm = {"_id": "a", "rule": "r", "priority": "high", "raised_at": at(6), "acknowledged_at": at(9)}
    chart = chart_of(session, [], [], [alarm | {"acknowledged_occurred_at": told}], [], at(10))
    assert chart.alarms[0].acknowledged == minute


async def test_charts_are_drawn_by_a_process_of_their_own_one_after_the_other() -> None:
    charts = Charts(SystemClock().monotonic)
    try:
        first, second = await asyncio.gather(charts.draw(CHART.encode()), charts.draw(CHART.encode()))
        assert first == second == render(CHART)
        assert charts._process
        charts._process.kill()
        await charts._process.wait()
        assert await charts.draw(CHART.encode()) == first
    finally:
        await charts.end()


async def test_a_chart_that_cannot_be_drawn_is_said_so_and_harms_no_other() -> None:
    charts = Charts(SystemClock().monotonic)
    try:
        with pytest.raises(Unavailable):
            await charts.draw(replace(CHART, series=[Series("unknown", "x", [])], now=float("nan")).encode())
        assert re.match(rb"<svg", await charts.draw(CHART.encode()))
    finally:
        await charts.end()
