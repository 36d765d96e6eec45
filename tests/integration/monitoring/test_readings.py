"""Readings on the real store: by device, late and wrong clocks, doubtful values, decisions, the end of the session, columns."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from services.monitoring import schemas
from services.monitoring.flood import Flood
from services.monitoring.handlers import TIMER_HANDLERS
from services.monitoring.ingest import Ingest
from services.monitoring.store import BACKLOGS, BUCKETS, VITALS
from services.monitoring.usecases import charting, correcting, sessions
from services.monitoring.usecases.folding import fold_next
from services.monitoring.usecases.readings import Delivery, Results
from shared.errors import NotFound, Unavailable
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.persistence.timers import TimerRunner
from tests.integration.monitoring.world import NURSE, Chair

SPO2, DBP = "59408-5", "8462-4"
SIGNS_OF_BASELINE = ("8480-6", "8462-4", "8867-4", "59408-5")


async def another(chair: Chair) -> Chair:
    """A second chair in the same clinic, with the same way in for readings."""
    second = Chair(chair.mongo, chair.clock)
    second.deps, second.ingest, second.memory = chair.deps, chair.ingest, chair.memory
    return await second.seat()


async def assigns(chair: Chair, monitor: str) -> None:
    body = schemas.Assignment(monitor=monitor)
    await chair.mongo.run(NURSE, lambda unit: sessions.reassign(unit, chair.session_id, body))


async def by_device(chair: Chair, *readings: schemas.Reading, scope: Scope = NURSE) -> Results:
    return await chair.ingest.deliver(Delivery(scope, None, readings))


async def rows(chair: Chair, **query: object) -> list[Document]:
    """Without what was typed into the baseline."""
    measured = {"session_id": chair.session_id, "taken_at": {"$ne": chair.baseline_at}}
    return await chair.mongo.plumbing(VITALS).find(measured | query)


async def kinds(chair: Chair) -> list[str]:
    found = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id})
    return [row["kind"] for row in found]


async def decides(chair: Chair, identifier: str, decision: Literal["confirmed", "artefact"]) -> Document:
    async def work(unit: UnitOfWork) -> Document:
        return await correcting.decide(unit, chair.deps, chair.session_id, identifier, decision, schemas.Decision())

    return await chair.mongo.run(NURSE, work)


async def test_a_gateway_names_the_device_alone(chair: Chair) -> None:
    await assigns(chair, "m7")
    results = await by_device(chair, chair.reading(120, device="m7"), chair.reading(120, device="m8"))
    assert [(row.result, row.reason) for row in results] == [("stored", None), ("refused", "device_unassigned")]
    assert [row["device"] for row in await rows(chair)] == ["m7"]


async def test_another_clinics_device_is_unassigned(chair: Chair) -> None:
    await assigns(chair, "m7")
    stranger = Scope("clinic-2", Actor("gateway", "device"))
    (result,) = await by_device(chair, chair.reading(120, device="m7"), scope=stranger)
    assert (result.result, result.reason) == ("refused", "device_unassigned")
    assert await rows(chair) == []


async def test_a_device_has_one_session_and_moves_with_a_trail(chair: Chair) -> None:
    second = await another(chair)
    await assigns(chair, "m7")
    await assigns(second, "m7")
    chair.clock.advance(20)
    await by_device(chair, chair.reading(120, device="m7"))
    assert (len(await rows(chair)), len(await rows(second))) == (0, 1)
    assert "device_moved_away" in await kinds(chair)
    assert "device_moved_here" in await kinds(second)


async def test_two_nurses_who_take_the_same_device_at_once_leave_it_with_one(chair: Chair) -> None:
    second = await another(chair)
    await asyncio.gather(assigns(chair, "m7"), assigns(second, "m7"))
    open_ones = await chair.mongo.plumbing("assignments").find({"device": "m7", "open": True})
    assert len(open_ones) == 1


async def test_what_a_device_measured_before_it_moved_stays_with_the_patient_of_that_time(chair: Chair) -> None:
    second = await another(chair)
    await assigns(chair, "m7")
    taken = chair.clock.clinical_now() + timedelta(seconds=60)
    chair.clock.advance(120)
    await assigns(second, "m7")
    chair.clock.advance(60)
    now = chair.clock.clinical_now()
    await by_device(chair, chair.reading(121, device="m7", at=taken), chair.reading(122, device="m7", at=now))
    assert ([row["value"] for row in await rows(chair)], [row["value"] for row in await rows(second)]) == ([121], [122])


async def test_what_a_device_measured_in_a_session_that_ended_still_finds_it(chair: Chair) -> None:
    await assigns(chair, "m7")
    taken = chair.clock.clinical_now()
    chair.clock.advance(5)
    await chair.leaves()
    chair.clock.advance(600)
    results = await by_device(chair, chair.reading(120, device="m7", at=taken), chair.reading(121, device="m7"))
    assert [(row.result, row.reason) for row in results] == [("stored", None), ("refused", "device_unassigned")]


async def test_a_wrong_clock_is_an_alarm_with_its_offset_and_its_values_are_of_now(chair: Chair) -> None:
    for _ in range(8):
        await chair.measures(192, at=chair.clock.clinical_now() - timedelta(seconds=60))
        chair.clock.advance(3)
    (alarm,) = await chair.alarms(rule="clock:m1")
    assert (alarm["category"], alarm["offset_s"], alarm["open"]) == ("technical", 60, True)
    assert len(await chair.alarms(rule="sbp_critical_high", open=True)) == 1
    await chair.measures(120)
    assert [row["open"] for row in await chair.alarms(rule="clock:m1")] == [False]


async def test_a_backlog_is_no_wrong_clock_is_charted_late_and_its_episode_is_an_alarm(chair: Chair) -> None:
    await chair.measures(120)
    chair.clock.advance(100)
    start = chair.clock.clinical_now() - timedelta(seconds=90)
    values = [120] * 20 + [192] * 15 + [120] * 55
    for chunk in range(0, 90, 30):
        backlog = [
            chair.reading(values[second], at=start + timedelta(seconds=second)) for second in range(chunk, chunk + 30)
        ]
        results = await chair.sends(*backlog)
        assert {row.result for row in results} == {"stored"}
        chair.clock.advance(3)
    assert await chair.alarms(rule="clock:m1") == []
    (alarm,) = await chair.alarms(rule="sbp_critical_high")
    assert alarm["raised_at"] == start + timedelta(seconds=20)  # a rise of more than forty waits for no delay
    late = await rows(chair, late=True)
    assert len(late) >= 80
    await chair.acknowledges(alarm["_id"])
    await chair.measures(120)
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [False]


async def test_a_backlog_does_not_end_what_is_wrong_now(chair: Chair) -> None:
    await chair.lasts(192, 6)
    then = chair.clock.clinical_now() - timedelta(seconds=300)
    await chair.sends(*[chair.reading(120, at=then + timedelta(seconds=second), device="m1") for second in range(60)])
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [True]


async def test_what_is_typed_in_a_minute_late_is_judged_like_one_of_now(chair: Chair) -> None:
    chair.clock.advance(120)
    await chair.measures(192, at=chair.clock.clinical_now() - timedelta(seconds=60), device="manual")
    await chair.ticks(6)
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [True]
    assert [row["late"] for row in await rows(chair)] == [True]


async def test_no_reading_is_refused_for_its_time(chair: Chair) -> None:
    for days in (-400, -1, 1, 400):
        (result,) = await chair.measures(120, at=chair.clock.clinical_now() + timedelta(days=days))
        assert result.result == "stored"


async def test_a_doubtful_value_alarms_at_once_until_a_sure_one(chair: Chair) -> None:
    (result,) = await chair.measures(36, "8310-5")
    assert result.wanted is None
    (result,) = await chair.measures(34, "8310-5", device="m2")
    assert (result.result, result.wanted) == ("stored", "confirm")
    (alarm,) = await chair.alarms(rule="confirm:8310-5")
    assert (alarm["open"], alarm["pages"]) == (True, True)
    chair.clock.advance(1)
    await chair.measures(36, "8310-5", device="m3")
    assert [row["open"] for row in await chair.alarms(rule="confirm:8310-5")] == [False]


async def test_a_value_that_is_not_believed_asks_for_another_until_a_valid_one(chair: Chair) -> None:
    (result,) = await chair.measures(301)
    assert (result.result, result.reason, result.wanted) == ("quarantined", "above_bound", "remeasure")
    chair.clock.advance(1)
    await chair.measures(302)
    (alarm,) = await chair.alarms(rule="implausible:8480-6")
    assert (alarm["priority"], alarm["category"], alarm["open"]) == ("medium", "technical", True)
    chair.clock.advance(1)
    await chair.measures(120)
    assert [row["open"] for row in await chair.alarms(rule="implausible:8480-6")] == [False]


async def test_swapped_pressures_are_flagged_in_both(chair: Chair) -> None:
    results = await chair.sends(chair.reading(110), chair.reading(120, DBP))
    assert [row.result for row in results] == ["stored", "quarantined"]
    assert [row["flags"] for row in await rows(chair)] == [["swapped"], ["swapped"]]


async def test_of_two_values_for_one_moment_the_worse_counts_whichever_comes_first(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    await chair.measures(0, SPO2, at=now)
    await chair.measures(97, SPO2, at=now)
    assert [row["open"] for row in await chair.alarms(rule="spo2_collapse")] == [True]
    assert sorted(row["value"] for row in await rows(chair)) == [0, 97]


async def test_an_artefact_ends_the_alarm_that_rests_on_it_alone(chair: Chair) -> None:
    (result,) = await chair.measures(0, SPO2)
    chair.clock.advance(1)
    await chair.measures(97, SPO2)
    assert [row["open"] for row in await chair.alarms(rule="spo2_collapse")] == [True]
    await decides(chair, result.id, "artefact")
    assert await chair.alarms(open=True) == []
    assert "reading_artefact" in await kinds(chair)


async def test_an_artefact_beside_a_true_breach_ends_nothing(chair: Chair) -> None:
    first = (await chair.measures(192))[0]
    await chair.lasts(193, 7)
    await decides(chair, first.id, "artefact")
    assert [row["open"] for row in await chair.alarms(rule="sbp_critical_high")] == [True]


async def test_a_confirmed_value_counts_and_its_twin_does_not(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    await chair.measures(0, SPO2, at=now)
    (good,) = await chair.measures(97, SPO2, at=now)
    await decides(chair, good.id, "confirmed")
    assert [row["open"] for row in await chair.alarms(rule="spo2_collapse")] == [False]
    assert [(row["value"], row["decision"]) for row in await rows(chair)] == [(0, "artefact"), (97, "confirmed")]


async def test_a_conflict_that_is_sent_again_is_a_duplicate(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    await chair.measures(96, SPO2, at=now)
    results = [(await chair.measures(97, SPO2, at=now))[0].result for _ in range(2)]
    assert results == ["stored", "duplicate"]
    assert len(await rows(chair)) == 2


async def test_a_reading_of_another_session_cannot_be_decided_about(chair: Chair) -> None:
    second = await another(chair)
    (reading,) = await second.measures(120)
    with pytest.raises(NotFound):
        await decides(chair, reading.id, "artefact")


async def test_after_the_end_only_what_was_taken_before_it_alarms(chair: Chair) -> None:
    await chair.leaves()
    end = chair.clock.clinical_now()
    chair.clock.advance(60)
    (after,) = await chair.measures(0, SPO2)
    assert (after.result, await chair.alarms()) == ("stored", [])
    await chair.measures(0, "8867-4", at=end - timedelta(seconds=20), device="m2")
    (alarm,) = await chair.alarms(rule="hr_collapse")
    assert alarm["open"] is False
    assert (await chair.told())[-2:] == ["VitalsAbnormal", "AlarmCleared"]
    assert {row.get("after_end") for row in await rows(chair)} == {True}


async def test_a_flooding_device_is_limited_and_its_abnormal_value_and_its_neighbour_are_not(chair: Chair) -> None:
    chair.ingest = Ingest(chair.mongo, chair.deps, chair.memory)
    chair.ingest._flood = Flood(chair.clock.monotonic, per_second=1, at_once=50)
    start = chair.clock.clinical_now() - timedelta(seconds=5)
    many = [chair.reading(120 + number % 3, at=start + timedelta(milliseconds=number)) for number in range(300)]
    many[0] = chair.reading(0, SPO2, at=start)
    results, neighbour = await asyncio.gather(chair.sends(*many), chair.measures(70, "8867-4", device="m2"))
    assert [row.result for row in results].count("stored") == 50
    assert (results[0].result, results[1].reason, results[-1].result) == ("stored", "flood", "stored")
    assert neighbour[0].result == "stored"


async def test_more_readings_than_a_transaction_holds_are_taken_in_parts(chair: Chair) -> None:
    start = chair.clock.clinical_now() - timedelta(seconds=5)
    many = [chair.reading(120, at=start + timedelta(milliseconds=number)) for number in range(1000)]
    results = await chair.sends(*many)
    assert {row.result for row in results} == {"stored"}
    assert len(await rows(chair)) == 1000


async def buckets(chair: Chair) -> list[Document]:
    """Of the systolic pressure, which the baseline has too."""
    return await chair.mongo.plumbing(BUCKETS).find({"session_id": chair.session_id, "sign": "8480-6"})


async def folds(chair: Chair) -> int:
    folded = 0
    while await chair.mongo.run(NURSE, lambda unit: fold_next(unit, chair.session_id)):
        folded += 1
    return folded


async def test_a_day_later_readings_lie_in_columns_and_are_still_found(chair: Chair) -> None:
    (first,) = await chair.measures(120)
    chair.clock.advance(700)
    second = chair.reading(121)
    await chair.sends(second)
    before = await rows(chair)
    await chair.leaves()
    timers = await chair.mongo.plumbing("timers").find({"kind": "fold"})
    assert [row["due_at"] - chair.clock.clinical_now() for row in timers] == [timedelta(days=1)]
    assert await folds(chair) == 2 + len(SIGNS_OF_BASELINE) - 1
    assert await rows(chair) == []
    assert len(await buckets(chair)) == 2
    (again,) = await chair.sends(second)
    assert again.result == "duplicate"
    decided = await decides(chair, first.id, "artefact")
    assert decided["value"] == 120
    assert decided.items() >= before[0].items()


async def test_the_timer_of_the_next_day_folds_bucket_by_bucket_and_the_list_shows_all(chair: Chair) -> None:
    for _ in range(3):
        await chair.measures(120)
        chair.clock.advance(700)
    await chair.leaves()
    await chair.measures(121)
    runner = TimerRunner(chair.mongo, TIMER_HANDLERS, chair.deps, "monitoring")
    assert await runner.fire_due() == 0
    chair.clock.advance(86_400)
    assert await runner.fire_due() == 5 + len(SIGNS_OF_BASELINE) - 1
    assert await rows(chair) == []
    assert len(await buckets(chair)) == 4
    shown = await chair.mongo.run(NURSE, lambda unit: charting.folded(unit, chair.session_id, None))
    measured = [row["value"] for row in shown or () if row["taken_at"] != chair.baseline_at]
    assert sorted(measured) == [120, 120, 120, 121]


async def test_what_comes_after_the_columns_is_added_to_them(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(120, at=at)
    await chair.leaves()
    await folds(chair)
    (late,) = await chair.measures(122, at=at)
    assert late.id.endswith("~122.0")
    assert await folds(chair) == 1
    (bucket,) = await buckets(chair)
    assert bucket["value"] == [120, 120, 122]


async def test_what_a_backlog_left_behind_goes_with_its_readings(chair: Chair) -> None:
    start = chair.clock.clinical_now()
    chair.clock.advance(60)
    await chair.sends(*(chair.reading(192, at=start + timedelta(seconds=second)) for second in range(20)))
    assert len(await chair.mongo.plumbing(BACKLOGS).find({})) == 1
    await chair.leaves()
    await folds(chair)
    assert await chair.mongo.plumbing(BACKLOGS).find({}) == []


async def test_a_fold_that_is_cut_loses_nothing(chair: Chair) -> None:
    await chair.measures(120)
    await chair.leaves()

    async def cut(unit: UnitOfWork) -> None:
        await fold_next(unit, chair.session_id)
        raise Unavailable

    with pytest.raises(Unavailable):
        await chair.mongo.run(NURSE, cut)
    assert len(await rows(chair)) == 1
    assert await chair.mongo.plumbing(BUCKETS).find({}) == []


async def test_who_leaves_gives_the_device_back(chair: Chair) -> None:
    await assigns(chair, "m7")
    await chair.leaves()
    assert await chair.mongo.plumbing("assignments").find({"open": True}) == []


async def test_with_the_store_gone_every_waiter_is_told_and_a_devices_readings_are_judged_on_the_copy(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assigns(chair, "m7")
    await chair.memory.refresh()

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(chair.mongo, "run", away)
    for _ in range(7):
        answers = await asyncio.gather(
            by_device(chair, chair.reading(192, device="m7")),
            chair.measures(97, SPO2),
            chair.measures(70, "8867-4"),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Unavailable] * 3
        chair.clock.advance(1)
    assert [alarm.rule for alarm in chair.memory.unrecorded("clinic-1")] == ["sbp_critical_high"]
    monkeypatch.undo()
    assert await rows(chair) == []
