"""What ends with a session, on the real store: alarms, silence watch and engine, in every way out and in no other."""

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import ending
from tests.integration.monitoring.world import Chair


async def watched(chair: Chair) -> tuple[bool, int, int]:
    """Whether the session is watched, its open alarms, its engines."""
    (session,) = await chair.mongo.plumbing("sessions").find({"_id": chair.session_id})
    engines = await chair.mongo.plumbing("engines").find({"_id": chair.session_id})
    return session["watched"], len(await chair.alarms(open=True)), len(engines)


@pytest.mark.parametrize("disposition", ["against_advice", "left_unseen", "transferred", "died"])
async def test_every_disposition_ends_every_watch(chair: Chair, disposition: str) -> None:
    await chair.lasts(192, 6)
    await chair.ticks(11)
    assert {row["rule"] for row in await chair.alarms(open=True)} >= {"sbp_critical_high", "signal:m1"}
    await chair.leaves(disposition)
    assert await watched(chair) == (False, 0, 0)
    told = await chair.told()
    await chair.ticks(60)
    assert await chair.told() == told
    assert {"AlarmCleared", "SignalRestored"} <= set(told)


async def test_before_a_dose_abort_ends_the_watch_and_so_does_void(chair: Chair) -> None:
    for verb in (ending.abort, ending.void):
        await chair.seat(dose=False)
        await chair.lasts(192, 6)
        assert (await watched(chair))[0] is True
        body = schemas.Abort(reason_code="unwell")
        await chair._run(lambda unit, verb=verb, body=body: verb(unit, chair.session_id, body))
        assert await watched(chair) == (False, 0, 0)


async def test_a_time_of_leaving_that_has_not_come_is_now(chair: Chair) -> None:
    later = "2027-01-01T00:00:00Z"
    await chair.leaves("left_unseen", occurred_at=later)
    (session,) = await chair.mongo.plumbing("sessions").find({"_id": chair.session_id})
    assert session["ended_at"] == chair.clock.clinical_now()
