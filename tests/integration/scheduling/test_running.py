"""On the running services: each verb, and its event on Kafka with the whole state."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.events import intake, monitoring, scheduling
from shared.events.envelope import rfc3339
from shared.ids import new_id
from tests.integration.scheduling.clinic import Clinic, reasons, whole
from tests.support.eventually import eventually


def timers(stack: Stack, appointment_id: str) -> list[dict[str, Any]]:
    with MongoClient[Any](stack.mongodb_uri, tz_aware=True) as client:
        return list(client.scheduling.timers.find({"payload.appointment_id": appointment_id}).sort("due_at"))


def claims(stack: Stack, owner: str) -> int:
    with MongoClient[Any](stack.mongodb_uri) as client:
        return int(client.scheduling.claims.count_documents({"owner": owner}))


async def test_a_booking_is_told_whole(clinic: Clinic) -> None:
    room, chair = await clinic.room(), await clinic.room("chair")
    made = await clinic.made("/v1/appointments", clinic.visit(room, chair))
    event = await clinic.told(scheduling.AppointmentBooked, appointment_id=made["id"])
    assert whole(event) == whole(made)
    assert [row["id"] for row in event["resources"]] == [room, chair]


async def test_of_many_who_want_the_same_chair_at_once_one_gets_it(clinic: Clinic, stack: Stack) -> None:
    chair = await clinic.room("chair")
    answers = await asyncio.gather(
        *(clinic.ask("POST", "/v1/appointments", clinic.visit(chair, hours=2)) for _ in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 11]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert (reasons(refused), refused.json()["reasons"][0]["id"]) == (["resource_taken"], chair)
    winner = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
    assert claims(stack, f"appointment/{winner}") == 2 * 24, "the chair and the patient"


async def test_nobody_is_in_two_rooms_at_once(clinic: Clinic) -> None:
    body = clinic.visit(await clinic.room())
    await clinic.made("/v1/appointments", body)
    answer = await clinic.ask("POST", "/v1/appointments", body | {"resources": [await clinic.room()]})
    assert (answer.status_code, reasons(answer)) == (409, ["patient_taken"])


async def test_confirm(clinic: Clinic) -> None:
    made = await clinic.made("/v1/appointments", clinic.visit(await clinic.room()))
    after = await clinic.done(made, "confirm")
    assert (after["state"], after["version"]) == ("confirmed", 2)
    event = await clinic.told(scheduling.AppointmentConfirmed, appointment_id=made["id"])
    assert whole(event) == whole(made)
    assert (await clinic.done(after, "confirm"))["version"] == 2, "once more changes nothing"


async def test_reschedule_moves_the_claims_and_the_reminders(clinic: Clinic, stack: Stack) -> None:
    room, other = await clinic.room(), await clinic.room()
    made = await clinic.made("/v1/appointments", clinic.visit(room, kind="dosing", hours=3))
    start = clinic.in_(days=9)
    body = {"start": rfc3339(start), "end": rfc3339(start + timedelta(hours=2)), "resources": [other]}
    before = timers(stack, made["id"])
    after = await clinic.done(made, "reschedule", body)
    assert (after["start"], [row["id"] for row in after["resources"]]) == (body["start"], [other])
    event = await clinic.told(scheduling.AppointmentRescheduled, appointment_id=made["id"])
    assert whole(event) == whole(after)
    assert claims(stack, f"appointment/{made['id']}") == 2 * 24
    moved = timers(stack, made["id"])
    assert [row["due_at"] for row in moved] == [start - timedelta(hours=h) for h in (14, 9, 0.25)]
    assert len(before) == len(moved) == 3
    await clinic.made("/v1/appointments", clinic.visit(room, hours=3))


async def test_a_place_that_is_taken_leaves_everything_as_it_was(clinic: Clinic, stack: Stack) -> None:
    room, other = await clinic.room(), await clinic.room()
    made = await clinic.made("/v1/appointments", clinic.visit(room))
    await clinic.made("/v1/appointments", clinic.visit(other))
    answer = await clinic.act(made, "reschedule", {**{k: made[k] for k in ("start", "end")}, "resources": [other]})
    assert (answer.status_code, reasons(answer)) == (409, ["resource_taken"])
    assert claims(stack, f"appointment/{made['id']}") == 2 * 12
    answer = await clinic.ask("POST", "/v1/appointments", clinic.visit(room))
    assert answer.status_code == 409


async def test_cancel_frees_the_place_and_its_reminders(clinic: Clinic, stack: Stack) -> None:
    room = await clinic.room()
    made = await clinic.made("/v1/appointments", clinic.visit(room, kind="dosing"))
    after = await clinic.done(made, "cancel", {"reason_code": "illness"})
    assert (after["state"], after["reason_code"]) == ("cancelled", "illness")
    event = await clinic.told(scheduling.AppointmentCancelled, appointment_id=made["id"])
    assert (whole(event), event["reason_code"]) == (whole(made), "illness")
    assert (claims(stack, f"appointment/{made['id']}"), timers(stack, made["id"])) == (0, [])
    await clinic.made("/v1/appointments", clinic.visit(room))
    answer = await clinic.act(after, "confirm")
    assert (answer.status_code, reasons(answer)) == (409, ["appointment_cancelled"])


async def test_no_show_only_after_its_beginning(clinic: Clinic) -> None:
    ahead = await clinic.made("/v1/appointments", clinic.visit(await clinic.room()))
    answer = await clinic.act(ahead, "no-show")
    assert (answer.status_code, reasons(answer)) == (409, ["not_begun"])
    begun = clinic.visit(await clinic.room(), start=clinic.in_(minutes=-5))
    made = await clinic.made("/v1/appointments", begun)
    assert (await clinic.done(made, "no-show"))["state"] == "no_show"
    event = await clinic.told(scheduling.AppointmentNoShow, appointment_id=made["id"])
    assert whole(event) == whole(made)


async def test_readiness_is_recorded_check_by_check(clinic: Clinic) -> None:
    made = await clinic.made("/v1/appointments", clinic.visit(await clinic.room(), kind="dosing"))
    first = [{"check": "fasting", "ok": True}, {"check": "escort", "ok": False}]
    after = await clinic.done(made, "readiness", {"checks": first}, role="nurse")
    assert after["readiness"]["missing"] == ["escort", "instructions_read", "medication_changes", "well_today"]
    event = await clinic.told(scheduling.ReadinessRecorded, appointment_id=made["id"])
    assert (event["ready"], event["checks"]) == (False, first)
    rest = [{"check": name, "ok": True} for name in after["readiness"]["missing"]]
    after = await clinic.done(after, "readiness", {"checks": rest}, role="patient", patient=made["patient_id"])
    assert after["readiness"]["ready"] is True
    event = await clinic.told(scheduling.ReadinessRecorded, appointment_id=made["id"], ready=True)
    assert {row["check"]: row["ok"] for row in event["checks"]} == dict.fromkeys(
        (row["check"] for row in event["checks"]), True
    )
    assert len(event["checks"]) == 5


async def test_staff(clinic: Clinic) -> None:
    credential = {"credential": "rn_license", "valid_until": "2027-06-30"}
    body = {"staff_id": "nurse-7", "roles": ["nurse"], "locations": [new_id()], "credentials": [credential]}
    made = await clinic.made("/v1/staff", body)
    assert {name: made[name] for name in body} == body
    event = await clinic.told(scheduling.StaffChanged, staff_id="nurse-7")
    assert event["valid_until"] == [{"credential": "rn_license", "date": "2027-06-30"}]
    assert (event["roles"], event["locations"]) == (["nurse"], body["locations"])
    again = await clinic.ask("POST", "/v1/staff", body)
    assert (again.status_code, reasons(again)) == (409, ["staff_known"])
    left = await clinic.ask("PATCH", "/v1/staff/nurse-7", {"roles": []}, etag="v1")
    assert (left.status_code, left.json()["roles"], left.json()["credentials"]) == (200, [], [credential])
    event = await clinic.told(scheduling.StaffChanged, staff_id="nurse-7", roles=[])
    assert event["locations"] == body["locations"]
    assert (await clinic.ask("PATCH", "/v1/staff/nurse-7", {"roles": []}, etag="v1")).status_code == 412
    found = (await clinic.ask("GET", "/v1/staff?role=nurse")).json()["items"]
    assert found == []
    assert [row["staff_id"] for row in (await clinic.ask("GET", "/v1/staff")).json()["items"]] == ["nurse-7"]


async def test_a_whole_course_is_booked_and_told(clinic: Clinic) -> None:
    patient, room, chair = new_id(), await clinic.room(), await clinic.room("chair")
    plan_id = await clinic.plan(patient)
    body = {"starts": [rfc3339(clinic.in_(days=3))], "resources": [chair], "integration_resources": [room]}
    course = await clinic.made(f"/v1/courses/{plan_id}/book", body)
    assert (course["booked"], course["session_count"]) == (3, 3)
    event = await clinic.told(scheduling.CourseBooked, plan_id=plan_id)
    assert len(event["appointments"]) == 6
    sessions = [row for row in event["appointments"] if row in course["appointments"]]
    assert sessions == course["appointments"]
    numbers = [
        (await clinic.told(scheduling.AppointmentBooked, appointment_id=name))["sequence_no"] for name in sessions
    ]
    assert numbers == [1, 2, 3]
    again = await clinic.ask("POST", f"/v1/courses/{plan_id}/book", body)
    assert (again.status_code, reasons(again)) == (409, ["course_full"])


async def test_a_hold_keeps_a_place_until_it_is_taken_or_expires(clinic: Clinic) -> None:
    room = await clinic.room()
    wanted = clinic.visit(room)
    place = {name: wanted[name] for name in ("resources", "start", "end")}
    held = await clinic.made("/v1/holds", place | {"seconds": 300})
    assert (await clinic.ask("POST", "/v1/appointments", wanted)).status_code == 409
    await clinic.made("/v1/appointments", wanted | {"hold_id": held["id"]})
    assert (await clinic.ask("GET", f"/v1/holds/{held['id']}")).status_code == 404

    other = clinic.visit(await clinic.room())
    place = {name: other[name] for name in ("resources", "start", "end")}
    held = await clinic.made("/v1/holds", place | {"seconds": 5})
    assert (await clinic.ask("POST", "/v1/holds", place)).status_code == 409

    async def free() -> bool:
        return (await clinic.ask("GET", f"/v1/holds/{held['id']}")).status_code == 404

    await eventually(free, within_s=15)
    refused = await clinic.ask("POST", "/v1/appointments", other | {"hold_id": held["id"]})
    assert (refused.status_code, reasons(refused)) == (409, ["hold_ended"])
    await clinic.made("/v1/appointments", other)


async def test_monitoring_moves_the_visit_and_books_the_integration(clinic: Clinic) -> None:
    patient, room = new_id(), await clinic.room()
    plan_id = await clinic.plan(patient)
    start = clinic.in_(minutes=30)
    body = clinic.visit(room, start=start, kind="dosing", plan_id=plan_id, patient_id=patient)
    made = await clinic.made("/v1/appointments", body)
    fields = {"patient_id": patient, "session_id": new_id(), "appointment_id": made["id"]}

    async def state(wanted: str) -> None:
        async def look() -> bool:
            row = (await clinic.ask("GET", f"/v1/appointments/{made['id']}")).json()
            return bool(row["state"] == wanted)

        await eventually(look)

    checked_in = monitoring.SessionCheckedIn(**fields, room="R", chair="C", responsible_staff=[])
    await clinic.hear(checked_in, f"session/{fields['session_id']}", 1)
    await state("arrived")
    started = monitoring.SessionStarted(**fields, started_at=start)
    await clinic.hear(started, f"session/{fields['session_id']}", 2)
    await state("in_progress")
    aborted = monitoring.SessionAborted(**fields, plan_id=plan_id, reason_code="other", phase="dosing")
    await clinic.hear(aborted, f"session/{fields['session_id']}", 3)
    await state("aborted")
    held = await clinic.told(scheduling.CourseHeld, plan_id=plan_id)
    assert held["reason_code"] == "aborted"
    integration = await clinic.told(scheduling.AppointmentBooked, plan_id=plan_id, kind="integration")
    assert integration["resources"][0]["id"] == room
    refused = await clinic.ask("POST", "/v1/appointments", body | clinic.visit(room, patient_id=patient, kind="dosing"))
    assert (refused.status_code, reasons(refused)) == (409, ["course_held"])


ROLES = [
    ("POST", "/v1/staff", "nurse"),
    ("PATCH", "/v1/staff/x", "prescriber"),
    ("GET", "/v1/staff", "patient"),
    ("POST", "/v1/resources", "nurse"),
    ("PUT", "/v1/resources/{id}/hours", "nurse"),
    ("POST", "/v1/resources/{id}/closures", "nurse"),
    ("POST", "/v1/appointments", "patient"),
    ("POST", "/v1/appointments/{id}/reschedule", "patient"),
    ("POST", "/v1/appointments/{id}/no-show", "patient"),
    ("POST", "/v1/appointments/{id}/readiness", "device"),
    ("GET", "/v1/appointments", "operator"),
    ("POST", "/v1/courses/{id}/book", "patient"),
    ("POST", "/v1/courses/{id}/release", "nurse"),
    ("POST", "/v1/holds", "patient"),
    ("GET", "/v1/availability", "partner"),
]


@pytest.mark.parametrize(("method", "path", "role"), ROLES)
async def test_the_wrong_role_is_refused(clinic: Clinic, method: str, path: str, role: str) -> None:
    answer = await clinic.ask(method, path.format(id=new_id()), {} if method != "GET" else None, role=role)
    assert answer.status_code == 403


async def test_what_belongs_to_another_clinic_or_patient_is_hidden(clinic: Clinic) -> None:
    room = await clinic.room()
    made = await clinic.made("/v1/appointments", clinic.visit(room))
    path, other = f"/v1/appointments/{made['id']}", new_id()
    assert (await clinic.ask("GET", path, clinic=other)).status_code == 404
    assert (await clinic.act(made, "cancel", {"reason_code": "clinic"}, clinic=other)).status_code == 404
    assert (await clinic.ask("PATCH", f"/v1/resources/{room}", {}, etag="v1", clinic=other)).status_code == 404
    assert (await clinic.ask("POST", "/v1/appointments", clinic.visit(room), clinic=other)).status_code == 422
    assert (await clinic.ask("GET", path, role="patient", patient=other)).status_code == 404
    assert (await clinic.act(made, "confirm", role="patient", patient=other)).status_code == 404
    own = await clinic.ask("GET", "/v1/appointments", role="patient", patient=made["patient_id"])
    assert [row["id"] for row in own.json()["items"]] == [made["id"]]
    assert (await clinic.ask("GET", "/v1/appointments", role="patient", patient=other)).json()["items"] == []
    assert (await clinic.ask("GET", path)).json()["state"] == "booked"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("confirm", None),
        ("reschedule", {"start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"}),
        ("cancel", {"reason_code": "patient"}),
        ("no-show", None),
        ("readiness", {"checks": [{"check": "escort", "ok": True}]}),
    ],
)
async def test_a_stale_etag_changes_nothing_and_a_missing_one_is_asked_for(
    clinic: Clinic, verb: str, body: object
) -> None:
    made = await clinic.made("/v1/appointments", clinic.visit(await clinic.room()))
    for etag in ("v9", "v0", "x"):
        assert (await clinic.act(made, verb, body, etag=etag)).status_code == 412
    missing = await clinic.ask("POST", f"/v1/appointments/{made['id']}/{verb}", body)
    assert missing.status_code == 428
    assert (await clinic.ask("GET", f"/v1/appointments/{made['id']}")).json() == made


async def test_lists_are_filtered_and_an_unknown_parameter_is_refused(clinic: Clinic) -> None:
    room, chair = await clinic.room(), await clinic.room("chair")
    first = await clinic.made("/v1/appointments", clinic.visit(room))
    second = await clinic.made("/v1/appointments", clinic.visit(chair, start=clinic.in_(days=4), kind="follow_up"))
    await clinic.done(first, "cancel", {"reason_code": "clinic"})
    midday = rfc3339(clinic.in_(days=3))

    async def ids(query: str) -> list[str]:
        answer = await clinic.ask("GET", f"/v1/appointments?{query}")
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["items"]]

    assert await ids("") == [second["id"], first["id"]]
    assert await ids(f"from={midday}") == [second["id"]]
    assert await ids(f"to={midday}") == [first["id"]]
    assert await ids("kind=follow_up") == await ids("status=booked") == await ids(f"resource={chair}") == [second["id"]]
    assert await ids(f"patient_id={first['patient_id']}") == [first["id"]]
    page = await clinic.ask("GET", f"/v1/appointments?limit=1&to={rfc3339(clinic.in_(days=9))}")
    follow = page.links["next"]["url"].removeprefix(str(page.url.copy_with(raw_path=b"/"))[:-1])
    assert [row["id"] for row in (await clinic.ask("GET", follow)).json()["items"]] == [first["id"]]
    for query in (
        "colour=red",
        "status=lost",
        "kind=party",
        "kind=dosing&kind=group",
        "from=yesterday",
        "from=2026-01-01T10:00:00",
        "cursor=AAAA",
    ):
        assert (await clinic.ask("GET", f"/v1/appointments?{query}")).status_code == 400, query


async def test_every_read_of_patient_data_leaves_an_audit_row(clinic: Clinic, stack: Stack) -> None:
    made = await clinic.made("/v1/appointments", clinic.visit(await clinic.room()))
    await clinic.ask("GET", f"/v1/appointments/{made['id']}", role="nurse")
    await clinic.ask("GET", f"/v1/appointments?patient_id={made['patient_id']}", role="nurse")
    await clinic.ask("GET", f"/v1/courses/{new_id()}", role="nurse")
    with MongoClient[Any](stack.mongodb_uri) as client:
        rows = list(client.scheduling.audit.find({"clinic_id": clinic.id, "role": "nurse"}))
    assert {row["action"] for row in rows} == {"appointment.read", "appointments.list", "course.read"}
    assert [row["patient_id"] for row in rows].count(made["patient_id"]) == 2


async def test_risk_comes_by_the_alarm_lane_and_holds_the_course(clinic: Clinic) -> None:
    patient = new_id()
    plan_id = await clinic.plan(patient)
    fields = {"patient_id": patient, "instrument": "c_ssrs", "level": "high", "at": clinic.clock.clinical_now()}
    await clinic.hear(intake.SuicideRiskFlagged(**fields, flagged=True), f"risk/{patient}", 1)
    held = await clinic.told(scheduling.CourseHeld, plan_id=plan_id)
    assert held["reason_code"] == "risk"
    await clinic.hear(intake.SuicideRiskCleared(**fields, flagged=False), f"risk/{patient}", 2)
    assert (await clinic.told(scheduling.CourseReleased, plan_id=plan_id))["reason_code"] == "risk"
