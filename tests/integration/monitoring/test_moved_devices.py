"""A device that moves from one chair to the other: whom its silence and its readings concern then."""

from datetime import timedelta

import pytest

from services.monitoring.ingest import Ingest
from services.monitoring.usecases.readings import Delivery
from tests.integration.monitoring.test_readings import another, assigns, by_device, rows
from tests.integration.monitoring.world import NURSE, Chair

OFF = timedelta(seconds=60)


async def test_the_silence_of_a_monitor_that_moved_away_ends_when_another_takes_its_place(chair: Chair) -> None:
    other = await another(chair)
    await assigns(chair, "m1")
    await chair.measures(120)
    await assigns(other, "m1")
    await chair.ticks(11)
    assert [row["rule"] for row in await chair.alarms(open=True)] == ["signal:m1"]
    await assigns(chair, "m2")
    await chair.measures(121, device="m2")
    await chair.ticks(1)
    assert await chair.alarms(open=True) == []


async def test_a_monitor_that_comes_back_is_waited_for_as_long_as_it_said(chair: Chair) -> None:
    other = await another(chair)
    await assigns(chair, "m1")
    await chair.ingest.deliver(Delivery(NURSE, chair.session_id, [chair.reading(120)], interval_s=600))
    for one in (other, chair):
        await assigns(one, "m1")
    assert (await chair.session())["devices"] == {"m1": 600}


async def tells_by_a_wrong_clock(chair: Chair, times: int) -> None:
    for _ in range(times):
        chair.clock.advance(3)
        await by_device(chair, chair.reading(120, device="m7", at=chair.clock.clinical_now() - OFF))


async def a_process_starts(chair: Chair) -> None:
    chair.ingest = Ingest(chair.mongo, chair.deps, chair.memory)


@pytest.mark.parametrize("silent", [False, True], ids=["at once", "after a chair where it measured nothing"])
async def test_by_a_wrong_clock_a_device_measures_for_who_has_it_though_a_process_starts(
    chair: Chair, silent: bool
) -> None:
    second, third = await another(chair), await another(chair)
    await assigns(chair, "m7")
    chair.clock.advance(60)
    await tells_by_a_wrong_clock(chair, 8)
    if silent:
        await assigns(third, "m7")
        chair.clock.advance(540)
    await assigns(second, "m7")
    before = len(await rows(chair))
    await a_process_starts(chair)
    await tells_by_a_wrong_clock(chair, 2)
    assert [len(await rows(one)) for one in (chair, second, third)] == [before, 2, 0]


async def test_a_stretch_by_a_wrong_clock_is_of_who_has_the_device_though_a_process_starts(chair: Chair) -> None:
    second = await another(chair)
    await assigns(chair, "m7")
    chair.clock.advance(60)
    await tells_by_a_wrong_clock(chair, 8)
    await assigns(second, "m7")
    chair.clock.advance(70)
    await a_process_starts(chair)
    newest = chair.clock.clinical_now() - OFF
    taken = [newest - timedelta(seconds=back) for back in (40, 20, 0)]
    await by_device(chair, *[chair.reading(120, device="m7", at=at) for at in taken])
    assert (len(await rows(chair)), len(await rows(second))) == (8, 3)


@pytest.mark.parametrize("was_wrong", [False, True], ids=["never wrong", "set right since"])
async def test_what_a_right_clock_tells_late_stays_with_the_patient_of_then_though_a_process_starts(
    chair: Chair, was_wrong: bool
) -> None:
    second = await another(chair)
    await assigns(chair, "m7")
    await tells_by_a_wrong_clock(chair, 8 if was_wrong else 0)
    chair.clock.advance(60)
    await by_device(chair, chair.reading(121, device="m7"))
    chair.clock.advance(60)
    await assigns(second, "m7")
    await a_process_starts(chair)
    await by_device(chair, chair.reading(122, device="m7", at=chair.clock.clinical_now() - timedelta(seconds=30)))
    assert [row["value"] for row in await rows(chair)][-2:] == [121, 122]
    assert await rows(second) == []
