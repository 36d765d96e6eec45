"""A verb said again finds what it wanted: it is written down, and neither moves the session nor is told a second time."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import answering, dosing, ending
from shared.persistence.mongo import Document, UnitOfWork
from tests.integration.monitoring.world import NURSE, Chair

Act = Callable[[UnitOfWork, str], Awaitable[Document]]
ABORT = schemas.Abort(reason_code="unwell")


def infusion(verb: dosing.Verb) -> Act:
    return partial(_change_infusion, verb=verb)


async def _change_infusion(unit: UnitOfWork, session_id: str, verb: dosing.Verb) -> Document:
    return await dosing.change_infusion(unit, session_id, verb, schemas.Infusion())


async def abort(unit: UnitOfWork, session_id: str) -> Document:
    return await ending.abort(unit, session_id, ABORT)


async def state(chair: Chair) -> tuple[Document, int]:
    """The session, and how much was told of it."""
    return await chair.session(), len(await chair.mongo.plumbing("outbox").find({}))


@pytest.mark.parametrize("act", [infusion("pause"), infusion("stop"), abort], ids=["pause", "stop", "abort"])
async def test_it_moves_the_session_once_and_is_told_once(chair: Chair, act: Act) -> None:
    await chair.doses(amount_mg=1, rate_mg_per_h=40, override_reason="alone")
    before = await state(chair)
    await chair.mongo.run(NURSE, lambda unit: act(unit, chair.session_id))
    moved = await state(chair)
    assert (moved[0]["version"], moved[1] > before[1]) == (before[0]["version"] + 1, True)
    chair.clock.advance(1)
    await chair.mongo.run(NURSE, lambda unit: act(unit, chair.session_id))
    assert await state(chair) == moved


async def test_an_alarm_is_acknowledged_once_whoever_says_it_again(chair: Chair) -> None:
    await chair.measures(35)
    (alarm,) = await chair.alarms(rule="sbp_collapse")
    await chair.acknowledges(alarm["_id"])
    first = await chair.alarms(rule="sbp_collapse"), await chair.told()
    chair.clock.advance(1)
    await chair.acknowledges(alarm["_id"])
    assert (await chair.alarms(rule="sbp_collapse"), await chair.told()) == first
    assert first[1].count("AlarmAcknowledged") == 1


async def test_silence_tells_nobody_and_lasts_from_when_it_was_said_last(chair: Chair) -> None:
    await chair.measures(35)
    (alarm,) = await chair.alarms(rule="sbp_collapse")
    told = await chair.told()
    for _ in range(2):
        chair.clock.advance(10)
        await chair.mongo.run(NURSE, lambda unit: answering.silence(unit, alarm["_id"], 60))
    (after,) = await chair.alarms(rule="sbp_collapse")
    assert (await chair.told(), after["open"], after.get("acknowledged_at")) == (told, True, None)
    assert (after["silenced_until"] - chair.clock.clinical_now()).total_seconds() == 60
