"""Whose a monitor is: prepared before check-in, replaced by another, given back."""

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
