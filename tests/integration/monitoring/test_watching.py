"""Readings in, alarms out, on the real store: one alarm per episode, whoever evaluates, whatever is repeated."""

import asyncio

import orjson
import pytest

from services.monitoring import schemas
from services.monitoring.beats import Beats
from services.monitoring.evaluator import Evaluator
from services.monitoring.ingest import Ingest
from services.monitoring.store import last_heard
from services.monitoring.usecases import sessions
from services.monitoring.usecases.readings import Delivery
from shared.errors import NotFound, Unavailable
from shared.ids import new_id
from shared.persistence.scope import Actor, Scope
from tests.integration.monitoring.world import NURSE, Chair, minutes

PULSE = "8867-4"


async def test_a_sustained_breach_raises_one_alarm_with_its_event(chair: Chair) -> None:
    await chair.lasts(192, 8)
    alarms = await chair.alarms(rule="sbp_critical_high")
    assert [(row["priority"], row["open"], row["value"]) for row in alarms] == [("high", True, 192)]
    assert (await chair.told()).count("VitalsAbnormal") == 1


async def test_the_delay_ends_by_a_tick_when_nothing_else_is_measured(chair: Chair) -> None:
    await chair.measures(192, device="manual")
    await chair.ticks(4)
    assert await chair.alarms() == []
    await chair.ticks(2)
    assert [row["rule"] for row in await chair.alarms()] == ["sbp_critical_high"]


async def test_a_repeated_delivery_is_a_duplicate_and_changes_nothing(chair: Chair) -> None:
    reading = chair.reading(0, "59408-5")
    first, second = await chair.sends(reading), await chair.sends(reading)
    assert [row.result for row in [*first, *second]] == ["stored", "duplicate"]
    assert len(await chair.alarms(rule="spo2_collapse")) == 1


async def test_the_same_moment_with_another_value_is_kept_as_a_conflict_and_judged(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(97, "59408-5", at=at)
    await chair.measures(0, "59408-5", at=at)
    rows = await chair.mongo.plumbing("vitals").find({"session_id": chair.session_id, "taken_at": at})
    assert sorted((row["value"], row.get("conflict", False)) for row in rows) == [(0, True), (97, False)]
    assert len(await chair.alarms(rule="spo2_collapse")) == 1


async def test_a_quarantined_value_is_kept_and_the_alarm_stands(chair: Chair) -> None:
    await chair.lasts(192, 6)
    assert (await chair.measures(999))[0].reason == "above_bound"
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [True]


async def test_another_clinics_session_is_not_found_and_does_not_hurt_its_neighbours(chair: Chair) -> None:
    stranger = Scope("clinic-2", Actor("gateway", "device"))
    answers = await asyncio.gather(
        chair.sends(chair.reading(120), scope=stranger), chair.measures(121), return_exceptions=True
    )
    assert isinstance(answers[0], NotFound)
    assert not isinstance(answers[1], BaseException)


async def test_three_replicas_share_one_sessions_readings_and_raise_one_alarm(chair: Chair) -> None:
    replicas = [Ingest(chair.mongo, chair.deps, chair.memory) for _ in range(3)]
    for second in range(9):
        chair.ingest = replicas[second % 3]
        await asyncio.gather(chair.measures(192), chair.measures(97, "59408-5"))
        chair.clock.advance(1)
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1
    assert (await chair.told()).count("VitalsAbnormal") == len(await chair.alarms())


async def test_a_restart_in_the_middle_loses_no_alarm_and_raises_none_twice(chair: Chair) -> None:
    await chair.lasts(192, 3)
    chair.ingest = Ingest(chair.mongo, chair.deps, chair.memory)
    chair.evaluator = Evaluator(chair.mongo, chair.deps, chair.memory, new_id())
    await chair.lasts(192, 3)
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1


async def test_acknowledged_and_back_to_normal_clears(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm = (await chair.alarms(rule="sbp_critical_high"))[0]
    await chair.acknowledges(alarm["_id"])
    await chair.measures(130)
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [False]
    assert (await chair.told())[-1] == "AlarmCleared"


async def test_acknowledged_and_still_true_is_renewed(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm = (await chair.alarms(rule="sbp_critical_high"))[0]
    await chair.acknowledges(alarm["_id"])
    await chair.ticks(181)
    assert "AlarmRenewed" in await chair.told()
    assert (await chair.alarms(rule="sbp_critical_high"))[0]["acknowledged_at"] is None


async def test_a_silent_device_is_an_alarm_and_its_return_ends_it(chair: Chair) -> None:
    await chair.measures(120)
    await chair.ticks(9)
    assert await chair.told() == []
    await chair.ticks(2)
    await chair.ticks(1)
    assert await chair.told() == ["SignalLost"]
    lost = (await chair.alarms())[0]
    assert (lost["rule"], lost["priority"], lost["open"]) == ("signal:m1", "high", True)
    await chair.measures(121)
    assert await chair.told() == ["SignalLost", "SignalRestored"]
    assert (await chair.alarms())[0]["open"] is False


async def test_a_device_that_fell_silent_before_the_dose_is_told_anew_as_high_with_it(chair: Chair) -> None:
    chair = await Chair(chair.mongo, chair.clock).seat(dose=False)
    await chair.measures(120)
    await chair.ticks(11)
    (lost,) = await chair.alarms(rule="signal:m1")
    assert (lost["priority"], await chair.told()) == ("medium", ["SignalLost"])
    await chair.acknowledges(lost["_id"])
    await chair.doses()
    for _ in range(2):
        await chair.ticks(1)
    (now,) = await chair.alarms(rule="signal:m1")
    assert (now["priority"], now["open"], now["acknowledged_at"]) == ("high", True, None)
    assert (await chair.told()).count("AlarmEscalated") == 1
    await chair.measures(121)
    assert await chair.alarms(open=True) == []


async def has_monitor(chair: Chair, device: str) -> None:
    body = schemas.Assignment(monitor=device)
    await chair._run(lambda unit: sessions.reassign(unit, chair.session_id, body))


async def test_a_monitor_that_was_assigned_and_never_heard_is_silent_too(chair: Chair) -> None:
    await has_monitor(chair, "m9")
    await chair.ticks(9)
    assert await chair.told() == []
    await chair.ticks(2)
    assert [(row["rule"], row["priority"]) for row in await chair.alarms(open=True)] == [("signal:m9", "high")]
    await chair.measures(120, device="m9")
    assert await chair.alarms(open=True) == []


async def test_a_monitor_that_was_replaced_is_not_waited_for(chair: Chair) -> None:
    await has_monitor(chair, "m1")
    await chair.measures(120)
    await has_monitor(chair, "m2")
    for _ in range(3):
        await chair.measures(121, device="m2")
        await chair.ticks(6)
    assert await chair.alarms() == []


async def test_the_silence_of_a_monitor_ends_when_another_takes_its_place(chair: Chair) -> None:
    await has_monitor(chair, "m1")
    await chair.measures(120)
    await chair.ticks(11)
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["signal:m1"]
    await has_monitor(chair, "m2")
    await chair.measures(121, device="m2")
    await chair.ticks(1)
    assert await chair.alarms(open=True) == []
    assert await chair.told() == ["SignalLost", "SignalRestored"]
    rows = await chair.mongo.plumbing("outbox").find({"lane": "alarm"})
    assert [orjson.loads(row["value"])["source"] for row in rows] == ["monitor", "monitor"]


async def test_a_batch_that_is_sent_again_ends_no_silence(chair: Chair) -> None:
    """The gateway has no answer to its last one and repeats it; the device stays off."""
    last = chair.reading(120)
    await chair.sends(last)
    await chair.ticks(11)
    assert [row.result for row in await chair.sends(last)] == ["duplicate"]
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["signal:m1"]
    await chair.measures(145, PULSE, device="manual")
    for _ in range(8):
        await chair.ticks(1)
    assert await chair.told() == ["SignalLost", "VitalsAbnormal"]


async def test_a_silence_that_begins_again_keeps_no_other_alarm_from_being_told(chair: Chair) -> None:
    """A reading that waited for the store since before the newest: what was heard last is the same as before."""
    earlier, arrived_at = chair.reading(119, at=chair.clock.clinical_now()), chair.clock.clinical_now()
    chair.clock.advance(1)
    await chair.measures(120)
    await chair.ticks(11)
    await chair.ingest.deliver(Delivery(NURSE, chair.session_id, [earlier], arrived_at=arrived_at))
    await chair.measures(145, PULSE, device="manual")
    for _ in range(8):
        await chair.ticks(1)
    assert [row["open"] for row in await chair.alarms(rule="signal:m1")] == [False, True]
    assert await chair.told() == ["SignalLost", "SignalRestored", "SignalLost", "VitalsAbnormal"]


async def test_what_a_replaced_monitor_sends_again_makes_nobody_wait_for_it(chair: Chair) -> None:
    await has_monitor(chair, "m1")
    last = chair.reading(120)
    await chair.sends(last)
    await chair.ticks(11)
    await has_monitor(chair, "m2")
    await chair.measures(121, device="m2")
    await chair.ticks(1)
    await chair.sends(last)
    await chair.measures(145, PULSE, device="manual")
    for _ in range(3):
        await chair.measures(121, device="m2")
        await chair.ticks(5)
    assert await chair.told() == ["SignalLost", "SignalRestored", "VitalsAbnormal"]


async def test_a_session_that_cannot_be_evaluated_does_not_keep_the_others_from_it(chair: Chair) -> None:
    """E.g. by a process that does not know its protocol's version yet: its stamp stands still, and is found."""
    await chair.measures(192, device="manual")
    sound = chair.session_id
    slot = (await chair.session())["slot"]
    await chair.seat()
    broken = {"slot": slot, "protocol_version": "of-a-newer-process"}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, {"$set": broken})
    await chair.memory.refresh()
    began = chair.clock.system_now()
    await chair.ticks(6)
    stamps = chair.memory.stamps("clinic-1")
    assert (stamps[sound] > began, stamps[chair.session_id] == began) == (True, True)
    assert len(await chair.mongo.plumbing("alarms").find({"session_id": sound, "rule": "sbp_critical_high"})) == 1


async def test_readings_that_cannot_be_judged_take_nothing_from_those_beside_them(chair: Chair) -> None:
    sound, broken = chair.session_id, (await chair.seat()).session_id
    unknown = {"$set": {"protocol_version": "of-a-newer-process"}}
    await chair.mongo.plumbing("sessions").update({"_id": broken}, unknown)
    # The first two are committed alone, what comes meanwhile together.
    sessions_ = (sound, sound, broken, sound)
    readings = [chair.reading(35, device=f"m{number}") for number in range(4)]
    deliveries = [Delivery(NURSE, one, [reading]) for one, reading in zip(sessions_, readings, strict=True)]
    results = await asyncio.gather(*map(chair.ingest.deliver, deliveries), return_exceptions=True)
    assert [isinstance(result, Unavailable) for result in results] == [False, False, True, False]
    assert len(await chair.mongo.plumbing("alarms").find({"session_id": sound, "rule": "sbp_collapse"})) == 1


async def test_who_leaves_ends_every_watch(chair: Chair) -> None:
    await chair.lasts(192, 6)
    await chair.leaves()
    await chair.ticks(60)
    assert await chair.alarms(open=True) == []
    assert "SignalLost" not in await chair.told()
    result = await chair.measures(192)
    assert result[0].result == "stored"
    rows = await chair.mongo.plumbing("vitals").find({"after_end": True})
    assert len(rows) == 1


async def test_abort_after_a_dose_goes_on_watching(chair: Chair) -> None:
    await chair.aborts()
    await chair.lasts(192, 6)
    assert len(await chair.alarms(rule="sbp_critical_high", open=True)) == 1


async def test_another_evaluator_takes_the_slots_of_a_dead_one(chair: Chair) -> None:
    await chair.evaluator.tick()
    heir = Evaluator(chair.mongo, chair.deps, chair.memory, new_id())
    await chair.measures(192, device="manual")
    chair.clock.advance(6)
    await heir.tick()
    assert await chair.alarms() == []
    leases = await chair.mongo.plumbing("leases").find({})
    assert len(leases) == 8
    await chair.mongo.run(NURSE, lambda unit: unit.plumbing("leases").delete({}))
    await heir.tick()
    assert len(await chair.alarms()) == 1


async def test_with_the_store_gone_the_alarm_is_told_in_the_beat_at_once(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chair.memory.refresh()
    beats = Beats(chair.clock, chair.memory, "e1", lambda: None)

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(chair.mongo, "run", away)
    for _ in range(7):
        with pytest.raises(Unavailable):
            await chair.measures(192)
        chair.clock.advance(1)
    beat = beats.beat("clinic-1")
    assert beat.store == "gone"
    assert [(item.session_id, item.rule) for item in beat.unrecorded] == [(chair.session_id, "sbp_critical_high")]
    assert chair.memory.changed.is_set()
    monkeypatch.undo()
    await chair.memory.refresh()
    assert (beats.beat("clinic-1").store, beats.beat("clinic-1").unrecorded) == ("ok", [])


async def test_what_is_judged_while_the_store_can_only_be_read_is_told_after_its_delay(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read knows nothing of what was judged since: it does not take the place of that."""
    beats, looks = Beats(chair.clock, chair.memory, "e1", lambda: None), chair.memory.refresh
    await looks()

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(chair.mongo, "run", away)
    for _ in range(7):
        await asyncio.gather(chair.measures(192), looks(), return_exceptions=True)
        chair.clock.advance(1)
    told = [item.rule for item in beats.beat("clinic-1").unrecorded]
    assert (beats.beat("clinic-1").store, told) == ("gone", ["sbp_critical_high"])
    monkeypatch.undo()
    await looks()
    assert (beats.beat("clinic-1").store, beats.beat("clinic-1").unrecorded) == ("ok", [])


async def test_a_beat_names_what_is_evaluated_and_what_has_ended(chair: Chair) -> None:
    await chair.memory.refresh()
    await chair.ticks()
    beats = Beats(chair.clock, chair.memory, "e1", lambda: None)
    assert [item.session_id for item in beats.beat("clinic-1").sessions] == [chair.session_id]
    await chair.leaves()
    await chair.memory.refresh()
    assert (beats.beat("clinic-1").sessions, beats.beat("clinic-1").ended) == ([], [chair.session_id])


async def test_a_session_that_nobody_evaluates_is_named_and_ages(chair: Chair) -> None:
    """No evaluator ever came to it: its stamp stands still, which notifications finds."""
    beats, began = Beats(chair.clock, chair.memory, "e1", lambda: None), chair.clock.system_now()
    for _ in range(4):
        await chair.memory.refresh()
        told = {item.session_id: item.last_evaluated_at for item in beats.beat("clinic-1").sessions}
        assert told == {chair.session_id: began}
        chair.clock.advance(5)


async def test_an_alarm_that_no_relay_sends_is_told_in_the_beat(chair: Chair) -> None:
    beats = Beats(chair.clock, chair.memory, "e1", lambda: None)
    await chair.measures(35)
    raised_at = chair.clock.system_now()
    await chair.memory.refresh()
    assert beats.beat("clinic-1").unsent_since is None
    chair.clock.advance(11)
    await chair.leaves()
    await chair.memory.refresh()
    assert beats.beat("clinic-1").unsent_since == raised_at
    await chair.mongo.run(NURSE, lambda unit: unit.plumbing("outbox").update_many({}, {"$set": {"state": "sent"}}))
    await chair.memory.refresh()
    assert beats.beat("clinic-1").unsent_since is None


async def test_looking_for_silent_devices_costs_one_seek_however_long_the_session_is(chair: Chair) -> None:
    for _ in range(3):
        await chair.sends(*(chair.reading(120, at=chair.clock.clinical_now() - minutes(n / 1000)) for n in range(300)))
        chair.clock.advance(1)
    heard = await last_heard(chair.mongo, [chair.session_id])
    assert heard[chair.session_id]["m1"] == chair.clock.clinical_now() - minutes(1 / 60)
    command = {"find": "vitals", "filter": {"session_id": chair.session_id, "device": "m1"}, "limit": 1}
    plan = await chair.mongo.database.command(
        "explain", {**command, "sort": {"received_at": -1}}, verbosity="executionStats"
    )
    assert plan["executionStats"]["totalKeysExamined"] == 1
