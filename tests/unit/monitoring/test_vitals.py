"""Vital signs in: bounds with their source, flags, times and clocks, floods, columns, and requests with faults in them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring import arrivals, schemas
from services.monitoring.flood import Flood
from services.monitoring.folding import SPAN, conflict_id, fold, reading_id, span_of, unfold
from services.monitoring.timing import FORGOTTEN, SLACK, TRUSTED, Timing, told
from services.monitoring.vitals import (
    BY_NAME,
    FLAT_READINGS,
    SIGNS,
    Outcome,
    Seen,
    doubtful,
    flat,
    judge,
    jumped,
    settled,
)
from services.monitoring.wiring import protocols
from shared.clock import ManualClock
from shared.errors import BadRequest, TooLarge

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SESSION = "0192a7c4-5b1e-7d3a-9c42-3f8e6b1d0a57"


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("systolic", 39, "collapse"),
        ("systolic", 40, "plausible"),
        ("systolic", 300, "plausible"),
        ("systolic", 301, "quarantined"),
        ("diastolic", 19, "quarantined"),
        ("diastolic", 20, "plausible"),
        ("diastolic", 201, "quarantined"),
        ("heart_rate", 0, "collapse"),
        ("heart_rate", 19, "collapse"),
        ("heart_rate", 301, "quarantined"),
        ("spo2", 0, "collapse"),
        ("spo2", 39, "collapse"),
        ("spo2", 101, "quarantined"),
        ("respiratory_rate", 0, "collapse"),
        ("respiratory_rate", 71, "quarantined"),
        ("temperature", 29, "quarantined"),
        ("temperature", 98, "quarantined"),
        ("etco2", -1, "quarantined"),
        ("etco2", 151, "quarantined"),
        ("pain", 3.5, "quarantined"),
        ("pain", 11, "quarantined"),
        ("pain", 10, "plausible"),
    ],
)
def test_what_is_believed_clinical_md_3_1_and_10(name: str, value: float, verdict: str) -> None:
    sign = BY_NAME[name]
    assert judge(sign.loinc, value, sign.unit)[0] == verdict


@pytest.mark.parametrize(
    ("name", "value", "asks"),
    [
        ("systolic", 69, True),
        ("systolic", 70, False),
        ("systolic", 220, False),
        ("systolic", 221, True),
        ("diastolic", 39, True),
        ("diastolic", 131, True),
        ("heart_rate", 39, True),
        ("heart_rate", 161, True),
        ("spo2", 84, True),
        ("spo2", 100, False),
        ("respiratory_rate", 7, True),
        ("respiratory_rate", 36, True),
        ("temperature", 34.9, True),
        ("temperature", 39.1, True),
        ("etco2", 19, True),
        ("etco2", 61, True),
        ("pain", 10, False),
    ],
)
def test_what_a_human_is_asked_to_confirm_clinical_md_3_1(name: str, value: float, asks: bool) -> None:
    assert doubtful(BY_NAME[name].loinc, value) is asks


def test_a_change_that_no_body_makes_is_flagged() -> None:
    heart = BY_NAME["heart_rate"].loinc
    before = Seen(70, NOW, NOW)
    assert jumped(heart, 160, NOW + seconds(1), before)
    assert not jumped(heart, 110, NOW + seconds(1), before)
    assert not jumped(heart, 160, NOW + seconds(11), before)


def test_a_line_without_life_is_flagged_and_a_saturation_may_stand_still() -> None:
    heart, spo2 = BY_NAME["heart_rate"].loinc, BY_NAME["spo2"].loinc
    seen = Seen(70, NOW, NOW)
    for second in range(1, 300):
        assert not flat(heart, 70, NOW + seconds(second), seen)
        seen = seen.then(70, NOW + seconds(second))
    assert seen.times >= FLAT_READINGS
    assert flat(heart, 70, NOW + seconds(300), seen)
    assert not flat(heart, 71, NOW + seconds(300), seen)
    assert not flat(spo2, 70, NOW + seconds(300), seen)


def test_a_cuff_that_measures_the_same_now_and_then_is_no_flat_line() -> None:
    heart = BY_NAME["heart_rate"].loinc
    assert not flat(heart, 70, NOW, Seen(70, NOW, NOW - seconds(3600), times=6))


def deliveries(*offsets: float, every_s: float = 5, span_s: float = 0) -> list[str]:
    """What a device tells whose newest readings came in with these offsets, one delivery after the other."""
    found: list[str] = []
    timing: Timing | None = None
    for number, offset in enumerate(offsets):
        timing = told(timing, seconds(offset), seconds(span_s), NOW + seconds(number * every_s), TRUSTED, SLACK)
        found.append(timing.tells)
    return found


def test_within_ten_seconds_the_device_is_believed() -> None:
    assert deliveries(0, 10, -10, 3) == ["now"] * 4


def test_a_wrong_clock_keeps_its_offset() -> None:
    assert deliveries(60, 60.4, 59.8, 61, 60) == ["unsure", "unsure", "clock", "clock", "clock"]


def test_a_wrong_clock_that_drifts_stays_one() -> None:
    assert deliveries(*[60 + number for number in range(20)], every_s=10)[1:] == ["clock"] * 19


def test_an_offset_that_stands_for_some_seconds_may_still_be_a_backlog() -> None:
    """Each delivery takes five seconds, because the store is slow, and tells of five."""
    assert deliveries(13, 13.4, 13.2, 10.5, every_s=4.9) == ["unsure", "unsure", "unsure", "late"]


def test_deliveries_that_wait_for_the_store_as_long_as_they_tell_of_are_no_wrong_clock() -> None:
    """The store is away for half a minute: each body is said again until it is taken, ten seconds after it was made."""
    assert deliveries(10.5, 10.3, 11, every_s=10.4) == ["unsure"] * 3


def test_a_slow_device_whose_clock_is_wrong_by_less_than_its_interval_is_found_by_the_fourth_reading() -> None:
    assert deliveries(30, 30, 30, 30, 30, every_s=60) == ["unsure"] * 3 + ["clock"] * 2


def test_a_device_that_is_heard_every_two_minutes_is_not_forgotten_before_its_fourth_reading() -> None:
    assert deliveries(30, 30, 30, 30, every_s=120) == ["unsure"] * 3 + ["clock"]


def test_a_cuff_that_measures_every_ten_minutes_by_a_wrong_clock_is_found() -> None:
    """By less than its interval, and by more."""
    assert deliveries(40, 40, 40, 40, 40, every_s=600) == ["unsure"] * 3 + ["clock"] * 2
    assert deliveries(18000, 18000, 18000, every_s=600) == ["unsure"] + ["clock"] * 2


def test_what_came_late_long_ago_does_not_make_the_next_reading_late() -> None:
    assert deliveries(100, 12, every_s=600) == ["unsure"] * 2


def test_a_device_is_remembered_for_twice_the_longest_interval_of_the_shipped_schedules() -> None:
    schedules = [item for protocol in protocols().values() for item in protocol.schedule]
    longest = timedelta(minutes=max(item.every_minutes or 0 for item in schedules))
    assert longest * 2 <= FORGOTTEN


def test_a_backlog_falls_until_it_has_reached_the_present() -> None:
    assert deliveries(600, 450, 300, 150, 2) == ["unsure", "late", "late", "late", "now"]


def test_the_signs_of_one_moment_that_come_one_by_one_are_no_wrong_clock() -> None:
    assert deliveries(600, 600, 600, 600, every_s=0.1) == ["unsure"] * 4


def test_a_delivery_that_is_a_stretch_of_time_is_a_backlog_until_the_next_contradicts() -> None:
    assert deliveries(300, 200, span_s=30) == ["late", "late"]
    assert deliveries(300, 300, 300, span_s=30) == ["late", "late", "clock"]


def test_a_clock_that_is_ahead_is_wrong_at_once() -> None:
    assert deliveries(-11) == ["clock"]


def test_no_gap_is_longer_than_half_a_day() -> None:
    assert deliveries(13 * 3600) == ["clock"]


def test_a_clock_that_was_put_right_is_believed_again() -> None:
    assert deliveries(60, 60, 60, 1) == ["unsure", "unsure", "clock", "now"]


class Measured:
    def __init__(self, second: int) -> None:
        self.taken_at = NOW + seconds(second)


def test_of_a_flood_the_newest_readings_win_and_no_abnormal_one_is_dropped() -> None:
    clock = ManualClock(NOW)
    flood = Flood(clock.monotonic, per_second=1, at_once=4)
    readings = [Measured(second) for second in range(8)]
    abnormal = [second in (0, 1) for second in range(8)]
    assert flood.dropped(("c", "m1"), readings, abnormal) == {2, 3, 4, 5}
    assert flood.dropped(("c", "m1"), readings[:2], [True, True]) == set()
    assert flood.dropped(("c", "m1"), readings[2:3], [False]) == {0}
    assert flood.take(("c", "m2"), 4)
    assert not flood.take(("c", "m2"), 1)
    clock.advance(2)
    assert flood.dropped(("c", "m1"), readings[2:5], [False] * 3) == {0}


def row(at: datetime, value: float, device: str = "m1", **more: Any) -> dict[str, Any]:
    sign = "8480-6"
    about = {"schema_version": 1, "clinic_id": "c", "session_id": SESSION, "sign": sign, "value": value}
    times = {"taken_at": at, "received_at": at + timedelta(milliseconds=40), "unit": "mm[Hg]", "device": device}
    return {"_id": reading_id(SESSION, sign, at, device), **about, **times, **more}


readings_of_a_span = st.lists(
    st.tuples(
        st.integers(0, 599_999),
        st.floats(0, 300),
        st.sampled_from(["m1", "m2", "manual"]),
        st.dictionaries(st.sampled_from(["late", "after_end", "conflict"]), st.just(True), max_size=2),
    ),
    min_size=1,
    max_size=50,
    unique_by=lambda item: (item[0], item[2]),
)


@given(readings_of_a_span)
def test_columns_give_back_the_rows_as_they_were(items: list[tuple[int, float, str, dict[str, bool]]]) -> None:
    rows = [row(NOW + timedelta(milliseconds=ms), value, device, **more) for ms, value, device, more in items]
    found = list(unfold(fold(rows)))
    assert sorted(found, key=lambda item: item["_id"]) == sorted(rows, key=lambda item: item["_id"])


def test_a_bucket_takes_what_comes_later_and_what_was_decided() -> None:
    first, second = row(NOW, 120), row(NOW + seconds(1), 121)
    bucket = fold([second], fold([first]))
    bucket = fold([{**first, "decision": "artefact"}], bucket)
    assert [(item["value"], item.get("decision")) for item in unfold(bucket)] == [(120, "artefact"), (121, None)]


ARTEFACT, CONFIRMED, AWAY, BACK = (
    {"decision": "artefact"},
    {"decision": "confirmed"},
    {"moved_to": "s"},
    {"moved_from": "s"},
)


@pytest.mark.parametrize(
    ("there", "late", "kept"),
    [
        ({}, {"value": 121}, [{"value": 120}, {"value": 121, "conflict": True}]),
        (ARTEFACT, {}, [{"value": 120} | ARTEFACT]),
        (ARTEFACT, CONFIRMED, [{"value": 120} | CONFIRMED]),
        (AWAY, {}, [{"value": 120} | AWAY]),
        (AWAY, BACK, [{"value": 120} | BACK]),
        (ARTEFACT, AWAY, [{"value": 120} | AWAY]),
    ],
)
def test_what_lies_in_columns_gives_way_to_nothing_but_what_a_human_did_since(
    there: dict[str, Any], late: dict[str, Any], kept: list[dict[str, Any]]
) -> None:
    ordinary = row(NOW, 120)
    found = unfold(fold([ordinary | late], fold([ordinary | there])))
    told = ("value", "conflict", "decision", "moved_to", "moved_from")
    assert [{name: item[name] for name in told if name in item} for item in found] == kept


def test_what_came_after_a_decision_is_not_rejected_by_it() -> None:
    confirmed = row(NOW, 120) | CONFIRMED | {"decided_at": NOW + seconds(5), "decided_by": "nurse-1"}
    rows = [confirmed, *(row(NOW, 192, _id=f"~{after}", received_at=NOW + seconds(after)) for after in (4, 6))]
    assert [item.get("decision") for item in settled(rows, confirmed["_id"])] == ["confirmed", "artefact", None]


def test_what_was_moved_away_neither_rejects_nor_is_rejected() -> None:
    human = {"decided_at": NOW + seconds(5), "decided_by": "nurse-1"}
    away = row(NOW, 120) | CONFIRMED | human | AWAY
    other = row(NOW, 192, _id="~192.0")
    assert settled([away, other], "-") == [away, other]
    undecided = row(NOW, 120) | AWAY
    assert settled([undecided, other | CONFIRMED | human], "-") == [undecided, other | CONFIRMED | human]


def test_a_conflict_and_another_unit_keep_their_id_and_unit() -> None:
    first = row(NOW, 120)
    second = {**first, "_id": conflict_id(first["_id"], 97.5), "value": 97.5, "unit": "kPa", "conflict": True}
    assert sorted(unfold(fold([first, second])), key=lambda item: item["value"]) == [second, first]


def test_a_bucket_is_ten_minutes_of_one_sign() -> None:
    assert [span_of(NOW + seconds(after)) for after in (599.999, 600)] == [NOW, NOW + SPAN]


@given(st.lists(st.tuples(st.integers(0, 10**13 - 1), st.sampled_from(sorted(SIGNS))), min_size=2, max_size=9))
def test_ids_of_a_sign_are_in_the_order_of_time(items: list[tuple[int, str]]) -> None:
    at = [(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms % 10**12), sign) for ms, sign in items]
    ids = sorted(reading_id(SESSION, sign, moment, "m") for moment, sign in at)
    assert ids == [reading_id(SESSION, sign, moment, "m") for moment, sign in sorted(at, key=lambda one: one[::-1])]


def request(*values: Any) -> bytes:
    about = {"sign": "8867-4", "unit": "/min", "taken_at": "2026-01-01T10:00:00Z"}
    return orjson.dumps({"readings": [{**about, "value": value} for value in values], "interval_s": 1})


def test_a_malformed_reading_is_refused_and_its_neighbours_are_not() -> None:
    given, faults = arrivals.whole(schemas.Readings, request(70, "high", 71, None))
    assert [reading.value for reading in given.readings] == [70, 71]
    assert {place: fault.reason for place, fault in faults.items()} == {1: "malformed", 3: "malformed"}


@pytest.mark.parametrize("body", [request("high"), b'{"readings": []}', b'{"readings": 1}', b"[]", b"1", b"null"])
def test_a_request_without_any_reading_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(RequestValidationError):
        arrivals.whole(schemas.Readings, body)


@pytest.mark.parametrize("again", [b'"value": 0', b'"value" : 0', b'"val\\u0075e": 0'])
def test_a_name_that_is_said_twice_is_refused(again: bytes) -> None:
    with pytest.raises(BadRequest):
        arrivals.whole(schemas.Readings, request(70).replace(b'"unit"', again + b', "unit"'))


async def test_lines_are_readings_of_their_own() -> None:
    good = b'{"sign": "8867-4", "value": 70, "unit": "/min", "taken_at": "2026-01-01T10:00:00Z"}'
    body = good + b"\n\n{broken\n" + good.replace(b"70", b"NaN") + b"\r\n" + good + b"\n"
    arrived = await arrivals.by_line(schemas.Reading, body)
    assert (len(arrived.readings), sorted(arrived.faults)) == (2, [1, 2])
    stored = [Outcome(str(number), "stored") for number in range(2)]
    told_back = [orjson.loads(line) for line in arrivals.numbered(body, arrived.results(stored)).splitlines()]
    assert [(item["line"], item["result"]) for item in told_back] == [
        (1, "stored"),
        (3, "refused"),
        (4, "refused"),
        (5, "stored"),
    ]


async def test_too_many_lines_and_none_at_all_are_refused() -> None:
    with pytest.raises(TooLarge):
        await arrivals.by_line(schemas.Reading, b"{}\n" * 10_001)
    with pytest.raises(BadRequest):
        await arrivals.by_line(schemas.Reading, b"\n\n")
