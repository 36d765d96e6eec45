"""Slots, opening hours, closures, cadence: properties and the days on which the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.scheduling import schemas
from services.scheduling.cadence import candidates, day_offsets, gap_kept, wanted_starts
from services.scheduling.hours import refusal
from services.scheduling.model import Phase, VisitProtocol
from services.scheduling.slots import SLOT, Bookable, place, slots, starts, take
from services.scheduling.wiring import PROTOCOLS
from shared.protocols import load

NEW_YORK = ZoneInfo("America/New_York")
PROTOCOL = load(PROTOCOLS / "visits.yaml", VisitProtocol)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
lengths = st.integers(1, 480)


def resource(name: str = "r1", **changed: Any) -> dict[str, Any]:
    return {"_id": name, "kind": "room", "active": True, "hours": None, "closures": [], **changed}


def span(day: str, opens: str, closes: str) -> dict[str, str]:
    return {"day": day, "opens": opens, "closes": closes}


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


@given(moments, lengths, moments, lengths)
def test_two_visits_share_a_slot_exactly_when_they_touch_the_same_five_minutes(
    start: datetime, minutes: int, other: datetime, others: int
) -> None:
    end, other_end = start + timedelta(minutes=minutes), other + timedelta(minutes=others)
    shared = set(slots(start, end)) & set(slots(other, other_end))
    if start < other_end and other < end:
        assert shared
    if end + SLOT <= other or other_end + SLOT <= start:
        assert not shared


@given(moments, st.integers(1, 72), lengths, st.sampled_from([5, 10, 15, 30, 60]))
def test_candidate_starts_lie_on_the_grid_and_within_the_window(
    earliest: datetime, hours: int, minutes: int, step: int
) -> None:
    latest = earliest + timedelta(hours=hours)
    found = list(starts(earliest, latest, minutes, step))
    assert all(earliest <= start and start + timedelta(minutes=minutes) <= latest for start in found)
    assert all(start.minute % step == 0 and start.second == 0 for start in found)
    if hours * 60 >= minutes + step:
        assert found


HOURS = [span("mon", "09:00", "12:00"), span("mon", "13:00", "17:00"), span("sat", "00:00", "24:00")]


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("2026-03-02T09:00", "2026-03-02T12:00", None),
        ("2026-03-02T08:55", "2026-03-02T10:00", "outside_hours"),
        ("2026-03-02T11:30", "2026-03-02T12:30", "outside_hours"),
        ("2026-03-02T13:00", "2026-03-02T17:00", None),
        ("2026-03-02T16:00", "2026-03-02T17:05", "outside_hours"),
        ("2026-03-03T10:00", "2026-03-03T11:00", "outside_hours"),
        ("2026-03-07T20:00", "2026-03-08T00:00", None),
        ("2026-03-07T23:00", "2026-03-08T00:30", "outside_hours"),
    ],
)
def test_a_visit_lies_within_one_span_of_one_local_day(start: str, end: str, reason: str | None) -> None:
    assert refusal(resource(hours=HOURS), new_york(start), new_york(end), NEW_YORK) == reason


@pytest.mark.parametrize("day", ["2026-03-07", "2026-03-08", "2026-03-09", "2026-10-31", "2026-11-01", "2026-11-02"])
def test_nine_means_nine_on_the_days_the_clocks_change(day: str) -> None:
    """2026: forward on 8 March, back on 1 November."""
    week = [span(name, "09:00", "17:00") for name in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")]
    open_all_week = resource(hours=week)
    nine, five = new_york(f"{day}T09:00"), new_york(f"{day}T17:00")
    assert refusal(open_all_week, nine, five, NEW_YORK) is None
    assert refusal(open_all_week, nine - SLOT, nine, NEW_YORK) == "outside_hours"
    assert refusal(open_all_week, five, five + SLOT, NEW_YORK) == "outside_hours"


@given(moments, lengths, moments, lengths)
def test_a_closure_refuses_what_overlaps_it_and_nothing_else(
    start: datetime, minutes: int, closed: datetime, closed_minutes: int
) -> None:
    end, reopened = start + timedelta(minutes=minutes), closed + timedelta(minutes=closed_minutes)
    found = refusal(resource(closures=[{"start": closed, "end": reopened}]), start, end, UTC)  # type: ignore[arg-type]
    assert (found == "resource_closed") == (start < reopened and closed < end)


def test_without_hours_a_resource_is_open_and_with_none_never_and_retired_never() -> None:
    start = new_york("2026-03-03T03:00")
    assert refusal(resource(), start, start + SLOT, NEW_YORK) is None
    assert refusal(resource(hours=[]), start, start + SLOT, NEW_YORK) == "outside_hours"
    assert refusal(resource(active=False), start, start + SLOT, NEW_YORK) == "resource_retired"


@given(st.lists(st.tuples(st.integers(0, 3), moments, lengths), max_size=8), moments, lengths)
def test_a_place_is_never_busy_and_never_the_same_resource_twice(
    busy: list[tuple[int, datetime, int]], start: datetime, minutes: int
) -> None:
    end = start + timedelta(minutes=minutes)
    rooms = [Bookable(resource(f"r{n}")) for n in range(4)]
    for number, begin, length in busy:
        take([rooms[number]], begin, begin + timedelta(minutes=length))
    free = [room for room in rooms if room.busy.isdisjoint(slots(start, end))]
    chosen = place([rooms, rooms], start, end, NEW_YORK)
    assert (chosen is None) == (len(free) < 2)
    if chosen:
        assert len({one.row["_id"] for one in chosen}) == 2
        assert all(one in free for one in chosen)
        take(chosen, start, end)
        assert place([[one] for one in chosen], start, end, NEW_YORK) is None


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.lists(st.integers(1, 30), min_size=1, max_size=3)), min_size=1, max_size=4
    ),
    st.integers(0, 24),
)
def test_a_cadence_has_one_rising_day_for_each_session(phases: list[tuple[int, list[int]]], count: int) -> None:
    offsets = day_offsets([Phase(sessions=sessions, days=days) for sessions, days in phases], count)
    assert len(offsets) == count
    assert offsets[:1] == [0][:count]
    assert all(later > before for before, later in pairwise(offsets))


@pytest.mark.parametrize(
    ("route", "count", "days"),
    [
        ("iv", 6, [0, 3, 7, 10, 14, 17]),
        ("im", 3, [0, 7, 14]),
        ("esketamine_nasal", 10, [0, 3, 7, 10, 14, 17, 21, 24, 31, 38]),
    ],
    ids=["IV: 6 in 2-3 weeks", "IM: 3 weekly", "esketamine: twice weekly for 4 weeks, then weekly"],
)
def test_the_cadence_of_clinical_md_section_5(route: str, count: int, days: list[int]) -> None:
    assert day_offsets(PROTOCOL.courses[route].phases, count) == days


def test_sessions_keep_their_time_on_the_wall_clock_when_the_clocks_change() -> None:
    first = new_york("2026-03-05T10:00")
    found = wanted_starts([Phase(sessions=6, days=[3, 4])], first, [1, 2, 3], NEW_YORK)
    assert [moment.isoformat() for moment in found] == [
        "2026-03-05T10:00:00-05:00",
        "2026-03-08T10:00:00-04:00",
        "2026-03-12T10:00:00-04:00",
    ]


def test_what_is_left_of_a_course_goes_on_from_the_first_free_number() -> None:
    first = new_york("2026-05-04T10:00")
    found = wanted_starts([Phase(sessions=6, days=[3, 4])], first, [3, 5], NEW_YORK)
    assert [(moment - found[0]).days for moment in found] == [0, 7]


def test_the_wanted_time_is_tried_first_then_the_nearest_then_the_days_after() -> None:
    wanted = datetime(2026, 5, 4, 10, tzinfo=NEW_YORK)
    found = list(candidates(wanted, step_minutes=30, flex_hours=1, slack_days=1))
    assert [(moment - wanted) / timedelta(minutes=1) for moment in found] == [
        *(0, 30, -30, 60, -60),
        *(1440, 1470, 1410, 1500, 1380),
    ]
    assert {moment.tzinfo for moment in found} == {UTC}


@given(moments, st.lists(moments, max_size=5), st.integers(0, 200))
def test_a_gap_is_kept_on_both_sides(start: datetime, others: list[datetime], hours: int) -> None:
    nearest = min((abs(start - other) for other in others), default=timedelta.max)
    assert gap_kept(start, others, hours) == (nearest >= timedelta(hours=hours))


@pytest.mark.parametrize(
    "hours",
    [
        [span("mon", "09:00", "09:00")],
        [span("mon", "17:00", "09:00")],
        [span("mon", "09:00", "12:00"), span("mon", "11:00", "13:00")],
        [span("mon", "09:00", "12:00"), span("mon", "12:00", "13:00")],
        [span("mon", "9:00", "12:00")],
        [span("mon", "09:01", "12:00")],
        [span("mon", "09:00", "24:05")],
        [span("monday", "09:00", "12:00")],
    ],
)
def test_hours_that_make_no_sense_are_refused(hours: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError):
        schemas.Hours.model_validate({"hours": hours})


def test_hours_in_any_order_are_taken() -> None:
    hours = [span("tue", "13:00", "24:00"), span("mon", "09:00", "12:00"), span("tue", "09:00", "12:30")]
    assert len(schemas.Hours.model_validate({"hours": hours}).hours or []) == 3
