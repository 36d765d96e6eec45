"""What people decide about readings and alarms: a breach that counts has an alarm that stands, and nobody is paged without one."""

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import answering, correcting
from services.monitoring.vitals import Outcome
from shared.persistence.mongo import Document, DuplicateKey, UnitOfWork
from tests.integration.monitoring.test_readings import another, decides, kinds
from tests.integration.monitoring.world import NURSE, Chair

SPO2, RR = "59408-5", "9279-1"
CRITICAL, WARNING = "sbp_critical_high", "sbp_warning_high"
DEPRESSION = "respiratory_depression"


async def moves(chair: Chair, identifier: str, to: Chair) -> Document:
    body = schemas.ReadingMove(to_session_id=to.session_id, reason_code="wrong_patient")

    async def work(unit: UnitOfWork) -> Document:
        return await correcting.move(unit, chair.deps, chair.session_id, identifier, body)

    return await chair.mongo.run(NURSE, work)


async def waits(chair: Chair, seconds: int) -> None:
    """Nothing is measured; time passes."""
    for _ in range(seconds):
        await chair.ticks(1)


async def by_hand(chair: Chair, value: float, seconds: int = 10) -> Outcome:
    """One pressure by hand, and then nothing."""
    (result,) = await chair.measures(value, device="manual")
    await waits(chair, seconds)
    return result


async def opened(chair: Chair, rule: str = CRITICAL) -> list[bool]:
    """Of each alarm of the rule whether it stands, in the order in which they were raised."""
    return [row["open"] for row in sorted(await chair.alarms(rule=rule), key=lambda row: row["raised_at"])]


async def accepted(chair: Chair, rule: str = CRITICAL) -> None:
    for row in await chair.alarms(rule=rule, open=True):
        await chair.acknowledges(row["_id"])


async def test_what_was_an_artefact_and_is_confirmed_after_all_is_told_anew(chair: Chair) -> None:
    high = await by_hand(chair, 192)
    await decides(chair, high.id, "artefact")
    assert await opened(chair) == [False]
    await decides(chair, high.id, "confirmed")
    await waits(chair, 6)
    assert await opened(chair) == [False, True]


async def test_a_reading_of_another_patient_moves_with_its_alarm(chair: Chair) -> None:
    second = await another(chair)
    (wrong,) = await chair.measures(0, SPO2)
    for _ in range(2):
        moved = await moves(chair, wrong.id, second)
        assert moved["moved_from"] == chair.session_id
    assert [row["open"] for row in await chair.alarms(rule="spo2_collapse")] == [False]
    assert [row["open"] for row in await second.alarms(rule="spo2_collapse")] == [True]
    assert ("reading_moved_away" in await kinds(chair), "reading_moved_here" in await kinds(second)) == (True, True)
    (again,) = await chair.sends(chair.reading(0, SPO2))
    assert again.result == "duplicate"


async def test_a_reading_that_was_moved_away_and_back_is_told_anew(chair: Chair) -> None:
    second = await another(chair)
    high = await by_hand(chair, 192)
    away = await moves(chair, high.id, second)
    await waits(chair, 3)
    await moves(second, away["_id"], chair)
    await waits(chair, 6)
    assert await opened(chair) == [False, True]


async def test_an_alarm_that_an_artefact_ended_is_told_anew(chair: Chair) -> None:
    await by_hand(chair, 192)
    await accepted(chair)
    normal = await by_hand(chair, 120)
    assert await opened(chair) == [False]
    await decides(chair, normal.id, "artefact")
    await waits(chair, 6)
    assert await opened(chair) == [False, True]


async def test_another_device_at_the_moment_of_an_artefact_is_heard(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    high = await by_hand(chair, 192, seconds=6)
    await decides(chair, high.id, "artefact")
    (result,) = await chair.measures(192, at=at)
    await waits(chair, 6)
    assert (result.result, await opened(chair)) == ("stored", [False, True])


async def test_a_session_whose_tick_was_lost_counts_as_not_evaluated(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise DuplicateKey

    stamped: list[str] = []

    def stamp(sessions: Collection[str]) -> None:
        stamped.extend(sessions)

    monkeypatch.setattr(chair.memory, "evaluated", stamp)
    await chair.measures(192, device="manual")
    stamped.clear()
    monkeypatch.setattr("services.monitoring.evaluator.tick_session", lost)
    await waits(chair, 6)
    assert stamped.count(chair.session_id) < 6
    stamped.clear()
    await waits(chair, 1)
    assert stamped == []


@pytest.mark.parametrize("decision", ["confirmed", "artefact"])
async def test_a_decision_about_one_reading_of_a_wrong_clock_leaves_the_alarm_of_the_others(
    chair: Chair, decision: str
) -> None:
    for _ in range(60):
        (one,) = await chair.measures(192, at=chair.clock.clinical_now() - timedelta(hours=5))
        await chair.ticks(1)
    assert await opened(chair) == [True]
    await decides(chair, one.id, "confirmed" if decision == "confirmed" else "artefact")
    assert await opened(chair) == [True]


async def test_a_confirmed_normal_value_withdraws_no_alarm_that_nobody_accepted(chair: Chair) -> None:
    await by_hand(chair, 192)
    normal = await by_hand(chair, 120)
    await decides(chair, normal.id, "confirmed")
    assert await opened(chair) == [True]


async def test_an_alarm_does_not_end_by_a_value_that_was_an_artefact(chair: Chair) -> None:
    await by_hand(chair, 192)
    normal = await by_hand(chair, 120)
    await decides(chair, normal.id, "artefact")
    await accepted(chair)
    assert await opened(chair) == [True]


async def test_a_graver_alarm_that_is_over_does_not_speak_for_a_later_milder_breach(chair: Chair) -> None:
    second = await another(chair)
    await chair.lasts(192, 8)
    await accepted(chair)
    await chair.lasts(120, 60)
    mild = []
    for _ in range(20):
        mild += await second.measures(170, device="m9")
        chair.clock.advance(1)
    await second.measures(120, device="m9")
    for reading in mild:
        await moves(second, reading.id, chair)
    assert len(await chair.alarms(rule=WARNING)) == 1


@pytest.mark.parametrize("over", [False, True])
async def test_what_a_graver_alarm_has_told_is_not_told_by_the_milder_when_it_is_judged_again(
    chair: Chair, *, over: bool
) -> None:
    await chair.lasts(192, 30)
    if over:
        await accepted(chair)
        await chair.lasts(120, 30)
    (last,) = await chair.measures(120 if over else 192)
    await decides(chair, last.id, "confirmed")
    assert (await opened(chair), await chair.alarms(rule=WARNING)) == ([not over], [])


async def breathes(chair: Chair, spo2: float, breaths: float) -> tuple[Outcome, Outcome]:
    first, second = await chair.sends(chair.reading(spo2, SPO2), chair.reading(breaths, RR))
    chair.clock.advance(1)
    return first, second


async def test_an_alarm_of_two_signs_is_over_when_one_of_them_was_an_artefact(chair: Chair) -> None:
    await breathes(chair, 97, 14)
    low, _ = await breathes(chair, 93, 9)
    assert await opened(chair, DEPRESSION) == [True]
    await decides(chair, low.id, "artefact")
    assert await opened(chair, DEPRESSION) == [False]


async def test_an_alarm_of_two_signs_stands_while_both_of_them_count(chair: Chair) -> None:
    await breathes(chair, 93, 9)
    normal, _ = await breathes(chair, 97, 14)
    await decides(chair, normal.id, "confirmed")
    assert await opened(chair, DEPRESSION) == [True]


async def test_two_signs_that_a_move_brings_together_are_told(chair: Chair) -> None:
    second = await another(chair)
    await chair.measures(93, SPO2)
    (breaths,) = await second.measures(9, RR)
    chair.clock.advance(1)
    assert await opened(chair, DEPRESSION) == []
    await moves(second, breaths.id, chair)
    assert await opened(chair, DEPRESSION) == [True]


async def attends(chair: Chair) -> None:
    (alarm,) = await chair.alarms(rule=CRITICAL)
    await chair._run(lambda unit: answering.attend(unit, chair.deps, alarm["_id"], "nurse"))


async def test_who_is_at_the_chair_has_accepted_the_alarm_too(chair: Chair) -> None:
    await chair.lasts(192, 8)
    await attends(chair)
    (alarm,) = await chair.alarms(rule=CRITICAL)
    assert (alarm["acknowledged_by"], alarm["acknowledged_at"]) == ("nurse-1", alarm["attended_at"])
    assert await chair.told() == ["VitalsAbnormal", "AlarmAcknowledged", "AlarmAttended"]


@pytest.mark.parametrize(
    ("then", "event"),
    [(lambda chair: chair.lasts(120, 2), "AlarmCleared"), (lambda chair: waits(chair, 181), "AlarmRenewed")],
)
async def test_an_attended_alarm_ends_or_is_told_again(
    chair: Chair, then: Callable[[Chair], Awaitable[None]], event: str
) -> None:
    await chair.lasts(192, 8)
    await attends(chair)
    await then(chair)
    assert (await chair.told())[-1] == event


async def test_an_answer_to_an_alarm_that_is_over_is_none_to_the_one_that_stands(chair: Chair) -> None:
    wrong = await by_hand(chair, 192)
    (old,) = await chair.alarms(rule=CRITICAL)
    await decides(chair, wrong.id, "artefact")
    await waits(chair, 30)
    await chair.lasts(195, 8)
    await chair.acknowledges(old["_id"])
    await chair.lasts(120, 2)
    assert await opened(chair) == [False, True]
