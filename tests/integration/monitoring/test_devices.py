"""Whose a monitor is: prepared before check-in, replaced by another, given back."""

from datetime import timedelta

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import sessions
from tests.integration.monitoring.test_protocols import arrival
from tests.integration.monitoring.test_readings import another, assigns, by_device
from tests.integration.monitoring.world import NURSE, Chair


async def prepares(chair: Chair, monitor: str) -> Chair:
    """A chair with its monitor, before anybody sits there."""
    chair = Chair(chair.mongo, chair.clock)
    asked = schemas.NewSession(patient_id=chair.patient_id)
    row = await chair.mongo.run(NURSE, lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    chair.session_id = row["_id"]
    await assigns(chair, monitor)
    return chair


async def arrives(chair: Chair, **named: str) -> None:
    body = arrival().model_copy(update=named)
    await chair.mongo.run(NURSE, lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, body))


async def goes_on(chair: Chair, monitor: str) -> None:
    for _ in range(3):
        await chair.measures(121, device=monitor)
        await chair.ticks(6)


async def hears(chair: Chair, monitor: str) -> bool:
    """Whether what the monitor measures is this chair's."""
    chair.clock.advance(30)
    (told,) = await by_device(chair, chair.reading(120, device=monitor))
    return told.id.startswith(chair.session_id)


async def test_a_monitor_that_was_named_before_check_in_is_the_sessions_from_then_on(chair: Chair) -> None:
    prepared = await prepares(chair, "m9")
    assert not await hears(prepared, "m9")
    await arrives(prepared)
    assert await hears(prepared, "m9")
    assert (await prepared.session())["monitor"] == "m9"


async def test_what_is_named_at_check_in_counts_more_than_what_was_named_before(chair: Chair) -> None:
    prepared = await prepares(chair, "m9")
    await arrives(prepared, monitor="m8")
    assert (await hears(prepared, "m8"), await hears(prepared, "m9")) == (True, False)


async def test_a_monitor_that_another_patient_has_by_now_is_not_taken_from_him(chair: Chair) -> None:
    prepared = await prepares(chair, "m9")
    second = await another(chair)
    await assigns(second, "m9")
    await arrives(prepared)
    assert await hears(second, "m9")
    assert (await prepared.session())["monitor"] is None


BEFORE = pytest.mark.parametrize("seconds", [2, 20], ids=["on its way", "buffered"])


@BEFORE
async def test_what_a_replaced_monitor_measured_before_makes_nobody_wait_for_it(chair: Chair, seconds: float) -> None:
    await assigns(chair, "m1")
    await chair.measures(120)
    chair.clock.advance(30)
    before = chair.clock.clinical_now() - timedelta(seconds=seconds)
    await assigns(chair, "m2")
    (told,) = await by_device(chair, chair.reading(121, at=before))
    assert told.result == "stored"
    await goes_on(chair, "m2")
    assert await chair.alarms() == []


async def test_a_monitor_that_measures_on_after_it_was_replaced_is_waited_for(chair: Chair) -> None:
    await assigns(chair, "m1")
    await assigns(chair, "m2")
    chair.clock.advance(30)
    await chair.measures(120)
    await goes_on(chair, "m2")
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["signal:m1"]


async def test_the_alarm_about_the_clock_of_a_monitor_that_was_replaced_is_over(chair: Chair) -> None:
    await assigns(chair, "m1")
    for _ in range(20):
        await chair.measures(120, at=chair.clock.clinical_now() - timedelta(hours=1))
        chair.clock.advance(1)
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["clock:m1"]
    await chair.ticks(1)
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["clock:m1"]
    await assigns(chair, "m2")
    await goes_on(chair, "m2")
    assert await chair.alarms(open=True) == []
    assert (await chair.session())["technical"] == {}
