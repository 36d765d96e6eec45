"""Courses: booked whole or not at all; reminders; what others rebuild from."""

from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.scheduling.republish import REPUBLISH
from shared.events import monitoring, scheduling
from shared.ids import new_id
from tests.integration.scheduling.clinic import reasons
from tests.integration.scheduling.told import dosing, known, starts, visits
from tests.integration.scheduling.world import PATIENT, World

NEW_YORK = ZoneInfo("America/New_York")


# Booking


async def test_a_course_follows_the_cadence_of_its_route(world: World) -> None:
    chair, room = await world.resource("chair"), await world.resource()
    plan_id = await known(world, session_count=6)
    body = starts(world, 24) | {"resources": [chair["id"]], "integration_resources": [room["id"]]}
    await world.made(f"/v1/courses/{plan_id}/book", body)
    sessions = await visits(world, kind="dosing")
    local = [row["start"].astimezone(NEW_YORK) for row in sessions]
    assert {moment.time() for moment in local} == {time(10)}, "in the week in which the clocks change too"
    assert [(moment.date() - local[0].date()).days for moment in local] == [0, 3, 7, 10, 14, 17]
    assert [(row["sequence_no"], row["of"]) for row in sessions] == [(n, 6) for n in range(1, 7)]
    assert {(row["end"] - row["start"]) for row in sessions} == {timedelta(minutes=180)}
    integrations = await visits(world, kind="integration")
    assert [row["follows_appointment"] for row in integrations] == [row["_id"] for row in sessions]
    for session, integration in zip(sessions, integrations, strict=True):
        assert timedelta(hours=24) <= integration["start"] - session["end"] <= timedelta(hours=167)
    event = (await world.emitted(scheduling.CourseBooked))[0]
    by_time = sorted([*sessions, *integrations], key=lambda row: row["start"])
    assert event["appointments"] == [row["_id"] for row in by_time]
    assert len(await world.emitted(scheduling.AppointmentBooked)) == 12


async def test_a_session_whose_time_is_taken_finds_its_place_nearby(world: World) -> None:
    chair = await world.resource("chair")
    await world.booked(chair, hours=24 + 72, length=1, patient_id=new_id())
    plan_id = await known(world)
    await world.made(f"/v1/courses/{plan_id}/book", starts(world, 24) | {"resources": [chair["id"]]})
    sessions = await visits(world, kind="dosing")
    assert [(row["start"] - sessions[0]["start"]) / timedelta(hours=1) for row in sessions] == [0, 73, 167], (
        "an hour less: the clocks change"
    )


async def test_all_or_nothing(world: World) -> None:
    """The third of three exact times is taken: nothing at all is left behind."""
    chair = await world.resource("chair")
    await world.booked(chair, hours=24 + 200, patient_id=new_id())
    plan_id = await known(world)
    before = {name: await world.rows(name) for name in ("appointments", "claims", "timers", "outbox", "courses")}
    body = starts(world, 24, 124, 224) | {"resources": [chair["id"]]}
    answer = await world.ask("POST", f"/v1/courses/{plan_id}/book", body)
    assert (answer.status_code, reasons(answer)) == (409, ["no_slot"])
    assert answer.json()["reasons"][0]["session"] == "3"
    assert {name: await world.rows(name) for name in before} == before
    body = starts(world, 24, 124, 230) | {"resources": [chair["id"]]}
    await world.made(f"/v1/courses/{plan_id}/book", body)


async def test_the_gap_of_the_plan_is_kept(world: World) -> None:
    chair = await world.resource("chair")
    plan_id = await known(world)
    refused = await world.ask(
        "POST", f"/v1/courses/{plan_id}/book", starts(world, 24, 71, 200) | {"resources": [chair["id"]]}
    )
    assert reasons(refused) == ["no_slot"]
    first = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id))
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=71))
    assert reasons(refused) == ["too_close"]
    second = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=72))
    assert (first["sequence_no"], second["sequence_no"]) == (1, 2)
    nearer = world.visit(hours=70)
    refused = await world.act(second, "reschedule", {name: nearer[name] for name in ("start", "end")})
    assert reasons(refused) == ["too_close"]


async def test_the_gap_counts_from_doses_that_were_really_given(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    fields = {"patient_id": PATIENT, "session_id": new_id(), "medication": "ketamine", "route": "iv", "amount": 35.0}
    fields |= {"unit": "mg", "mg_per_kg": 0.5, "lot": "L1", "expiry": "2027-01", "at": world.clock.clinical_now()}
    known_fields = {name: item for name, item in fields.items() if name in monitoring.DoseAdministered.model_fields}
    await world.handle(monitoring.DoseAdministered(**known_fields), "session/s1")
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=47))
    assert reasons(refused) == ["too_close"]
    await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=48))


@pytest.mark.parametrize(("given", "hours"), [(True, 48), (False, 1)])
async def test_a_dose_that_was_another_patients_counts_for_who_had_it(world: World, *, given: bool, hours: int) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    fields: dict[str, Any] = {"patient_id": PATIENT, "session_id": new_id(), "entry_id": new_id()}
    fields |= {"route": "iv", "amount": 35.0, "lot": "L1", "expiry": "2027-01", "at": world.clock.clinical_now()}
    fields |= {"medication": "ketamine"}
    corrected = monitoring.DoseCorrected.model_validate({**fields, "given": given, "reason_code": "wrong_patient"})
    await world.handle(corrected, "entry/e1")
    if given:
        refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=hours - 1))
        assert reasons(refused) == ["too_close"]
    await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=hours))


async def test_a_cancelled_session_gives_its_number_back(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    rows = [
        await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=24 + 100 * n))
        for n in range(3)
    ]
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=424))
    assert reasons(refused) == ["course_full"]
    await world.act(rows[1], "cancel", {"reason_code": "patient"})
    assert (await world.course(plan_id))["booked"] == 2
    again = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id, hours=424))
    assert (again["sequence_no"], again["of"]) == (2, 3)


async def test_a_plan_that_is_not_known_or_is_somebody_elses_is_not_booked(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=new_id()))
    assert reasons(refused) == ["plan_unknown"]
    other = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id, patient_id=new_id()))
    assert other.json()["errors"][0]["pointer"] == "/plan_id"
    wrong = starts(world, 24, 100) | {"resources": [chair["id"]]}
    assert (await world.ask("POST", f"/v1/courses/{plan_id}/book", wrong)).status_code == 422


async def test_moving_or_cancelling_a_session_takes_its_integration_along(world: World) -> None:
    chair, room, plan_id = await world.resource("chair"), await world.resource(), await known(world)
    body = starts(world, 24) | {"resources": [chair["id"]], "integration_resources": [room["id"]]}
    await world.made(f"/v1/courses/{plan_id}/book", body)
    first, second, third = await visits(world, kind="dosing")

    async def integration(row: dict[str, Any]) -> tuple[str, str | None]:
        found = (await world.rows("appointments", follows_appointment=row["_id"]))[0]
        return found["state"], found["reason_code"]

    near, far = world.visit(hours=23, length=3), world.visit(hours=600, length=3)
    for row, to in ((first, near), (third, far)):
        await world.act({"id": row["_id"]}, "reschedule", {name: to[name] for name in ("start", "end")})
    await world.act({"id": second["_id"]}, "cancel", {"reason_code": "patient"})
    assert await integration(first) == ("booked", None)
    assert await integration(second) == ("cancelled", "session_changed")
    assert await integration(third) == ("cancelled", "session_changed")


# Reminders


async def test_a_reminder_says_what_is_missing_and_stays_out_when_the_visit_is_off(world: World) -> None:
    chair = await world.resource("chair")
    visit = await world.booked(chair, kind="dosing", hours=20, length=3)
    await world.act(visit, "readiness", {"checks": [{"check": "fasting", "ok": True}, {"check": "escort", "ok": True}]})
    await world.act(visit, "confirm")
    await world.pass_time(hours=6, seconds=1)
    event = (await world.emitted(scheduling.ReminderDue))[0]
    assert (event["stage"], event["missing_checks"]) == (
        "evening_before",
        ["instructions_read", "medication_changes", "well_today"],
    )
    later = world.visit(hours=40, length=3)
    await world.act(visit, "reschedule", {name: later[name] for name in ("start", "end")})
    shown = await world.appointment(visit["id"])
    assert (shown["state"], shown.get("readiness")) == ("booked", None)
    last = (await world.emitted(scheduling.ReadinessRecorded))[-1]
    assert (last["ready"], last["checks"]) == (False, [])
    await world.pass_time(hours=6)
    assert len(await world.emitted(scheduling.ReminderDue)) == 1, "the old time is forgotten"
    await world.pass_time(hours=21)
    assert [row["start"] for row in await world.emitted(scheduling.ReminderDue)][1:] == [
        shown["start"].replace(".000", "")
    ]
    await world.act(visit, "cancel", {"reason_code": "illness"})
    await world.pass_time(hours=30)
    assert len(await world.emitted(scheduling.ReminderDue)) == 2


async def test_no_two_events_of_an_aggregate_have_the_same_sequence(world: World) -> None:
    """Reminders change nothing of the appointment, so they have its version: two are due at once, beside the booking."""
    await world.booked(await world.resource("chair"), kind="dosing", hours=1, length=3)
    await world.pass_time(hours=0, seconds=1)
    assert len(await world.emitted(scheduling.ReminderDue)) == 2
    places = [(row["aggregate"], row["sequence"]) for row in await world.rows("outbox")]
    assert len(places) == len(set(places))


# Rebuilding what others know


async def test_state_events_carry_the_appointment_with_its_readiness_and_the_staff(world: World) -> None:
    visit = await world.booked(await world.resource("chair"), kind="dosing")
    await world.act(visit, "readiness", {"checks": [{"check": "escort", "ok": False}]})
    await world.act(visit, "cancel", {"reason_code": "illness"})
    await world.made("/v1/staff", {"staff_id": "n1", "roles": ["nurse"]})
    made = {
        name: kind.event((await world.rows(kind.collection))[0]).model_dump(mode="json")
        for name, kind in REPUBLISH.items()
    }
    state = made["AppointmentState"]
    assert (state["state"], state["reason_code"], state["ready"]) == ("cancelled", "illness", False)
    assert state["checks"] == [{"check": "escort", "ok": False}]
    assert state["appointment_id"] == visit["id"]
    assert (made["StaffState"]["staff_id"], made["StaffState"]["roles"]) == ("n1", ["nurse"])
    aggregates = {kind.aggregate((await world.rows(kind.collection))[0]) for kind in REPUBLISH.values()}
    assert aggregates == {f"appointment/{visit['id']}", "staff/n1"}
