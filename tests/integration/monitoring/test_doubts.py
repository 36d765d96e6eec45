"""Values that are not believed, or only once a human says so: what ends their alarm, and what they do not stand for."""

import asyncio
from datetime import timedelta

import pytest

from services.monitoring import schemas
from services.monitoring.flood import Flood
from services.monitoring.usecases import sessions
from services.monitoring.usecases.readings import Delivery
from tests.integration.monitoring.test_decisions import moves
from tests.integration.monitoring.test_readings import another, decides, rows
from tests.integration.monitoring.world import NURSE, Chair, minutes

SYSTOLIC, DIASTOLIC, TEMPERATURE = "8480-6", "8462-4", "8310-5"
DOUBTED = pytest.mark.parametrize(
    ("sign", "value", "sure", "rule"),
    [(TEMPERATURE, 34, 36.5, "confirm:8310-5"), (SYSTOLIC, 310, 120, "implausible:8480-6")],
)


async def stands(chair: Chair, rule: str) -> bool:
    return len(await chair.alarms(rule=rule, open=True)) == 1


@DOUBTED
@pytest.mark.parametrize("device", ["m1", "manual"])
async def test_what_was_measured_before_a_doubted_value_does_not_end_its_alarm(
    chair: Chair, sign: str, value: float, sure: float, rule: str, device: str
) -> None:
    chair.clock.advance(1200)
    await chair.measures(value, sign)
    begin = chair.clock.clinical_now() - timedelta(minutes=15)
    chair.clock.advance(1)
    await chair.sends(*[chair.reading(sure, sign, at=begin + timedelta(seconds=n), device=device) for n in range(30)])
    before = chair.clock.clinical_now() - timedelta(seconds=5)
    await chair.measures(sure, sign, at=before, device="m2")
    assert await stands(chair, rule)
    await chair.measures(sure, sign, device=device)
    assert not await stands(chair, rule)


@DOUBTED
async def test_what_is_older_than_another_doubted_value_does_not_end_the_alarm_of_the_first(
    chair: Chair, sign: str, value: float, sure: float, rule: str
) -> None:
    await chair.measures(value, sign, device="manual")
    chair.clock.advance(300)
    between = chair.clock.clinical_now() - timedelta(seconds=100)
    await chair.measures(value, sign, device="manual")
    chair.clock.advance(1)
    await chair.measures(sure, sign, at=between, device="manual")
    assert await stands(chair, rule)


@DOUBTED
@pytest.mark.parametrize("clock_off", [0, 5], ids=["clock right", "clock wrong"])
async def test_a_decision_about_another_value_leaves_the_alarm(
    chair: Chair, sign: str, value: float, sure: float, rule: str, clock_off: float
) -> None:
    """Only what is decided about all that was doubted ends it."""

    async def taken(what: float) -> str:
        for _ in range(3):  # so often until a wrong clock is known
            at = chair.clock.clinical_now() - minutes(60 * clock_off)
            (result,) = await chair.measures(what, sign, at=at)
            chair.clock.advance(1)
        return result.id

    before = await taken(sure)
    for number in range(2):
        at = chair.clock.clinical_now() - minutes(60 * clock_off)
        (doubted,) = await chair.measures(value + number / 2, sign, at=at)
        chair.clock.advance(1)
        await decides(chair, before, "artefact")
        assert await stands(chair, rule)
        before = doubted.id
    await decides(chair, before, "artefact")
    assert not await stands(chair, rule)


@DOUBTED
async def test_a_value_that_is_moved_here_leaves_the_alarm(
    chair: Chair, sign: str, value: float, sure: float, rule: str
) -> None:
    second = await another(chair)
    (wrong,) = await second.measures(sure, sign, device="m9")
    chair.clock.advance(1)
    (doubted,) = await chair.measures(value, sign)
    await moves(second, wrong.id, chair)
    assert await stands(chair, rule)
    await moves(chair, doubted.id, second)
    assert not await stands(chair, rule)


@DOUBTED
async def test_a_doubted_value_that_is_moved_asks_a_human_where_it_belongs(
    chair: Chair, sign: str, value: float, sure: float, rule: str
) -> None:
    second = await another(chair)
    (doubted,) = await chair.measures(value, sign)
    moved = await moves(chair, doubted.id, second)
    assert (await stands(chair, rule), await stands(second, rule)) == (False, True)
    chair.clock.advance(1)
    await second.measures(sure, sign)
    assert not await stands(second, rule)
    await decides(second, moved["_id"], "confirmed")
    assert len(await second.alarms(rule=rule)) == 1


@DOUBTED
async def test_a_doubted_value_that_a_sure_one_answered_asks_again_when_that_was_an_artefact(
    chair: Chair, sign: str, value: float, sure: float, rule: str
) -> None:
    await chair.measures(value, sign)
    answers = []
    for _ in range(2):
        chair.clock.advance(1)
        answers += await chair.measures(sure, sign)
    await decides(chair, answers[0].id, "artefact")
    assert len(await chair.alarms(rule=rule)) == 1
    await decides(chair, answers[1].id, "artefact")
    assert await stands(chair, rule)


async def test_a_typing_error_that_is_corrected_for_the_same_moment_is_judged(chair: Chair) -> None:
    then = chair.clock.clinical_now()
    (typed,) = await chair.measures(350, at=then, device="manual")
    chair.clock.advance(5)
    (corrected,) = await chair.measures(170, at=then, device="manual")
    assert (typed.result, corrected.result) == ("quarantined", "stored")
    await chair.ticks(30)
    assert await stands(chair, "sbp_warning_high")


SWAPPED = [(SYSTOLIC, 80), (DIASTOLIC, 122)]


@pytest.mark.parametrize("pair", [SWAPPED, SWAPPED[::-1]], ids=["systolic first", "diastolic first"])
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
async def test_swapped_pressures_that_come_alone_are_flagged_in_both(
    chair: Chair, pair: list[tuple[str, float]], at_once: bool
) -> None:
    at = chair.clock.clinical_now()
    sent = [chair.measures(value, sign, at=at) for sign, value in pair]
    if at_once:
        await asyncio.gather(*sent)
    else:
        _ = [await one for one in sent]
    assert [row["flags"] for row in await rows(chair)] == [["swapped"], ["swapped"]]


async def test_a_diastolic_that_comes_after_a_systolic_that_is_not_above_it_is_not_believed(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(80, at=at)
    (result,) = await chair.measures(122, DIASTOLIC, at=at)
    assert (result.result, result.reason) == ("quarantined", "diastolic_not_below_systolic")
    assert await stands(chair, f"implausible:{DIASTOLIC}")


async def test_pressures_of_two_moments_are_no_pair(chair: Chair) -> None:
    await chair.measures(80)
    chair.clock.advance(1)
    await chair.measures(122, DIASTOLIC)
    assert ["flags" in row for row in await rows(chair)] == [False, False]


@pytest.mark.parametrize(("sign", "value"), [(TEMPERATURE, 39.5), (SYSTOLIC, 230)])
async def test_a_value_to_confirm_of_before_the_end_is_told_once_though_it_came_after_it(
    chair: Chair, sign: str, value: float
) -> None:
    begin = chair.clock.clinical_now()
    chair.clock.advance(120)
    await chair.leaves()
    chair.clock.advance(5)
    for second in range(2):
        (result,) = await chair.measures(value, sign, at=begin + timedelta(seconds=second))
        assert (result.result, result.wanted) == ("stored", "confirm")
    (alarm,) = await chair.alarms()
    assert (alarm["rule"], alarm["open"], alarm["pages"]) == (f"confirm:{sign}", False, True)
    assert (await chair.told())[-2:] == ["VitalsAbnormal", "AlarmCleared"]


async def test_a_value_to_confirm_whose_alarm_stood_until_the_end_is_not_told_again_after_it(chair: Chair) -> None:
    await chair.measures(39.5, TEMPERATURE)
    chair.clock.advance(1)
    then = chair.clock.clinical_now()
    chair.clock.advance(1)
    await chair.leaves()
    await chair.measures(39.6, TEMPERATURE, at=then)
    await chair.measures(39.6, TEMPERATURE)
    assert [row["rule"] for row in await chair.alarms()] == [f"confirm:{TEMPERATURE}"]


async def test_an_abnormal_value_of_a_gateway_is_not_dropped_by_the_sessions_own_limit(chair: Chair) -> None:
    body = schemas.Assignment(monitor="m7")
    await chair.mongo.run(NURSE, lambda unit: sessions.reassign(unit, chair.session_id, body))
    own = {"$set": {"own_limits": {"sbp_critical_high": 130.0}}}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, own)
    await chair.memory.refresh()
    chair.ingest._flood = Flood(chair.clock.monotonic, per_second=1, at_once=50)
    start = chair.clock.clinical_now() - timedelta(seconds=5)
    values = [135, *[120 + number % 3 for number in range(299)]]
    many = [
        chair.reading(value, at=start + timedelta(milliseconds=number), device="m7")
        for number, value in enumerate(values)
    ]
    results = await asyncio.wait_for(chair.ingest.deliver(Delivery(NURSE, None, many)), 60)
    assert (results[0].result, results[1].reason) == ("stored", "flood")
