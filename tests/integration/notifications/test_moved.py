"""A session that is moved while its alarm goes on: whoever is paged from then on is sent to where it is now."""

from typing import Any

from shared.events.monitoring import AlarmAcknowledged, AlarmRenewed, SessionReassigned, SignalLost, StaffRef
from shared.messaging.outcomes import Done
from tests.integration.notifications.world import PATIENT, World

ROTA = {"nurse": ["n1", "n2"], "prescriber": ["p1"]}


async def moves(world: World, room: str, nurse: str, version: int) -> None:
    staff = [StaffRef(role="nurse", staff_id=nurse)]
    event = SessionReassigned(patient_id=PATIENT, session_id="s1", room=room, chair="C", responsible_staff=staff)
    assert await world.handle(event, version=version) == Done()


async def raised(world: World) -> Any:
    """In room 2, n1 answers for it; the page of the first step is out."""
    await world.staff(**ROTA)
    await world.checks_in("n1")
    world.clock.advance(60)
    alarm = world.alarm(session_id="s1")
    await world.handle(alarm)
    await world.send()
    world.clock.advance(1)
    return alarm


def paged(world: World) -> list[tuple[str, str, str]]:
    return [(to, call["alarm"]["room"], call["alarm"]["chair"]) for _, to, call in world.pager.calls]


async def test_a_later_step_names_the_new_place(world: World) -> None:
    await raised(world)
    await moves(world, "Room 9", "n2", 2)
    await world.pass_time(30)
    assert paged(world)[0] == ("pager-n1", "Room 2", "B")
    assert sorted(paged(world)[1:]) == [("pager-n1", "Room 9", "C"), ("pager-n2", "Room 9", "C")]
    (row,) = await world.rows("escalations")
    assert (row["room"], row["chair"]) == ("Room 9", "C")


async def test_nobody_came_and_the_nurse_of_now_is_paged(world: World) -> None:
    alarm = await raised(world)
    at = world.clock.clinical_now()
    await world.handle(AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await moves(world, "Room 9", "n2", 2)
    await world.pass_time(61)
    assert paged(world)[1:] == [("pager-n2", "Room 9", "C")]


async def test_a_renewal_goes_to_the_nurse_of_now(world: World) -> None:
    alarm = await raised(world)
    at = world.clock.clinical_now()
    await world.handle(AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    await moves(world, "Room 9", "n2", 2)
    world.clock.advance(1)
    renewed = AlarmRenewed(
        patient_id=PATIENT, alarm_id=alarm.alarm_id, at=world.clock.clinical_now(), signs=alarm.signs
    )
    await world.handle(renewed)
    await world.send()
    assert paged(world)[1:] == [("pager-n2", "Room 9", "C")]


async def test_what_was_told_before_the_alarm_and_arrives_after_it_takes_nothing_back(world: World) -> None:
    await world.staff(**ROTA)
    await world.checks_in("n2")
    staff = [StaffRef(role="nurse", staff_id="n2")]
    late = SessionReassigned(patient_id=PATIENT, session_id="s1", room="Room 9", chair="C", responsible_staff=staff)
    record = world.record(SessionReassigned, late.model_dump_json().encode(), version=2, key=PATIENT)
    world.clock.advance(1)
    await world.handle(world.alarm(session_id="s1"))
    assert await world.take(SessionReassigned, record) == Done()
    await world.pass_time(31)
    assert {room for _, room, _ in paged(world)} == {"Room 2"}


async def test_the_place_of_a_silent_device_is_told_once_it_is_known(world: World) -> None:
    await world.staff(**ROTA)
    about = {"patient_id": PATIENT, "alarm_id": "a1", "session_id": "s1", "priority": "high", "source": "oximeter"}
    await world.handle(SignalLost(**about, last_seen_at=world.clock.clinical_now()))
    await world.checks_in("n1")
    await world.pass_time(61)
    assert paged(world)[-1][1:] == ("Room 2", "B")
