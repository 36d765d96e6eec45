"""When nobody has accepted and the ladder repeats, people are called by voice too (clinical.md section 10)."""

from dataclasses import replace

import pytest

from services.notifications.providers import Unreached
from shared.events.monitoring import AlarmAcknowledged
from shared.events.notifications import NotificationDelivered
from tests.integration.notifications.test_memory import away, record, remembering
from tests.integration.notifications.world import PATIENT, World

ROTA = {"nurse": ["n1", "n2"], "prescriber": ["p1"], "medical_director": ["d1"]}
NUMBER = "+12025550177"
FIRST_LAP_S, REPEATED_S = 149, 2


async def reachable(world: World) -> None:
    """Everybody by pager, n1 by voice too."""
    await world.staff(**ROTA)
    await world.contact_of("n1", pager="pager-n1", voice=NUMBER)


async def test_a_ladder_that_repeats_calls_by_voice_beside_the_page(world: World) -> None:
    await reachable(world)
    await world.handle(world.alarm())
    await world.pass_time(FIRST_LAP_S)
    assert world.voice.calls == []
    await world.pass_time(REPEATED_S)
    (call,) = world.voice.calls
    assert call[1] == NUMBER
    said = "high priority alarm. Room 2, chair B. systolic pressure 192 millimetres of mercury."
    assert call[2]["text"] == said
    assert world.pager.addressees.count("pager-n1") == 3, "first step, all nurses, first step again"


async def test_medium_priority_calls_nobody(world: World) -> None:
    await reachable(world)
    await world.handle(world.alarm(priority="medium"))
    await world.pass_time(1000)
    assert world.pager.addressees.count("pager-n1") > 2
    assert world.voice.calls == []


async def test_a_call_that_does_not_go_through_is_tried_again_with_its_key_and_its_result_is_kept(world: World) -> None:
    await reachable(world)
    await world.handle(world.alarm())
    await world.pass_time(FIRST_LAP_S)
    world.voice.faults = [Unreached("http_503"), None]
    await world.pass_time(5)
    assert len(world.voice.calls) == 2
    assert len({key for key, _, _ in world.voice.calls}) == 1
    (row,) = await world.rows("messages", channel="voice")
    results = [attempt["result"] for attempt in row["attempts"]]
    assert (row["state"], results) == ("delivered", ["unreached:http_503", "delivered"])
    told = [NotificationDelivered.read(row["value"]) for row in await world.emitted(NotificationDelivered)]
    assert [(event.notification_id, event.attempts) for event in told if event.channel == "voice"] == [(row["_id"], 2)]


async def test_an_accepted_alarm_calls_nobody_any_more(world: World) -> None:
    await reachable(world)
    alarm = world.alarm()
    await world.handle(alarm)
    world.voice.faults = [Unreached("http_503")] * 100
    await world.pass_time(FIRST_LAP_S + REPEATED_S)
    at = world.clock.clinical_now()
    await world.handle(AlarmAcknowledged(patient_id=PATIENT, alarm_id=alarm.alarm_id, by_role="nurse", at=at))
    tried = len(world.voice.calls)
    await world.pass_time(30)
    assert len(world.voice.calls) == tried


async def test_who_has_nothing_but_a_number_for_voice_is_called_at_once(world: World) -> None:
    await world.staff(**ROTA)
    await world.contact_of("n1", voice=NUMBER)
    await world.handle(world.alarm())
    await world.send()
    assert ([to for _, to, _ in world.voice.calls], world.pager.calls) == ([NUMBER], [])
    await world.pass_time(FIRST_LAP_S + REPEATED_S)
    assert len(world.voice.calls) == 3, "the first step, all nurses, and once when the ladder repeats"


async def test_without_a_provider_of_calls_the_pager_is_all_there_is(world: World) -> None:
    world.deps = replace(world.deps, voice=False)
    await reachable(world)
    await world.contact_of("n2", voice=NUMBER)
    await world.handle(world.alarm())
    await world.pass_time(FIRST_LAP_S + REPEATED_S)
    assert await world.rows("messages", channel="voice") == []
    assert world.pager.addressees.count("pager-n1") == 3


async def test_a_call_is_made_from_memory_too_and_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await reachable(world)
    _, pipeline = await remembering(world)
    alarm = record(world, world.alarm())
    monkeypatch.setattr(world.mongo, "run", away)
    await pipeline.handle_batch([alarm])
    world.clock.advance(FIRST_LAP_S + REPEATED_S)
    for _ in range(2):
        await pipeline.handle_batch([alarm])
    ((_, to, payload),) = world.voice.calls
    assert (to, payload["text"].partition(".")[0]) == (NUMBER, "high priority alarm")
