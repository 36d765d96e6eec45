"""What monitoring and intake say, in every order: visits move, courses are held and released."""

import asyncio
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.events import intake, monitoring, scheduling
from shared.events.envelope import UNKNOWN
from shared.ids import new_id
from shared.messaging.outcomes import Done, Skip
from tests.integration.scheduling.clinic import plan, reasons
from tests.integration.scheduling.told import consent, dosing, known, of, risk, session_events, starts, visits
from tests.integration.scheduling.world import CLINIC, PATIENT, World

# What happens to a session, in every order


@pytest.mark.parametrize("order", list(permutations(["plan", "checked_in", "aborted", "completed"])), ids="-".join)
async def test_an_aborted_session_holds_the_course_and_is_integrated_once_in_every_order(
    world: World, order: tuple[str, ...]
) -> None:
    room, event = await world.resource(), plan(PATIENT)
    visit = await world.booked(room, kind="dosing", hours=0, length=3)
    told = session_events(visit["id"], event.plan_id, new_id())
    for name in order:
        if name == "plan":
            await world.handle(event, f"plan/{event.plan_id}", 2)
        else:
            await world.handle(told[name][0], "session/s1", told[name][1])
    assert (await world.appointment(visit["id"]))["state"] == "aborted"
    course = await world.course(event.plan_id)
    assert (course["known"], course["holds"]) == (True, ["aborted"])
    integrations = await visits(world, kind="integration")
    assert [row["state"] for row in integrations] == ["booked"]
    assert timedelta(hours=24) <= integrations[0]["start"] - world.clock.clinical_now() <= timedelta(hours=167)
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseHeld)] == ["aborted"]


async def test_what_was_reserved_is_confirmed_and_a_second_report_changes_nothing(world: World) -> None:
    chair, room, plan_id = await world.resource("chair"), await world.resource(), await known(world)
    body = starts(world, 0) | {"resources": [chair["id"]], "integration_resources": [room["id"]]}
    await world.made(f"/v1/courses/{plan_id}/book", body)
    first = (await visits(world, kind="dosing"))[0]
    told = session_events(first["_id"], plan_id, new_id())["completed"][0].model_copy(
        update={"outcome_code": "completed"}
    )
    for version in (4, 5):
        await world.handle(told, "session/s1", version)
    confirmed = [row for row in await visits(world, kind="integration") if row["state"] == "confirmed"]
    assert [row["follows_appointment"] for row in confirmed] == [first["_id"]]
    assert [row["appointment_id"] for row in await world.emitted(scheduling.AppointmentConfirmed)] == [
        confirmed[0]["_id"]
    ]
    assert len(await visits(world, kind="integration")) == 3
    assert (await world.appointment(first["_id"]))["state"] == "completed"


async def test_who_died_gets_no_integration(world: World) -> None:
    await world.resource()
    plan_id = await known(world)
    visit = await world.booked(await world.resource("chair"), kind="dosing", plan_id=plan_id, hours=0)
    told = session_events(visit["id"], plan_id, new_id())["completed"][0]
    await world.handle(told.model_copy(update={"disposition": "died"}), "session/s1")
    assert (await world.appointment(visit["id"]))["state"] == "aborted"
    assert await visits(world, kind="integration") == []


async def test_without_a_free_room_the_course_is_held_until_people_find_one(world: World) -> None:
    plan_id = await known(world)
    visit = await world.booked(await world.resource("chair"), kind="dosing", plan_id=plan_id, hours=0)
    told = session_events(visit["id"], plan_id, new_id())["completed"][0].model_copy(
        update={"outcome_code": "completed"}
    )
    await world.handle(told, "session/s1")
    assert (await world.course(plan_id))["holds"] == ["no_slot"]
    await world.booked(await world.resource(), kind="integration", plan_id=plan_id, hours=48)
    assert (await world.course(plan_id)).get("holds", []) == []
    released = (await world.emitted(scheduling.CourseReleased))[0]
    assert (released["plan_id"], released["reason_code"]) == (plan_id, "no_slot")


async def test_people_release_what_an_abort_held(world: World) -> None:
    plan_id = await known(world)
    visit = await world.booked(await world.resource("chair"), kind="dosing", plan_id=plan_id, hours=0)
    await world.resource()
    await world.handle(session_events(visit["id"], plan_id, new_id())["aborted"][0], "session/s1")
    path = f"/v1/courses/{plan_id}/release"
    etag = int((await world.ask("GET", f"/v1/courses/{plan_id}")).headers["etag"].strip('"v'))
    body = {"reason_code": "aborted"}
    assert (await world.ask("POST", path, body, role="prescriber", etag=etag - 1)).status_code == 412
    assert (await world.ask("POST", path, body, role="prescriber", etag=etag)).status_code == 200
    refused = await world.ask("POST", path, body, role="prescriber", etag=etag + 1)
    assert reasons(refused) == ["not_held"]
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseReleased)] == ["aborted"]
    # Its end, when the patient has left, does not hold the course anew.
    told = session_events(visit["id"], plan_id, new_id())["completed"][0]
    await world.handle(told, "session/s1", 5)
    assert (await world.course(plan_id)).get("holds", []) == []


def voided(appointment_id: str | None) -> monitoring.SessionState:
    about = {"patient_id": PATIENT, "session_id": new_id(), "appointment_id": appointment_id}
    return monitoring.SessionState(**about, state="voided", room="R", chair="C", responsible_staff=[])


@pytest.mark.parametrize("before", ["booked", "confirmed", "cancelled"])
async def test_a_check_in_by_mistake_leaves_the_visit_as_it_was(world: World, before: str) -> None:
    visit = await world.booked(await world.resource("chair"))
    if before != "booked":
        verb, body = {"confirmed": ("confirm", None), "cancelled": ("cancel", {"reason_code": "patient"})}[before]
        assert (await world.act(visit, verb, body)).status_code == 200
    arrived = session_events(visit["id"], new_id(), new_id())["checked_in"][0]
    await world.handle(arrived, "session/s1", 2)
    assert (await world.appointment(visit["id"]))["state"] == "arrived"
    assert await world.handle(voided(visit["id"]), "session/s1", 3) == Done()
    assert (await world.appointment(visit["id"]))["state"] == before
    await world.handle(arrived, "session/s2", 2)
    assert (await world.appointment(visit["id"]))["state"] == "arrived"


async def test_a_session_that_was_voided_before_anybody_came_changes_no_visit(world: World) -> None:
    visit = await world.booked(await world.resource("chair"))
    for told in (voided(visit["id"]), voided(None)):
        assert await world.handle(told, f"session/{told.session_id}", 2) == Skip("unscheduled_or_older")
    assert (await world.appointment(visit["id"]))["state"] == "booked"


async def test_a_session_that_goes_on_says_nothing_of_its_visit(world: World) -> None:
    visit = await world.booked(await world.resource("chair"))
    goes_on = voided(visit["id"]).model_copy(update={"state": "recovery"})
    assert await world.handle(goes_on, "session/s1", 2) == Skip("not_voided")


# What intake says of the plan


async def test_an_older_plan_does_not_replace_a_newer_one(world: World) -> None:
    event = plan(PATIENT, session_count=4)
    assert await world.handle(event, f"plan/{event.plan_id}", 3) == Done()
    older = event.model_copy(update={"session_count": 9})
    assert await world.handle(older, f"plan/{event.plan_id}", 2) == Skip("older_or_erased")
    assert (await world.course(event.plan_id))["session_count"] == 4


async def test_a_finished_plan_takes_no_more_sessions(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    finished = of(intake.TreatmentPlanCompleted, plan(PATIENT, plan_id=plan_id), state="completed")
    await world.handle(finished, f"plan/{plan_id}", 9)
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id))
    assert reasons(refused) == ["plan_completed"]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
async def test_a_plan_in_a_state_that_only_later_code_knows_takes_none_until_it_is_in_a_known_one(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    wanted = dosing(world, chair, plan_id=plan_id)
    told = of(intake.PlanState, plan(PATIENT, plan_id=plan_id))
    assert await world.handle(told.model_copy(update={"state": UNKNOWN}), f"plan/{plan_id}", 3) == Done()
    assert reasons(await world.ask("POST", "/v1/appointments", wanted)) == ["plan_unknown"]
    await world.handle(told, f"plan/{plan_id}", 4)
    await world.made("/v1/appointments", wanted)


async def test_an_erased_patient_has_nothing_ahead_and_is_not_known_again(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    visit = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id))
    await world.handle(intake.PatientErased(patient_id=PATIENT), f"patient/{PATIENT}", 9)
    assert (await world.appointment(visit["id"]))["reason_code"] == "erased"
    assert (await world.rows("claims"), await world.rows("timers")) == ([], [])
    late = intake.PatientRegistered(patient_id=PATIENT, birth_year=1980, time_zone="UTC")
    assert await world.handle(late, f"patient/{PATIENT}", 10) == Skip("erased")


@pytest.mark.parametrize(
    ("kind", "state", "hold"),
    [
        (intake.TreatmentPlanPaused, "paused", "paused"),
        (intake.TreatmentPlanDiscontinued, "discontinued", "discontinued"),
    ],
)
async def test_a_plan_that_stops_holds_its_course_and_its_end_empties_the_book(
    world: World, kind: type[Any], state: str, hold: str
) -> None:
    chair, event = await world.resource("chair"), plan(PATIENT)
    await world.handle(event, f"plan/{event.plan_id}", 2)
    row = await world.made("/v1/appointments", dosing(world, chair, plan_id=event.plan_id))
    stopped = of(kind, event, state=state, reason_code="serious_adverse_event")
    await world.handle(stopped, f"plan/{event.plan_id}", 3)
    held = (await world.emitted(scheduling.CourseHeld))[0]
    assert (held["reason_code"], held["appointments"]) == (hold, [row["id"]])
    after = await world.appointment(row["id"])
    expected = ("booked", None) if state == "paused" else ("cancelled", "plan_discontinued")
    assert (after["state"], after.get("reason_code")) == expected
    again = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=event.plan_id, hours=200))
    assert reasons(again) == (["course_held"] if state == "paused" else ["plan_discontinued"])
    late = of(intake.TreatmentPlanRevised, event)
    assert await world.handle(late, f"plan/{event.plan_id}", 2, 2) == Skip("older_or_erased")
    resumed = of(intake.TreatmentPlanResumed, event)
    await world.handle(resumed, f"plan/{event.plan_id}", 4)
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseReleased)] == [hold]
    await world.made("/v1/appointments", dosing(world, chair, plan_id=event.plan_id, hours=200))


async def test_a_plan_that_comes_paused_first_is_known_and_held(world: World) -> None:
    chair, event = await world.resource("chair"), plan(PATIENT)
    await world.handle(of(intake.TreatmentPlanPaused, event, state="paused"), f"plan/{event.plan_id}", 3)
    assert await world.handle(event, f"plan/{event.plan_id}", 2) == Skip("older_or_erased")
    course = await world.course(event.plan_id)
    assert (course["known"], course["status"], course["holds"]) == (True, "paused", ["paused"])
    body = starts(world, 24) | {"resources": [chair["id"]]}
    assert reasons(await world.ask("POST", f"/v1/courses/{event.plan_id}/book", body)) == ["course_held"]


async def test_a_prescriber_who_resumes_the_plan_ends_the_hold_after_an_abort(world: World) -> None:
    event = plan(PATIENT)
    await world.handle(event, f"plan/{event.plan_id}", 2)
    visit = await world.booked(await world.resource(), kind="dosing", plan_id=event.plan_id, hours=0)
    await world.handle(session_events(visit["id"], event.plan_id, new_id())["aborted"][0], "session/s1")
    open_review = of(intake.TreatmentPlanRevised, event, review_codes=["session_aborted"])
    await world.handle(open_review, f"plan/{event.plan_id}", 3)
    assert (await world.course(event.plan_id))["holds"] == ["aborted"]
    await world.handle(of(intake.TreatmentPlanResumed, event), f"plan/{event.plan_id}", 4)
    assert (await world.course(event.plan_id))["holds"] == []


# Risk and consent


@pytest.mark.parametrize("risk_first", [True, False])
async def test_risk_holds_every_course_until_it_is_cleared(world: World, *, risk_first: bool) -> None:
    chair, event = await world.resource("chair"), plan(PATIENT)
    if not risk_first:
        await world.handle(event, f"plan/{event.plan_id}", 2)
    await world.handle(risk(intake.SuicideRiskFlagged, flagged=True), f"risk/{PATIENT}", 1)
    if risk_first:
        await world.handle(event, f"plan/{event.plan_id}", 2)
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseHeld)] == ["risk"]
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=event.plan_id))
    assert reasons(refused) == ["course_held"]
    without_plan = await world.ask("POST", "/v1/appointments", world.visit(chair, kind="dosing"))
    assert reasons(without_plan) == ["course_held"]
    await world.booked(chair)
    await world.handle(risk(intake.SuicideRiskCleared, flagged=False), f"risk/{PATIENT}", 2)
    older = await world.handle(risk(intake.SuicideRiskFlagged, flagged=True), f"risk/{PATIENT}", 1)
    assert older == Skip("older_or_erased")
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseReleased)] == ["risk"]
    await world.made("/v1/appointments", dosing(world, chair, plan_id=event.plan_id, hours=30))


async def test_a_course_is_released_when_the_last_hold_ends(world: World) -> None:
    event = plan(PATIENT)
    await world.handle(event, f"plan/{event.plan_id}", 2)
    await world.handle(risk(intake.SuicideRiskFlagged, flagged=True), f"risk/{PATIENT}", 1)
    await world.handle(of(intake.TreatmentPlanPaused, event, state="paused"), f"plan/{event.plan_id}", 3)
    await world.handle(risk(intake.SuicideRiskCleared, flagged=False), f"risk/{PATIENT}", 2)
    assert await world.emitted(scheduling.CourseReleased) == []
    await world.handle(of(intake.TreatmentPlanResumed, event), f"plan/{event.plan_id}", 4)
    assert [row["reason_code"] for row in await world.emitted(scheduling.CourseReleased)] == ["paused"]


async def test_a_revoked_consent_cancels_dosing_ahead_and_nothing_else(world: World) -> None:
    chair, room, plan_id = await world.resource("chair"), await world.resource(), await known(world)
    ahead = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id))
    talk = await world.booked(room, hours=100)
    await world.handle(consent(intake.ConsentRevoked, "c9", "revoked", "esketamine_treatment"), "consent/c9")
    assert (await world.appointment(ahead["id"]))["state"] == "booked"
    await world.handle(consent(intake.ConsentRevoked, "c1", "revoked"), "consent/c1", 2)
    states = [(await world.appointment(row["id"]))["state"] for row in (ahead, talk)]
    assert states == ["cancelled", "booked"]
    assert (await world.emitted(scheduling.AppointmentCancelled))[0]["reason_code"] == "consent_revoked"
    refused = await world.ask("POST", "/v1/appointments", dosing(world, chair, plan_id=plan_id))
    assert reasons(refused) == ["course_held"]
    await world.handle(consent(intake.ConsentSigned, "c2", "signed"), "consent/c2")
    await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id))


async def test_a_consent_that_was_signed_anew_before_the_revocation_came_holds_nothing(world: World) -> None:
    chair, plan_id = await world.resource("chair"), await known(world)
    ahead = await world.made("/v1/appointments", dosing(world, chair, plan_id=plan_id))
    await world.handle(consent(intake.ConsentSigned, "c2", "signed"), "consent/c2")
    await world.handle(consent(intake.ConsentRevoked, "c1", "revoked"), "consent/c1", 2)
    assert await world.handle(consent(intake.ConsentSigned, "c1", "signed"), "consent/c1", 1) == Skip("older_or_erased")
    assert (await world.appointment(ahead["id"]))["state"] == "booked"
    assert await world.emitted(scheduling.CourseHeld) == []


async def test_a_booking_and_a_revocation_at_the_same_moment_see_each_other(world: World) -> None:
    """Whichever is first: in the end no dosing is booked that nobody consents to."""
    for number in range(30):
        patient = new_id()
        event, chair = plan(patient), await world.resource("chair")
        await world.handle(event, f"plan/{event.plan_id}", 2)
        revoked = consent(intake.ConsentRevoked, f"c{number}", "revoked").model_copy(update={"patient_id": patient})
        # With a plan both write its course; without one the patient's row alone makes them meet.
        booking = dosing(world, chair, plan_id=event.plan_id if number % 2 else None, patient_id=patient)
        answer, _ = await asyncio.gather(
            world.ask("POST", "/v1/appointments", booking), world.handle(revoked, f"consent/c{number}")
        )
        assert answer.status_code in (201, 409)
        assert {row["state"] for row in await world.rows("appointments", patient_id=patient)} <= {"cancelled"}


# State events and the clinic's own time


async def test_state_events_are_upserts_without_action(world: World) -> None:
    """A projection that was dropped comes back as it was; nothing is told, cancelled or booked."""
    chair, event = await world.resource("chair"), plan(PATIENT)
    await world.handle(event, f"plan/{event.plan_id}", 2)
    row = await world.made("/v1/appointments", dosing(world, chair, plan_id=event.plan_id))
    for name in ("courses", "patients"):
        await world.mongo.database[name].delete_many({})
    told = len(await world.rows("outbox"))
    state = of(intake.PlanState, event, state="discontinued")
    for _ in range(2):
        assert await world.handle(state, f"plan/{event.plan_id}", 3, 9999) == Done()
    assert await world.handle(risk(intake.RiskState, flagged=True), f"risk/{PATIENT}", 1, 9999) == Done()
    assert await world.handle(consent(intake.ConsentState, "c1", "revoked"), "consent/c1", 2, 9999) == Done()
    patient = intake.PatientState(patient_id=PATIENT, birth_year=1980, time_zone="Europe/Berlin")
    assert await world.handle(patient, f"patient/{PATIENT}", 2, 9999) == Done()
    assert await world.handle(event, f"plan/{event.plan_id}", 2) == Skip("older_or_erased")
    assert await world.handle(of(intake.PlanState, event), f"plan/{event.plan_id}", 2, 9999) == Skip("older_or_erased")
    course = await world.course(event.plan_id)
    assert (course["status"], course["holds"], course["booked"]) == ("discontinued", ["discontinued"], 1)
    row_of_patient = (await world.rows("patients"))[0]
    assert (row_of_patient["time_zone"], row_of_patient["risk"]["held"]) == ("Europe/Berlin", True)
    assert row_of_patient["consents"]["c1"]["state"] == "revoked"
    assert len(await world.rows("outbox")) == told
    assert (await world.appointment(row["id"]))["state"] == "booked"


async def test_the_clinics_profile_gives_the_wall_clock(world: World) -> None:
    def profile(zone: str) -> intake.ClinicChanged:
        return intake.ClinicChanged(clinic_id=CLINIC, locations=[], services=[], languages=["en"], time_zone=zone)

    room = await world.resource()
    assert await world.handle(profile("Europe/Berlin"), f"clinic/{CLINIC}", 2) == Done()
    assert await world.handle(profile("UTC"), f"clinic/{CLINIC}", 1) == Skip("older_or_erased")
    assert await world.handle(profile("Mars/Olympus"), f"clinic/{CLINIC}", 3) == Skip("older_or_erased")
    assert (await world.booked(room))["time_zone"] == "Europe/Berlin"
