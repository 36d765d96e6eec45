"""A device that moves from one chair to the other: whom its silence and its readings concern then."""

from services.monitoring.usecases.readings import Delivery
from tests.integration.monitoring.test_readings import another, assigns
from tests.integration.monitoring.world import NURSE, Chair


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
