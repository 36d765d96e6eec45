"""What a chair shows: colours, trends, the latest values, what is due. IEC 60601-1-8: red, yellow, cyan."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.board import Chair, Latest, Series, colour, show_alarm, show_chair, transition
from services.monitoring.board_due import Due, due_next
from services.monitoring.protocol import Measurement
from services.monitoring.wiring import make_deps
from shared.persistence.mongo import Document
from shared.persistence.vault import KeyRing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SYSTOLIC, SPO2 = "8480-6", "59408-5"
DEPS = make_deps(KeyRing("k1:" + "A" * 43 + "="))
IV, LOZENGE = (DEPS.dosing({"protocol_version": f"{name}-2026-11"}) for name in ("iv", "sublingual"))


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


STOPPED = {"state": "stopped", "since": after(2400), "rate_mg_per_h": None}


def session(**fields: Any) -> Document:
    base: Document = {"_id": "s-1", "room": "R", "chair": "2", "state": "dosing", "aborted": False, "version": 3}
    return base | {"baseline_at": NOON, "doses": [{"at": NOON}], "label_sealed": None} | fields


def reading(value: float, seconds: float = 0, sign: str = SYSTOLIC, **fields: Any) -> Document:
    at = after(seconds)
    return {"session_id": "s-1", "sign": sign, "value": value, "taken_at": at, "received_at": at} | fields


def alarm(number: int = 1, priority: str = "high", **fields: Any) -> Document:
    base: Document = {"_id": f"a-{number}", "session_id": "s-1", "rule": "r", "priority": priority, "open": True}
    return base | {"version": 1, "raised_at": after(number)} | fields


@pytest.mark.parametrize(
    ("priorities", "shown"),
    [([], "none"), (["low"], "cyan"), (["low", "medium"], "yellow"), (["medium", "high", "low"], "red")],
)
def test_the_worst_alarm_gives_the_colour(priorities: list[str], shown: str) -> None:
    assert colour(priorities) == shown


@pytest.mark.parametrize(
    ("values", "trend"),
    [([120], None), ([120, 124], "steady"), ([120, 126], "up"), ([126, 120], "down"), ([120, 180, 121], "steady")],
)
def test_the_trend_is_against_the_oldest_value_of_five_minutes(values: list[float], trend: str | None) -> None:
    series = Series(SYSTOLIC)
    for number, value in enumerate(values):
        series.add(after(60 * number), value)
    assert series.trend() == trend


def test_what_is_older_than_five_minutes_is_no_trend_any_more() -> None:
    series = Series(SYSTOLIC)
    for seconds, value in ((0, 90), (200, 150), (400, 150)):
        series.add(after(seconds), value)
    assert series.trend() == "steady"


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 250)), min_size=1, max_size=60))
def test_the_newest_value_is_shown_in_whatever_order_they_come(readings: list[tuple[int, int]]) -> None:
    series = Series(SYSTOLIC)
    for seconds, value in readings:
        series.add(after(seconds), value)
    shown = series.shown()
    assert shown is not None
    newest = max(seconds for seconds, _ in readings)
    assert shown["at"] == after(newest)
    assert shown["value"] in [value for seconds, value in readings if seconds == newest]
    assert len(series.samples) <= 16


@pytest.mark.parametrize(
    "doubtful",
    [
        reading(999, quarantined="above_bound"),
        reading(120, received_at=after(11)),
        reading(120, late=True),
        reading(1, sign="0000-0"),
    ],
)
def test_what_is_not_believed_or_not_of_now_is_not_shown(doubtful: Document) -> None:
    chair = Chair(session())
    assert not chair.take(doubtful)
    assert show_chair(chair, IV)["signs"] == {}


def test_by_a_clock_that_is_known_to_be_wrong_a_value_is_of_its_arrival() -> None:
    chair = Chair(session())
    assert chair.take(reading(120, received_at=after(3600), clock_off_s=3600.0))
    assert show_chair(chair, IV)["signs"][SYSTOLIC]["at"] == after(3600)


def test_a_frame_holds_of_each_sign_the_latest_and_is_then_empty() -> None:
    chair, latest = Chair(session()), Latest()
    for number, value in enumerate((120, 121, 122)):
        chair.take(reading(value, number))
        latest.note("s-1", SYSTOLIC)
    latest.note("gone", SYSTOLIC)
    assert {sign: shown and shown["value"] for sign, shown in latest.take({"s-1": chair})["s-1"].items()} == {
        SYSTOLIC: 122
    }
    assert latest.take({"s-1": chair}) == {}


def test_a_sign_of_which_no_value_stands_any_more_is_told_as_nothing() -> None:
    chair, latest = Chair(session()), Latest()
    chair.take(reading(120))
    chair.take(reading(250, 1))
    chair.retake(SYSTOLIC, [reading(120)])
    latest.note("s-1", SYSTOLIC)
    shown = latest.take({"s-1": chair})["s-1"][SYSTOLIC]
    assert shown is not None
    assert shown["value"] == 120
    chair.retake(SYSTOLIC, [])
    latest.note("s-1", SYSTOLIC)
    assert latest.take({"s-1": chair}) == {"s-1": {SYSTOLIC: None}}
    assert show_chair(chair, IV)["signs"] == {}


def test_an_older_state_of_an_alarm_never_replaces_a_newer_one() -> None:
    chair = Chair(session())
    assert chair.judge(alarm(version=3, acknowledged_at=after(5)))
    assert not chair.judge(alarm(version=2))
    assert show_chair(chair, IV)["alarms"][0]["transition"] == "acknowledged"
    assert chair.judge(alarm(version=4, open=False, cleared_at=after(9)))
    assert show_chair(chair, IV)["colour"] == "none"


def test_alarms_are_shown_worst_first_then_oldest() -> None:
    chair = Chair(session())
    for row in (alarm(1, "low"), alarm(3), alarm(2)):
        chair.judge(row)
    assert [row["id"] for row in show_chair(chair, IV)["alarms"]] == ["a-2", "a-3", "a-1"]


@pytest.mark.parametrize(
    ("fields", "happened"),
    [
        ({}, "raised"),
        ({"acknowledged_at": after(9)}, "acknowledged"),
        ({"acknowledged_at": after(9), "attended_at": after(12)}, "attended"),
        ({"renewed_at": after(200)}, "renewed"),
        ({"escalated_at": after(3)}, "escalated"),
        ({"silenced_at": after(3), "silenced_until": after(123)}, "silenced"),
        ({"acknowledged_at": after(9), "suppressed_at": after(9)}, "suppressed"),
        ({"open": False, "cleared_at": after(9), "acknowledged_at": after(10)}, "cleared"),
    ],
)
def test_what_happened_last_to_an_alarm(fields: Document, happened: str) -> None:
    assert transition(alarm(**fields)) == happened


def test_an_alarm_shows_neither_patient_nor_clinic() -> None:
    assert not {"patient_id", "clinic_id"} & set(show_alarm(alarm(patient_id="p-1", clinic_id="c-1")))


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"state": "checked_in", "doses": []}, Due("baseline", None)),
        ({"state": "baseline", "doses": []}, Due("dose_before", after(15 * 60))),
        ({"state": "recovery", "infusion": STOPPED}, Due("discharge_from", after(2400 + 3600))),
        ({"state": "dosing", "infusion": STOPPED | {"state": "running"}}, None),
        ({"state": "discharged"}, None),
    ],
)
def test_what_is_due_next(fields: Document, due: Due | None) -> None:
    assert due_next(session(**fields), IV, {}) == due


def test_of_what_is_no_infusion_the_discharge_is_so_long_after_the_last_dose() -> None:
    row = session(doses=[{"at": NOON}, {"at": after(300)}], infusion=STOPPED)
    assert due_next(row, LOZENGE, {}) == Due(
        "discharge_from", after(300 + 60 * LOZENGE.discharge.min_minutes_after_dose)
    )


PRESSURE = {"name": "pressure", "signs": (SYSTOLIC, "8462-4"), "phase": "dosing", "grace_minutes": 5.0}
EVERY_10, AT_40 = PRESSURE | {"every_minutes": 10.0}, PRESSURE | {"since": "first_dose", "at_minutes": (40.0,)}


@pytest.mark.parametrize(
    ("item", "noted", "taken", "minutes"),
    [
        (EVERY_10, 10, {}, 10),
        (EVERY_10, 10, {SYSTOLIC: 6, "8462-4": 6}, 20),
        (EVERY_10, 10, {SYSTOLIC: 4, "8462-4": 6}, 10),
        (EVERY_10, 10, {SYSTOLIC: 12}, 10),
        (EVERY_10, None, {}, None),
        (EVERY_10, 90, {}, None),
        (AT_40, 40, {SYSTOLIC: 12, "8462-4": 12}, 40),
        (AT_40, 40, {SYSTOLIC: 41, "8462-4": 41}, None),
    ],
)
def test_the_next_measurement_of_the_schedule_is_due_before_what_comes_later(
    item: dict[str, Any], noted: float | None, taken: dict[str, int], minutes: float | None
) -> None:
    protocol = SimpleNamespace(gate=IV.gate, discharge=IV.discharge, infused=False, schedule=[Measurement(**item)])
    row = session(phase_since=NOON, due={} if noted is None else {"pressure": after(60 * noted)})
    due = due_next(row, protocol, {sign: after(60 * when) for sign, when in taken.items()})
    measured = Due("measure", after(60 * (minutes or 0)), (SYSTOLIC, "8462-4"))
    assert due == (measured if minutes is not None else Due("discharge_from", after(3600)))


def test_a_scale_is_due_until_it_was_noted_and_a_value_tells_what_is_due_instead() -> None:
    sedation = EVERY_10 | {"name": "sedation", "signs": (), "scales": ("moaas",)}
    rules: Document = {"gate": IV.gate, "discharge": IV.discharge, "infused": False}
    protocol: Any = SimpleNamespace(**rules, schedule=[Measurement(**sedation)])
    chair = Chair(session(phase_since=NOON, due={"sedation": after(600)}))
    assert chair.has_other_due(protocol)
    assert chair.due == {"code": "measure", "at": after(600), "signs": ("moaas",)}
    assert not chair.has_other_due(protocol)
    chair.row["scores"] = {"moaas": {"at": after(540), "value": 5}}
    assert chair.has_other_due(protocol)
    assert chair.due["at"] == after(1200)


def test_where_no_dose_is_given_nothing_of_a_dose_is_due() -> None:
    for state in ("checked_in", "baseline"):
        assert due_next(session(state=state, doses=[]), SimpleNamespace(), {}) is None


def test_a_chair_whose_protocol_is_not_known_here_is_shown_all_the_same() -> None:
    shown = show_chair(Chair(session(), "ADA"), None)
    assert (shown["label"], shown["due"], shown["route"]) == ("ADA", None, None)
