"""What a monitor with a wrong clock tells of now is shown as of now: on the chart, and on the board whenever it is opened."""

from datetime import timedelta
from typing import Any

import pytest

from services.monitoring.chart_data import Chart, chart_of
from services.monitoring.store import charted_readings
from services.monitoring.usecases import charting
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_board import Viewer, replica
from tests.integration.monitoring.test_readings import decides, folds
from tests.integration.monitoring.world import NURSE, Chair
from tests.support.eventually import eventually

SYSTOLIC = "8480-6"
SECONDS = 40
OFF = pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)], ids=["behind", "ahead"])


async def measures(chair: Chair, off: timedelta) -> None:
    """One more each second, long enough until the clock is known to be wrong."""
    for second in range(SECONDS):
        await chair.measures(130 + second, at=chair.clock.clinical_now() - off)
        chair.clock.advance(1)


async def chart(chair: Chair) -> Chart:
    async def rows() -> list[Document]:
        folded = await chair.mongo.run(NURSE, lambda unit: charting.folded(unit, chair.session_id, None))
        return folded or await charted_readings(chair.mongo.reader(NURSE), chair.session_id)

    session = await chair.session()
    return chart_of(session, await rows(), chair.deps.limits(session), [], [], chair.clock.clinical_now())


@OFF
@pytest.mark.parametrize("folded", [False, True], ids=["hot", "folded"])
async def test_its_values_are_charted_when_they_arrived(chair: Chair, off: timedelta, folded: bool) -> None:
    await measures(chair, off)
    if folded:
        await chair.leaves()
        await folds(chair)
    (systolic,) = [series for series in (await chart(chair)).series if series.name == "systolic"]
    newest = systolic.points[-1]
    assert newest.value == 130 + SECONDS - 1
    assert newest.minute == pytest.approx((SECONDS - 1) / 60, abs=0.02)


async def shown(chair: Chair) -> tuple[Any, Any]:
    """The pressure and its trend on a board that is opened now."""
    async with replica(chair) as board:
        viewer = await Viewer(board).comes()
        ((about,),) = [snapshot["chairs"] for snapshot in viewer.of("snapshot")]
        viewer.goes()
    return about["signs"][SYSTOLIC]["value"], about["signs"][SYSTOLIC]["trend"]


@OFF
async def test_a_board_that_is_opened_later_shows_what_arrived_last(chair: Chair, off: timedelta) -> None:
    await chair.measures(120, device="manual")
    await measures(chair, off)
    assert await shown(chair) == (130 + SECONDS - 1, "up")
    chair.clock.advance(5)
    await chair.measures(125, device="m2")
    assert (await shown(chair))[0] == 125


async def test_so_does_one_on_which_a_reading_was_decided_about(chair: Chair) -> None:
    await chair.measures(120, device="manual")
    await measures(chair, timedelta(hours=1))
    async with replica(chair) as board:
        viewer = await Viewer(board).comes()
        (newest,) = await chair.measures(200, at=chair.clock.clinical_now() - timedelta(hours=1))
        await decides(chair, newest.id, "artefact")

        async def values() -> list[float]:
            return [told["values"][chair.session_id][SYSTOLIC]["value"] for told in viewer.of("values")]

        async def is_back() -> bool:
            return (await values())[-1:] == [130 + SECONDS - 1]

        await eventually(is_back)
        viewer.goes()


async def test_what_was_typed_in_for_a_time_to_come_is_of_when_it_was_typed_in(chair: Chair) -> None:
    await chair.measures(150, at=chair.clock.clinical_now() + timedelta(minutes=20), device="manual")
    assert (await shown(chair))[0] == 150
    chair.clock.advance(5)
    await chair.measures(125)
    assert (await shown(chair))[0] == 125
