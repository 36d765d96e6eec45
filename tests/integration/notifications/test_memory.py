"""With notifications' own store away an alarm is paged from memory, under the ids that its rows get on return."""

import pytest

from services.notifications.handlers import ALARM_HANDLERS
from services.notifications.memory import PagerBook
from shared.errors import Unavailable
from shared.events.envelope import Envelope, Event, rfc3339
from shared.events.monitoring import EmergencyCalled, SignalLost
from shared.ids import new_id
from shared.messaging.handling import Pipeline
from shared.messaging.outcomes import Done, Retry
from shared.messaging.record import Record
from shared.messaging.topics import ALARMS
from tests.integration.notifications.world import CLINIC, PATIENT, World


async def away(*_: object) -> None:
    raise Unavailable


def record(world: World, event: Event) -> Record:
    envelope = Envelope(
        id=new_id(),
        source="/stillwater/monitoring/alarm/1",
        type=event.event_type(),
        time=rfc3339(world.clock.system_now()),
        clinic_id=CLINIC,
        partition_key=PATIENT,
        sequence="0000000001.0001",
    )
    return Record(ALARMS.name, 0, 0, b"k", event.model_dump_json().encode(), envelope.headers())


async def remembering(world: World) -> tuple[PagerBook, Pipeline]:
    book = PagerBook(world.mongo, world.deps, {"pager": [world.pager], "sms": [world.sms], "voice": [world.voice]})
    await book.refresh()
    group = "stillwater.notifications.alarms"
    return book, Pipeline(world.mongo, "notifications", group, ALARM_HANDLERS, world.deps, book.page)


async def test_the_responsible_nurse_is_paged_and_the_rows_follow_under_the_same_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.staff(nurse=["n1", "n2"])
    _, pipeline = await remembering(world)
    alarm = record(world, world.alarm())
    monkeypatch.setattr(world.mongo, "run", away)
    for _ in range(2):
        assert await pipeline.handle_batch([alarm]) == [Retry("unavailable")]
    assert [to for _, to, _ in world.pager.calls] == ["pager-n1"]
    assert "systolic pressure 192" in world.pager.calls[0][2]["text"]
    monkeypatch.undo()
    assert await pipeline.handle_batch([alarm]) == [Done()]
    await world.send()
    assert [key for key, _, _ in world.pager.calls] == [world.pager.calls[0][0]] * 2


async def test_the_ladder_goes_on_while_the_store_stays_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.staff(nurse=["n1", "n2"], prescriber=["d1"])
    _, pipeline = await remembering(world)
    alarm = record(world, world.alarm())
    monkeypatch.setattr(world.mongo, "run", away)
    for _ in range(3):
        await pipeline.handle_batch([alarm])
        world.clock.advance(31)
    assert world.pager.addressees[0] == "pager-n1"
    assert {"pager-n2", "pager-d1"} <= set(world.pager.addressees)


async def test_a_store_that_can_be_read_and_not_written_to_neither_stops_the_ladder_nor_repeats_its_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.staff(nurse=["n1", "n2"], prescriber=["d1"])
    book, pipeline = await remembering(world)
    alarm = record(world, world.alarm())
    monkeypatch.setattr(world.mongo, "run", away)
    for _ in range(20):
        await pipeline.handle_batch([alarm])
        await book.refresh()
        world.clock.advance(5)
    assert set(world.pager.addressees) == {"pager-n1", "pager-n2", "pager-d1"}
    told = len(world.pager.calls)
    world.clock.advance(300)
    await pipeline.handle_batch([alarm])
    assert len(world.pager.calls) > told, "step by step without end"
    keys = [key for key, _, _ in world.pager.calls]
    assert len(keys) == len(set(keys))


async def test_an_emergency_pages_everybody_from_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.staff(nurse=["n1", "n2"])
    _, pipeline = await remembering(world)
    now = world.clock.clinical_now()
    call = EmergencyCalled(
        patient_id=PATIENT, session_id=new_id(), room="R", chair="1", code="airway", by_role="nurse", at=now
    )
    monkeypatch.setattr(world.mongo, "run", away)
    await pipeline.handle_batch([record(world, call)])
    assert sorted(world.pager.addressees) == ["pager-n1", "pager-n2"]


async def test_a_silent_device_and_an_alarm_about_the_measuring_are_paged_from_memory_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.staff(nurse=["n1"])
    _, pipeline = await remembering(world)
    about = {"patient_id": PATIENT, "alarm_id": new_id(), "session_id": new_id()}
    lost = SignalLost(**about, priority="high", source="device", last_seen_at=world.clock.clinical_now())
    about_measuring = {"rule": "missed:pressure", "category": "technical", "signs": []}
    missed = world.alarm().model_copy(update=about_measuring)
    monkeypatch.setattr(world.mongo, "run", away)
    for event in (lost, missed):
        await pipeline.handle_batch([record(world, event)])
    assert [call[2]["text"] for call in world.pager.calls] == [
        "HIGH signal lost: place unknown, look at the board: device",
        "HIGH technical alarm: Room 2, chair B: missed:pressure",
    ]


async def test_nobody_known_means_the_fallback_pager(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, pipeline = await remembering(world)
    monkeypatch.setattr(world.mongo, "run", away)
    await pipeline.handle_batch([record(world, world.alarm())])
    assert world.pager.addressees == ["pager-fallback"]
