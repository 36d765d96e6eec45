"""Contacts, messages to patients, tasks."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from services.notifications.providers import Refused, Unreached
from shared.events import intake, monitoring, scheduling
from shared.events.notifications import NotificationDelivered, NotificationFailed
from shared.ids import new_id
from shared.messaging.outcomes import Reject, Skip
from tests.integration.notifications.world import CLINIC, PATIENT, World

STAFF = {"Authorization": "Bearer front_desk:f1"}


def booked(
    world: World, kind: type[scheduling.AppointmentBooked] = scheduling.AppointmentBooked, **changed: Any
) -> Any:
    start: datetime = world.clock.clinical_now() + timedelta(days=1)
    fields: dict[str, Any] = {"patient_id": PATIENT, "appointment_id": "ap1", "kind": "dosing", "mode": "in_person"}
    fields |= {"start": start, "end": start + timedelta(hours=3), "time_zone": "America/New_York", "resources": []}
    return kind(**{**fields, **changed})


async def test_a_clock_that_was_ahead_and_jumped_back_holds_up_no_message(world: World) -> None:
    inquiry = new_id()
    world.clock.advance(600)
    await world.handle(world.contact(inquiry))
    await world.handle(intake.InquiryReceived(inquiry_id=inquiry, channel="web_form"))
    world.clock.advance(-600)
    await world.send()
    await world.send()
    assert [call[1] for call in world.mail.calls] == ["ada@example.org"]


async def test_a_message_written_by_a_clock_that_was_ahead_and_completed_by_one_behind_is_sent(world: World) -> None:
    inquiry = new_id()
    world.clock.advance(600)
    await world.handle(intake.InquiryReceived(inquiry_id=inquiry, channel="web_form"))
    world.clock.advance(-1200)
    await world.handle(world.contact(inquiry))
    world.clock.advance(600)
    await world.send()
    assert [call[1] for call in world.mail.calls] == ["ada@example.org"]


async def test_a_message_waits_for_its_contact_and_is_completed_when_it_comes(world: World) -> None:
    inquiry = new_id()
    await world.handle(intake.InquiryReceived(inquiry_id=inquiry, channel="web_form"))
    await world.send()
    assert [row["state"] for row in await world.rows("messages")] == ["waiting"]
    assert world.mail.calls == []
    await world.handle(world.contact(inquiry))
    await world.send()
    _, to, payload = world.mail.calls[0]
    assert (to, payload["subject"]) == ("ada@example.org", "We have received your inquiry")
    assert "Hello Ada Example" in payload["text"]
    assert await world.rows("timers") == []
    assert len(await world.emitted(NotificationDelivered)) == 1


async def test_a_second_message_waits_for_the_same_contact_beside_the_first(world: World) -> None:
    await world.handle(booked(world))
    await world.handle(booked(world, appointment_id="ap2"))
    assert [row["state"] for row in await world.rows("messages")] == ["waiting", "waiting"]
    await world.handle(world.contact(PATIENT))
    await world.send()
    assert len(world.mail.calls) == 2


async def test_a_message_and_its_contact_that_come_at_the_same_moment_find_each_other(world: World) -> None:
    inquiries = [new_id() for _ in range(15)]
    for inquiry in inquiries:
        received = intake.InquiryReceived(inquiry_id=inquiry, channel="web_form")
        await asyncio.gather(world.handle(received), world.handle(world.contact(inquiry)))
    await world.send()
    assert len(world.mail.calls) == 15


async def test_a_contact_that_never_comes_becomes_work_and_still_completes_later(world: World) -> None:
    inquiry = new_id()
    await world.handle(intake.InquiryReceived(inquiry_id=inquiry, channel="phone"))
    world.clock.advance(3599)
    await world.pass_time(2)
    assert [task["kind"] for task in await world.rows("tasks")] == ["contact_missing"]
    await world.handle(world.contact(inquiry))
    await world.send()
    assert len(world.mail.calls) == 1


async def test_a_provider_that_was_not_reached_is_called_again_by_real_time(world: World) -> None:
    world.clock.rate = 60
    world.mail.faults = [Unreached("timeout")]
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world))
    await world.send()
    (row,) = await world.rows("messages")
    pause = (row["next_at"] - world.clock.system_now()).total_seconds()
    calls = []
    for real_seconds in (0.9 * pause, 0.2 * pause):
        world.clock.advance(60 * real_seconds)
        await world.send()
        calls.append(len(world.mail.calls))
    assert calls == [1, 2]


async def test_address_and_text_are_ciphertext_at_rest(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world))
    await world.send()
    for name in await world.mongo.database.list_collection_names():
        text = str(await world.rows(name))
        assert "Ada" not in text, name
        assert "ada@example.org" not in text, name


async def test_the_highest_version_of_a_contact_wins_and_a_foreign_key_is_rejected(world: World) -> None:
    await world.handle(world.contact(PATIENT, 2, email="new@example.org"))
    assert await world.handle(world.contact(PATIENT, 1)) == Skip("older_or_erased")
    broken = world.contact(PATIENT, 3).model_copy(update={"sealed": world.contact("somebody", 3).sealed})
    assert await world.handle(broken) == Reject("contact_undecryptable")
    await world.handle(booked(world))
    await world.send()
    assert world.mail.addressees == ["new@example.org"]


async def test_an_event_of_the_wrong_clinic_changes_nothing_of_the_right_one(world: World) -> None:
    alarm = world.alarm()
    await world.handle(alarm)
    (before,) = await world.rows("escalations")
    told = {"patient_id": PATIENT, "alarm_id": alarm.alarm_id, "at": world.clock.clinical_now()}
    for event in (monitoring.AlarmAcknowledged(**told, by_role="nurse"), monitoring.AlarmCleared(**told, value=1)):
        await world.handle(event, clinic="another")
    assert await world.rows("escalations", clinic_id=CLINIC) == [before]
    await world.send()
    assert world.pager.addressees == ["pager-fallback"]


async def test_erasure_destroys_what_is_known_and_keeps_later_records_out(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world))
    await world.tombstone(PATIENT)
    await world.send()
    assert world.mail.calls == []
    assert [(row["state"], row["sealed"]) for row in await world.rows("messages")] == [("cancelled", None)]
    assert await world.rows("data_keys") == []
    assert await world.handle(world.contact(PATIENT, 9)) == Skip("older_or_erased")
    assert await world.handle(booked(world, appointment_id="ap2")) == Skip("told_or_erased")
    assert await world.handle(intake.PatientErased(patient_id=PATIENT)) is not None


async def test_a_change_has_the_same_uid_and_a_higher_sequence(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world), version=1)
    moved = world.clock.clinical_now() + timedelta(days=2)
    times = {"start": moved, "end": moved + timedelta(hours=3)}
    await world.handle(booked(world, scheduling.AppointmentRescheduled, **times), version=2)
    await world.handle(booked(world, scheduling.AppointmentCancelled, reason_code="patient", **times), version=3)
    assert await world.handle(booked(world, scheduling.AppointmentRescheduled), version=2) == Skip("older")
    await world.send()
    files = {call[2]["subject"]: call[2]["calendar"] for call in world.mail.calls}
    assert "SEQUENCE:0" in files["Your appointment is confirmed"]
    assert "METHOD:REQUEST" in files["Your appointment has moved"]
    assert "SEQUENCE:1" in files["Your appointment has moved"]
    assert "METHOD:CANCEL" in files["Your appointment is cancelled"]
    assert all("UID:ap1" in file for file in files.values())


async def test_a_reminder_that_is_late_or_of_a_moved_appointment_is_skipped(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    await world.handle(booked(world))
    start = world.clock.clinical_now() + timedelta(days=1)
    due = scheduling.ReminderDue(patient_id=PATIENT, appointment_id="ap1", stage="evening", start=start)
    other = due.model_copy(update={"start": start + timedelta(hours=1)})
    assert await world.handle(other) == Skip("cancelled_or_moved")
    await world.handle(due)
    await world.handle(due)
    world.clock.advance(2 * 86_400)
    assert await world.handle(due) == Skip("too_late")
    await world.send()
    assert sum(call[2]["subject"] == "A reminder of your appointment" for call in world.mail.calls) == 2


async def test_aftercare(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    fields: dict[str, Any] = {"patient_id": PATIENT, "session_id": "s1", "at": world.clock.clinical_now()}
    fields |= {"minutes_from_last_dose": 90, "criteria": [], "escort_confirmed": True}
    await world.handle(monitoring.PatientDischarged(disposition="escort", **fields))
    assert await world.handle(monitoring.PatientDischarged(disposition="died", **fields)) == Skip("no_aftercare")
    await world.send()
    assert ["Do not drive" in call[2]["text"] for call in world.mail.calls] == [True]


async def test_an_sms_waits_for_the_end_of_the_quiet_hours(world: World) -> None:
    await world.handle(world.contact(PATIENT, email=None))
    world.clock.advance(11 * 3600 + 1800)  # 21:30 in New York
    await world.handle(booked(world))
    await world.send()
    assert world.sms.calls == []
    world.clock.advance(10 * 3600 + 1795)
    await world.pass_time(10)
    assert world.sms.addressees == ["+12025550123"]


async def test_attempts_are_listed_and_a_resend_has_a_new_key(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    world.mail.faults = [Unreached("smtp_451"), Refused("smtp_550")]
    await world.handle(booked(world))
    await world.send()
    await world.pass_time(10)
    async with world.client() as client:
        row = (await client.get(f"/v1/messages?subject_id={PATIENT}", headers=STAFF)).json()["items"][0]
        assert [attempt["result"] for attempt in row["attempts"]] == ["unreached:smtp_451", "refused:smtp_550"]
        assert row["attempts"][0]["key"] == row["attempts"][1]["key"]
        assert row["state"] == "failed"
        again = await client.post(f"/v1/messages/{row['id']}/resend", headers=STAFF)
        assert again.status_code == 202
        assert (await client.post(f"/v1/messages/{row['id']}/resend", headers=STAFF)).status_code == 409
        await world.send()
        shown = (await client.get(f"/v1/messages/{row['id']}", headers=STAFF)).json()
    assert shown["state"] == "delivered"
    assert "your session is on" in shown["text"]
    assert shown["attempts"][2]["key"] != shown["attempts"][0]["key"]
    assert len(await world.emitted(NotificationFailed)) == 1


async def test_tasks_are_claimed_by_one_snoozed_and_done(world: World) -> None:
    await world.handle(scheduling.CourseHeld(patient_id=PATIENT, plan_id="pl1", reason_code="no_slot"))
    async with world.client() as client:
        task = (await client.get("/v1/tasks?state=open", headers=STAFF)).json()["items"][0]
        assert (task["kind"], task["subject"], task["code"]) == ("course_held", "plan/pl1", "no_slot")
        path = f"/v1/tasks/{task['id']}"
        until = (world.clock.clinical_now() + timedelta(seconds=60)).isoformat()
        assert (await client.post(f"{path}/snooze", json={"until": until}, headers=STAFF)).json()["state"] == "snoozed"
        await world.pass_time(61)
        assert (await client.get(path, headers=STAFF)).json()["state"] == "open"
        first = await client.post(f"{path}/claim", headers=STAFF)
        second = await client.post(f"{path}/claim", headers={"Authorization": "Bearer nurse:n1"})
        assert (first.status_code, second.status_code) == (200, 409)
        for _ in range(2):
            assert (await client.post(f"{path}/done", headers=STAFF)).json()["state"] == "done"


async def test_staff_contacts_and_the_rota(world: World) -> None:
    director = {"Authorization": "Bearer medical_director:d1"}
    async with world.client() as client:
        path = "/v1/staff-contacts/n1"
        assert (await client.get(path, headers=director)).status_code == 404
        put = await client.put(path, json={"pager": "pager-n1"}, headers=director)
        assert (put.status_code, put.headers["etag"]) == (204, '"v1"')
        stale = await client.put(path, json={"pager": "x"}, headers={**director, "If-Match": '"v9"'})
        assert stale.status_code == 412
        assert (await client.get(path, headers=director)).json() == {"pager": "pager-n1"}
        rota = {"nurse": ["n1"], "prescriber": [], "medical_director": ["d1"], "operator": []}
        assert (await client.put("/v1/on-call", json=rota, headers=director)).status_code == 204
        assert (await client.get("/v1/on-call", headers=director)).json() == rota
        nurse = {"Authorization": "Bearer nurse:n1"}
        assert (await client.put("/v1/on-call", json=rota, headers=nurse)).status_code == 403
