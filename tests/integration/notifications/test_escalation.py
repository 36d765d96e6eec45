"""An alarm reaches a human: steps, acceptance, attendance, crashes."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from services.notifications.handlers import TIMER_HANDLERS
from services.notifications.providers import Refused, Unreached
from shared.events import monitoring, scheduling
from shared.events.intake import InquiryReceived
from shared.events.monitoring import AlarmAcknowledged, AlarmAttended, AlarmCleared, AlarmRenewed, EmergencyCalled
from shared.events.notifications import (
    EscalationAcknowledged,
    EscalationExhausted,
    EscalationStarted,
    EscalationStepTaken,
)
from shared.ids import new_id
from shared.messaging.outcomes import Done, Skip
from shared.persistence.timers import TimerContext, TimerHandler, TimerRunner
from tests.integration.notifications.world import PATIENT, World

ROTA = {"nurse": ["n1", "n2"], "prescriber": ["p1"], "medical_director": ["d1"]}


async def test_the_first_page_names_the_place_and_the_value_and_nobody(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    await world.send()
    key, to, payload = world.pager.calls[0]
    assert (to, len(world.pager.calls)) == ("pager-n1", 1)
    assert payload["text"] == "HIGH alarm: Room 2, chair B: systolic pressure 192 mm[Hg]"
    assert PATIENT not in str(payload)
    assert key
    assert payload["alarm"]["link"].startswith("http://notifications.test/v1/links/")


async def test_an_alarm_told_twice_is_one_escalation(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    assert await world.handle(alarm, event_id="one") == Done()
    assert await world.handle(alarm, event_id="one") == Skip("duplicate")
    assert await world.handle(alarm) == Skip("escalation_known")
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert len(await world.emitted(EscalationStarted)) == 1


async def test_nobody_answers_all_steps_are_taken_and_it_begins_again(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    await world.send()
    expected = ["pager-n1"]
    for seconds, people in ((29, []), (1, ["n1", "n2"]), (30, ["p1"]), (60, ["d1", "fallback"]), (30, ["n1"])):
        await world.pass_time(seconds)
        expected += [f"pager-{person}" for person in people]
        assert sorted(world.pager.addressees) == sorted(expected)
    assert len(await world.emitted(EscalationStepTaken)) == 5
    assert len(await world.emitted(EscalationExhausted)) == 1


async def test_after_an_outage_the_next_step_comes_before_a_message_that_waits_for_longer(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(InquiryReceived(inquiry_id=new_id(), channel="phone"))
    world.clock.advance(3590)
    await world.handle(world.alarm())
    world.clock.advance(40)
    fired = []

    def noted(kind: str, handler: TimerHandler) -> TimerHandler:
        async def note(context: TimerContext) -> None:
            fired.append(kind)
            await handler(context)

        return note

    handlers = {kind: noted(kind, handler) for kind, handler in TIMER_HANDLERS.items()}
    await TimerRunner(world.mongo, handlers, world.deps, "notifications").fire_due()
    assert fired == ["escalate", "contact_deadline"]


async def test_after_an_hour_of_outage_nobody_is_paged_for_more_than_one_lap_of_the_ladder(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    await world.send()
    world.pager.calls.clear()
    world.clock.advance(3600)
    await world.pass_time(1)
    assert {"pager-n1", "pager-n2", "pager-p1", "pager-d1"} <= set(world.pager.addressees)
    assert max(Counter(world.pager.addressees).values()) <= 2
    await world.pass_time(150)
    assert "pager-d1" in world.pager.addressees[-8:], "and it goes on"


async def test_an_acknowledgement_stops_the_paging_and_an_attendance_ends_the_waiting(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    await world.send()
    at = world.clock.clinical_now()
    await world.handle(AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await world.pass_time(40)
    await world.handle(AlarmAttended(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await world.pass_time(120)
    assert world.pager.addressees == ["pager-n1"]
    assert await world.rows("timers") == []


async def test_accepted_but_not_attended_resumes_and_a_late_acknowledgement_of_the_first_run_is_not_one_of_the_second(
    world: World,
) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    at = world.clock.clinical_now()
    accepted = AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at)
    await world.handle(accepted)
    await world.send()
    world.pager.calls.clear()
    await world.pass_time(59)
    assert world.pager.calls == []
    await world.pass_time(1)
    assert world.pager.addressees == ["pager-n1"]
    assert await world.handle(accepted) == Skip("not_paging")
    await world.pass_time(30)
    assert sorted(world.pager.addressees) == ["pager-n1", "pager-n1", "pager-n2"]


async def test_a_page_not_yet_sent_is_cancelled_by_the_acknowledgement(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    world.pager.faults = [Unreached("timeout")]
    world.sms.faults = [Unreached("timeout")]
    await world.handle(alarm)
    await world.send()
    at = world.clock.clinical_now()
    await world.handle(AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await world.pass_time(30)
    assert len(world.pager.calls) == 1
    assert [row["state"] for row in await world.rows("messages")] == ["cancelled"]


async def test_an_alarm_that_cleared_before_anybody_was_reached_still_reaches_somebody_once(world: World) -> None:
    """A process that was killed between the commit and the call must not leave the alarm untold."""
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    world.deps.pages.ready.clear()
    at = world.clock.clinical_now()
    await world.handle(AlarmCleared(patient_id=PATIENT, alarm_id=alarm.alarm_id, at=at, value=130))
    await world.pass_time(200)
    assert world.pager.addressees == ["pager-n1"]


async def test_what_cleared_after_somebody_was_reached_is_told_to_nobody_else(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    await world.send()
    await world.pass_time(29)
    world.pager.faults = [Unreached("timeout")] * 5
    await world.pass_time(1)
    world.pager.calls.clear()
    at = world.clock.clinical_now()
    await world.handle(AlarmCleared(patient_id=PATIENT, alarm_id=alarm.alarm_id, at=at, value=130))
    await world.pass_time(60)
    assert world.pager.calls == []


@pytest.mark.parametrize("first", [AlarmAcknowledged, AlarmAttended])
async def test_what_comes_before_its_alarm_counts(world: World, first: type[AlarmAcknowledged | AlarmAttended]) -> None:
    await world.staff(**ROTA)
    alarm, at = world.alarm(), world.clock.clinical_now()
    await world.handle(first(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    assert await world.handle(alarm) == Done()
    await world.pass_time(30)
    assert world.pager.calls == []
    row = (await world.rows("escalations"))[0]
    assert (row["known"], row["room"]) == (True, "Room 2")
    await world.pass_time(31)
    assert world.pager.addressees == (["pager-n1"] if first is AlarmAcknowledged else [])


async def test_an_alarm_that_was_cleared_first_never_pages(world: World) -> None:
    alarm, at = world.alarm(), world.clock.clinical_now()
    await world.handle(AlarmCleared(patient_id=PATIENT, alarm_id=alarm.alarm_id, at=at, value=120))
    await world.handle(alarm)
    await world.pass_time(200)
    assert world.pager.calls == []


async def test_renewed_pages_anew_and_escalated_calls_all_nurses_now(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm(priority="medium")
    await world.handle(alarm)
    at = world.clock.clinical_now()
    await world.handle(AlarmAttended(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await world.send()
    world.pager.calls.clear()
    await world.handle(AlarmRenewed(patient_id=PATIENT, alarm_id=alarm.alarm_id, at=at, signs=alarm.signs))
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    await world.handle(monitoring.AlarmEscalated(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await world.send()
    assert sorted(world.pager.addressees) == ["pager-n1", "pager-n1", "pager-n2"]
    await world.pass_time(30)
    assert world.pager.addressees[-1] == "pager-p1"


async def test_help_that_is_asked_for_once_more_after_an_answer_calls_all_nurses_once_more(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    about: dict[str, Any] = {"patient_id": PATIENT, "alarm_id": alarm.alarm_id, "by_role": "nurse"}
    for _ in range(2):
        await world.handle(monitoring.AlarmEscalated(**about, at=world.clock.clinical_now()))
        await world.send()
        world.clock.advance(1)
        await world.handle(AlarmAcknowledged(**about, at=world.clock.clinical_now()))
        world.clock.advance(1)
    assert world.pager.addressees.count("pager-n2") == 2


@pytest.mark.parametrize(("again", "phase"), [(False, "paging"), (True, "accepted")])
async def test_help_for_an_accepted_alarm_is_paged_until_it_is_accepted_again_in_any_order_of_arrival(
    world: World, again: bool, phase: str
) -> None:
    await world.staff(**ROTA)
    at, earlier = world.clock.clinical_now(), world.clock.clinical_now() - timedelta(seconds=20)
    for order in permutations(range(4 if again else 3)):
        alarm = world.alarm()
        about: dict[str, Any] = {"patient_id": PATIENT, "alarm_id": alarm.alarm_id, "by_role": "nurse"}
        accepted, help_asked = AlarmAcknowledged(**about, at=earlier), monitoring.AlarmEscalated(**about, at=at)
        accepted_again = AlarmAcknowledged(**about, at=at + timedelta(seconds=5))
        for number in order:
            await world.handle([alarm, accepted, help_asked, accepted_again][number])
        (row,) = await world.rows("escalations", alarm_id=alarm.alarm_id)
        assert row["phase"] == phase, order


async def test_the_link_of_a_page_stops_it_whatever_the_clock_of_whoever_asked(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    about: dict[str, Any] = {"patient_id": PATIENT, "alarm_id": alarm.alarm_id, "by_role": "nurse"}
    ahead = world.clock.clinical_now() + timedelta(seconds=30)
    await world.handle(monitoring.AlarmEscalated(**about, at=ahead))
    (row,) = await world.rows("escalations")
    headers = {"Authorization": "Bearer nurse:n2"}
    async with world.client() as client:
        answer = await client.post(f"/v1/escalations/{row['_id']}/acknowledge", headers=headers)
    assert answer.json()["state"] == "accepted"
    (told,) = await world.emitted(EscalationAcknowledged)
    assert EscalationAcknowledged.read(told["value"]).at == ahead, "and so counts there too"


async def test_without_a_rota_the_fallback_pager_is_paged_at_once(world: World) -> None:
    await world.handle(world.alarm(responsible=[]))
    await world.send()
    assert world.pager.addressees == ["pager-fallback"]


async def test_a_responsible_nurse_without_a_pager_is_skipped_at_once(world: World) -> None:
    await world.staff(nurse=["n2"])
    await world.handle(world.alarm(responsible=["unknown-person"]))
    await world.send()
    assert world.pager.addressees == ["pager-n2"]


async def test_a_rota_that_nobody_set_falls_back_on_the_staff_directory(world: World) -> None:
    await world.staff()
    await world.handle(scheduling.StaffChanged(staff_id="n1", roles=["nurse"]))
    await world.handle(world.alarm(responsible=[]))
    await world.send()
    assert world.pager.addressees == ["pager-n1"]


async def test_after_a_crash_between_the_call_and_its_result_the_same_id_is_sent_again(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    world.pager.crash = True
    with contextlib.suppress(asyncio.CancelledError):
        await world.send()
    assert (await world.rows("messages"))[0]["attempts"][0]["result"] is None
    world.pager.crash = False
    other = world.process("p2")
    await world.send(other)
    assert len(world.pager.calls) == 1, "the claim of the dead process has not expired yet"
    world.clock.advance(11)
    await world.send(other)
    keys = [key for key, _, _ in world.pager.calls]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    row = (await world.rows("messages"))[0]
    assert (row["state"], len(row["attempts"]), row["attempts"][0]["sends"]) == ("delivered", 1, 2)


async def test_a_crash_right_after_the_commit_loses_no_page(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm())
    world.deps.pages.ready.clear()
    world.clock.advance(11)
    await world.send(world.process("p2"))
    assert world.pager.addressees == ["pager-n1"]


async def test_a_pager_that_is_down_goes_on_by_sms_at_once(world: World) -> None:
    await world.staff(**ROTA)
    world.pager.faults = [Unreached("http_503")]
    await world.handle(world.alarm())
    await world.send()
    world.clock.advance(0.3)
    await world.send()
    assert world.sms.addressees == ["+12025550199"]
    row = (await world.rows("messages"))[0]
    assert [attempt["result"] for attempt in row["attempts"]] == ["unreached:http_503", "delivered"]
    assert row["channel"] == "sms"


async def test_a_page_that_everybody_refuses_is_failed_and_becomes_work(world: World) -> None:
    await world.staff(nurse=["n2"])
    world.pager.faults = [Refused("http_404")]
    await world.handle(world.alarm(responsible=["n2"]))
    await world.send()
    world.clock.advance(1)
    await world.send()
    row = (await world.rows("messages"))[0]
    assert (row["state"], row["code"]) == ("failed", "no_address")
    assert [task["kind"] for task in await world.rows("tasks")] == ["message_failed"]


async def test_a_late_page_says_so(world: World) -> None:
    await world.staff(**ROTA)
    await world.handle(world.alarm(raised_at=world.clock.clinical_now() - timedelta(minutes=20)))
    await world.send()
    assert "LATE: raised 20 min ago" in world.pager.calls[0][2]["text"]


async def test_an_emergency_pages_everybody_at_once(world: World) -> None:
    await world.staff(**ROTA)
    called = EmergencyCalled(
        patient_id=PATIENT,
        session_id="s1",
        room="Room 2",
        chair="B",
        code="arrest",
        by_role="nurse",
        at=world.clock.clinical_now(),
    )
    await world.handle(called)
    await world.handle(called)
    await world.send()
    assert sorted(world.pager.addressees) == ["pager-d1", "pager-n1", "pager-n2", "pager-p1"]
    assert "EMERGENCY" in world.pager.calls[0][2]["text"]


async def test_a_silent_device_is_paged_with_the_place_of_its_session_and_ends_when_it_is_back(world: World) -> None:
    await world.staff(**ROTA)
    await world.checks_in("n1")
    fields = {"patient_id": PATIENT, "alarm_id": "a1", "session_id": "s1", "priority": "high", "source": "oximeter"}
    await world.handle(monitoring.SignalLost(**fields, last_seen_at=world.clock.clinical_now()))
    await world.send()
    assert world.pager.calls[0][2]["text"] == "HIGH signal lost: Room 2, chair B: oximeter"
    await world.handle(monitoring.SignalRestored(**fields, last_seen_at=world.clock.clinical_now()))
    await world.pass_time(60)
    assert len(world.pager.calls) == 1


async def test_who_is_where_and_may_do_what_is_never_replaced_by_what_is_older(world: World) -> None:
    """A page would look for the nurse of another room, or for somebody who has left."""

    def assigned(room: str) -> monitoring.SessionReassigned:
        return monitoring.SessionReassigned(
            patient_id=PATIENT, session_id="s1", room=room, chair="B", responsible_staff=[]
        )

    left, came = (scheduling.StaffChanged(staff_id="n1", roles=roles) for roles in ([], ["nurse"]))
    for newer, older in ((assigned("Room 9"), assigned("Room 2")), (left, came)):
        assert await world.handle(newer, version=3) == Done()
        assert await world.handle(older, version=2) == Skip("older")
    assert [row["room"] for row in await world.rows("sessions")] == ["Room 9"]
    assert [row["roles"] for row in await world.rows("staff")] == [[]]
