"""A session ends and something is raised at the same moment: one of the two sees the other, and no alarm stays open."""

from collections.abc import Awaitable, Callable

import pytest

from services.monitoring import schemas_entries as bodies
from services.monitoring.recent import Recent
from services.monitoring.usecases import ending
from services.monitoring.usecases.folding import fold_next
from services.monitoring.usecases.readings import Delivery, take
from services.monitoring.usecases.ticking import tick_session
from shared.persistence.mongo import UnitOfWork
from tests.integration.monitoring.world import NURSE, Chair

Work = Callable[[UnitOfWork], Awaitable[object]]


@pytest.fixture
async def calm(chair: Chair) -> Chair:
    """Its device is known and nothing is stirred: what follows writes nothing in the session."""
    await chair.measures(120)
    await chair.ticks(1)
    assert await chair.mongo.plumbing("engines").find({}) == []
    return chair


async def meets(chair: Chair, work: Work, meanwhile: Callable[[], Awaitable[object]]) -> int:
    """`meanwhile` is committed between what `work` read and its own commit; how often `work` was run."""
    runs = 0

    async def run(unit: UnitOfWork) -> None:
        nonlocal runs
        runs += 1
        await work(unit)
        if runs == 1:
            await meanwhile()

    await chair.mongo.run(NURSE, run)
    return runs


async def stands(chair: Chair) -> tuple[str, list[str]]:
    return (await chair.session())["state"], [row["rule"] for row in await chair.alarms(open=True)]


async def test_a_collapse_beside_the_end_leaves_no_alarm_open(calm: Chair) -> None:
    reading = calm.reading(35)

    async def measured(unit: UnitOfWork) -> None:
        await take(unit, calm.deps, [Delivery(NURSE, calm.session_id, [reading])], Recent(), repeated=False)

    assert await meets(calm, measured, calm.leaves) == 2
    assert await stands(calm) == ("left", [])


async def test_the_end_beside_a_collapse_leaves_no_alarm_open(calm: Chair) -> None:
    left = bodies.Leave.model_validate({"disposition": "left_unseen"})
    runs = await meets(
        calm, lambda unit: ending.leave(unit, calm.deps, calm.session_id, left), lambda: calm.measures(35)
    )
    assert (runs, await stands(calm)) == (2, ("left", []))


async def test_a_silence_beside_the_end_leaves_no_alarm_open(calm: Chair) -> None:
    calm.clock.advance(300)
    runs = await meets(calm, lambda unit: tick_session(unit, calm.deps, calm.session_id), calm.leaves)
    assert (runs, await stands(calm)) == (2, ("left", []))


async def test_what_the_end_leaves_of_the_engine_goes_with_the_readings(calm: Chair) -> None:
    await calm.leaves()
    assert len(await calm.mongo.plumbing("engines").find({"_id": calm.session_id})) == 1
    while await calm.mongo.run(NURSE, lambda unit: fold_next(unit, calm.session_id)):
        pass
    assert await calm.mongo.plumbing("engines").find({}) == []
