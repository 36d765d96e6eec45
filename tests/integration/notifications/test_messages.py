"""Contacts, messages to patients, preferences, tasks, and the watch over monitoring."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
from aiosmtpd.smtp import SMTP

from services.notifications.beats import Watch
from services.notifications.providers import HttpProvider, Refused, SmtpProvider, Unreached
from services.notifications.settings import NotificationsSettings
from shared.events import intake, monitoring, scheduling
from shared.events.notifications import ContactOptedOut, NotificationDelivered, NotificationFailed
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


async def test_an_opt_out_is_honoured_and_told(world: World) -> None:
    await world.handle(world.contact(PATIENT))
    async with world.client() as client:
        path, mine = f"/v1/preferences/{PATIENT}", {"Authorization": f"Bearer patient:{PATIENT}"}
        got = await client.get(path, headers=mine)
        assert (got.json(), got.headers["etag"]) == ({"email": True, "sms": True}, '"v0"')
        body = {"email": False, "sms": False}
        assert (await client.put(path, json=body, headers=mine)).status_code == 428
        assert (await client.put(path, json=body, headers={**mine, "If-Match": '"v3"'})).status_code == 412
        assert (await client.put(path, json=body, headers={**mine, "If-Match": '"v0"'})).status_code == 200
        other = {"Authorization": "Bearer patient:somebody"}
        assert (await client.get(path, headers=other)).status_code == 404
    await world.handle(booked(world))
    await world.send()
    assert world.mail.calls == world.sms.calls == []
    assert [(row["state"], row["code"]) for row in await world.rows("messages")] == [("suppressed", "opted_out")]
    assert len(await world.emitted(ContactOptedOut)) == 2


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


def beat(world: World, *sessions: str, **changed: Any) -> monitoring.EvaluatorBeat:
    at = world.clock.system_now()
    stamps = [monitoring.EvaluatedSession(session_id=name, last_evaluated_at=at) for name in sessions]
    return monitoring.EvaluatorBeat(evaluator="e1", at=at, **{"store": "ok", "sessions": stamps, **changed})


def watch(world: World) -> Watch:
    return Watch(world.mongo, world.deps, lambda: None)


async def test_monitoring_that_falls_silent_is_paged_once_by_however_many_watchers(world: World) -> None:
    await world.staff(nurse=["n1"], prescriber=["p1"])
    await watch(world).take_beat(CLINIC, beat(world, "s1"))
    world.clock.advance(14)
    await watch(world).look_for_silence()
    await world.send()
    assert world.pager.calls == []
    world.clock.advance(2)
    for _ in range(2):
        await watch(world).look_for_silence()
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "not heard, look at the board" in world.pager.calls[0][2]["text"]


async def test_sessions_that_age_because_no_beat_comes_are_one_page_and_not_one_each(world: World) -> None:
    """A stamp is always older than the beat that brings it."""
    await world.staff(nurse=["n1"])
    stamps = [
        monitoring.EvaluatedSession(session_id=name, last_evaluated_at=world.clock.system_now()) for name in "abc"
    ]
    world.clock.advance(3)
    await watch(world).take_beat(CLINIC, beat(world, sessions=stamps))
    for _ in range(16):
        world.clock.advance(1)
        await watch(world).look_for_silence()
    await world.send()
    assert [call[2]["alarm"]["what"] for call in world.pager.calls] == [
        "monitoring of this clinic is not heard, look at the board and at the monitors"
    ]


async def test_monitorings_silence_escalates_like_a_high_alarm_until_it_is_heard_again(world: World) -> None:
    await world.staff(nurse=["n1"], prescriber=["p1"])
    await watch(world).take_beat(CLINIC, beat(world, "s1", "s2"))
    world.clock.advance(16)
    await watch(world).look_for_silence()
    await world.pass_time(61)
    assert "pager-p1" in world.pager.addressees
    await watch(world).take_beat(CLINIC, beat(world, "s1", "s2"))
    told = len(world.pager.calls)
    await world.pass_time(300)
    assert len(world.pager.calls) == told


async def test_a_session_that_ended_is_not_missed(world: World) -> None:
    await watch(world).take_beat(CLINIC, beat(world, "s1"))
    completed = monitoring.SessionCompleted(
        patient_id=PATIENT, session_id="s1", duration_min=100, dose_total_mg=35, alarm_count=0, outcome_code="completed"
    )
    await world.handle(completed)
    world.clock.advance(60)
    await watch(world).look_for_silence()
    await world.send()
    assert world.pager.calls == []


async def test_a_store_that_is_gone_and_an_unrecorded_alarm_are_paged_once(world: World) -> None:
    unrecorded = monitoring.UnrecordedAlarm(
        session_id="s1", rule="spo2_critical_low", priority="high", since=world.clock.system_now()
    )
    for _ in range(3):
        await watch(world).take_beat(CLINIC, beat(world, "s1", store="gone", unrecorded=[unrecorded]))
        world.clock.advance(5)
    await world.send()
    texts = sorted(call[2]["text"] for call in world.pager.calls)
    assert len(texts) == 2
    assert "alarm not recorded" in texts[0]
    assert "cannot record" in texts[1]


async def test_a_store_that_one_evaluator_misses_and_another_has_is_one_page(world: World) -> None:
    for _ in range(4):
        for store in ("gone", "ok"):
            await watch(world).take_beat(CLINIC, beat(world, "s1", store=store))
        world.clock.advance(5)
    await world.send()
    assert len(world.pager.calls) == 1
    world.clock.advance(61)
    await watch(world).take_beat(CLINIC, beat(world, "s1", store="gone"))
    await world.send()
    assert len(world.pager.calls) == 2


async def test_alarms_that_wait_for_the_relay_are_paged_once_by_way_of_the_beat(world: World) -> None:
    await world.staff(nurse=["n1"])
    for _ in range(3):
        await watch(world).take_beat(CLINIC, beat(world, "s1", unsent_since=world.clock.system_now()))
        world.clock.advance(5)
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "recorded and not sent, look at the board" in world.pager.calls[0][2]["text"]


async def test_an_unreadable_alarm_is_a_page_for_its_clinic(world: World) -> None:
    await world.staff(nurse=["n1"])
    await world._handle(monitoring.VitalsAbnormal, b"\xff{", CLINIC, 1, None, "k")
    for _ in range(2):
        await watch(world).look_for_unreadable()
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "unreadable alarm" in world.pager.calls[0][2]["text"]


async def test_however_many_alarms_are_unreadable_each_is_a_page(world: World) -> None:
    await world.staff(nurse=["n1"])
    for number in range(60):
        await world._handle(monitoring.VitalsAbnormal, b"\xff{", CLINIC, 1, None, "k", offset=number)
    for _ in range(3):
        await watch(world).look_for_unreadable()
    await world.send()
    assert len(world.pager.calls) == 60


async def test_trouble_of_a_service_pages_the_operators(world: World) -> None:
    await world.staff(operator=["o1"])
    since = world.clock.clinical_now()
    await world.handle(intake.ServiceTroubleRaised(code="outbox_dead", since=since))
    await world.send()
    assert world.pager.addressees == ["pager-o1"]


async def test_the_http_provider_sends_its_key_and_tells_final_from_passing_faults() -> None:
    seen: list[httpx.Request] = []
    answers = iter([200, 503, 429, 404])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(next(answers))

    payload = {"text": "t", "alarm": {"room": "Room 2", "chair": None, "link": "http://x/v1/links/t"}}
    faults: list[str] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = HttpProvider(client, "http://pager.test")
        for _ in range(4):
            try:
                await provider.send("key-1", "pager-n1", payload)
            except (Refused, Unreached) as error:
                faults.append(f"{type(error).__name__} {error.code}")
    assert faults == ["Unreached http_503", "Unreached http_429", "Refused http_404"]
    assert {request.headers["idempotency-key"] for request in seen} == {"key-1"}
    assert json.loads(seen[0].content) == {
        "to": "pager-n1",
        "text": "t",
        "room": "Room 2",
        "link": "http://x/v1/links/t",
    }


class _Mailbox:
    def __init__(self) -> None:
        self.reply, self.messages = "250 accepted", list[bytes]()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.messages.append(envelope.content)
        return self.reply


async def test_the_smtp_provider_makes_the_message_id_of_the_key() -> None:
    mailbox = _Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="localhost"), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        fields = {
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_from": "clinic@example.org",
            "environment": "local",
        }
        provider = SmtpProvider(NotificationsSettings.model_construct(**fields))
        payload = {"subject": "s", "text": "Grüße", "calendar": None, "method": "REQUEST"}
        await provider.send("key-1", "ada@example.org", payload)
        assert b"<key-1@example.org>" in mailbox.messages[0]
        faults = []
        for mailbox.reply in ("451 later", "550 no"):
            try:
                await provider.send("key-1", "ada@example.org", payload)
            except (Refused, Unreached) as error:
                faults.append(f"{type(error).__name__} {error.code}")
        assert faults == ["Unreached smtp_451", "Refused smtp_550"]
    finally:
        server.close()
        await server.wait_closed()
