"""What a monitor with a wrong clock tells of now is shown as of now: on the chart, and on the board whenever it is opened."""

from datetime import timedelta

import pytest

from services.monitoring.chart_data import Chart, chart_of
from services.monitoring.store import charted_readings
from services.monitoring.usecases import charting
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_readings import folds
from tests.integration.monitoring.world import NURSE, Chair

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
