"""A minute of clinical time in a second: what only absorbs transport still absorbs two seconds of real time."""

from datetime import timedelta

from services.monitoring.store import VITALS
from tests.integration.monitoring.test_board import Viewer, replica
from tests.integration.monitoring.world import Chair
from tests.support.eventually import eventually

ON_ITS_WAY = timedelta(seconds=119)  # just under two seconds of real time


async def lasts(chair: Chair, value: float) -> None:
    """Once a second of real time; every other reading is as long on its way as any may be."""
    chair.clock.rate = 60
    for number in range(6):
        await chair.measures(value, at=chair.clock.clinical_now() - ON_ITS_WAY * (number % 2))
        chair.clock.advance(60)


async def test_a_reading_that_was_two_seconds_on_its_way_is_of_now_and_no_wrong_clock(chair: Chair) -> None:
    await lasts(chair, 192)
    assert [row["rule"] for row in await chair.alarms(category="technical")] == []
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1
    rows = await chair.mongo.plumbing(VITALS).find({"session_id": chair.session_id, "device": "m1"})
    assert [row.get("late") for row in rows if row.get("late")] == []


async def test_a_clock_that_is_wrong_by_the_same_time_as_before_is_one_that_keeps_it(chair: Chair) -> None:
    """The offset of a wrong clock may move by what transport takes."""
    chair.clock.rate = 60
    for number in range(6):
        await chair.measures(120, at=chair.clock.clinical_now() - 3 * ON_ITS_WAY + (number % 2) * ON_ITS_WAY / 2)
        chair.clock.advance(121)
    assert [row["rule"] for row in await chair.alarms(category="technical")] == ["clock:m1"]


async def test_a_device_is_not_silent_before_two_seconds_have_passed(chair: Chair) -> None:
    chair.clock.rate = 60
    await chair.measures(120)
    await chair.ticks(119)
    assert await chair.told() == []
    await chair.ticks(2)
    assert await chair.told() == ["SignalLost"]


async def test_the_board_shows_what_was_two_seconds_on_its_way(chair: Chair) -> None:
    chair.clock.advance(300)  # its baseline is older
    chair.clock.rate = 60
    async with replica(chair) as board:
        viewer = await Viewer(board).comes()
        await chair.measures(131, at=chair.clock.clinical_now() - ON_ITS_WAY)

        async def shown() -> bool:
            values = [frame["values"].get(chair.session_id, {}).get("8480-6") for frame in viewer.of("values")]
            return any(sign and sign["value"] == 131 for sign in values)

        await eventually(shown, 3)
    async with replica(chair) as another:
        (loaded,) = (await Viewer(another).comes()).of("snapshot")[0]["chairs"]
    assert loaded["signs"]["8480-6"]["value"] == 131
