"""What is told to be sent again, for the store was gone or too much came: nothing is forgotten, what matters is told at once."""

from datetime import timedelta
from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring.flood import Flood
from shared.errors import Unavailable
from tests.integration.monitoring.test_readings import another, by_device
from tests.integration.monitoring.world import CLINIC, Chair

MANY, TIMES = 1000, 20
TEMPERATURE = "8310-5"


def goes(chair: Chair, patch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    patch.setattr(chair.mongo, "run", away)


def backlog(chair: Chair) -> list[Any]:
    start = chair.clock.clinical_now()
    return [chair.reading(120, at=start - timedelta(seconds=number)) for number in range(MANY)]


async def test_what_is_sent_again_and_again_while_the_store_is_gone_is_no_flood(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = backlog(chair)
    with monkeypatch.context() as patch:
        goes(chair, patch)
        for _ in range(TIMES):
            with pytest.raises(Unavailable):
                await chair.sends(*readings)
    assert {(told.result, told.reason) for told in await chair.sends(*readings)} == {("stored", None)}


async def test_a_flood_is_told_to_come_again_while_the_store_is_gone(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = backlog(chair)
    while "flood" not in {told.reason for told in await chair.sends(*readings)}:
        pass
    goes(chair, monkeypatch)
    with pytest.raises(Unavailable):
        await chair.measures(120, device="m2")
    with pytest.raises(Unavailable):
        await chair.sends(*readings)


async def test_what_hands_wrote_down_for_one_session_takes_nothing_from_another_by_a_gateway_either(
    chair: Chair,
) -> None:
    second = await another(chair)
    chair.ingest._flood = Flood(chair.clock.monotonic, per_second=1, at_once=50)

    def typed(one: Chair, count: int) -> list[schemas.DeviceReading]:
        readings = [one.reading(120, at=one.clock.clinical_now(), device="manual") for _ in range(count)]
        return [
            schemas.DeviceReading(**reading.model_dump(exclude_none=True), session_id=one.session_id)
            for reading in readings
        ]

    assert "flood" in {told.reason for told in await by_device(chair, *typed(chair, 60))}
    (told,) = await by_device(second, *typed(second, 1))
    assert told.result == "stored"


async def unrecorded(chair: Chair, value: float) -> list[str]:
    with pytest.raises(Unavailable):
        await chair.measures(value, TEMPERATURE)
    chair.clock.advance(1)
    return [alarm.rule for alarm in chair.memory.unrecorded(CLINIC)]


async def test_a_value_to_confirm_is_told_while_the_store_is_gone_until_a_sure_one(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chair.memory.refresh()
    goes(chair, monkeypatch)
    assert await unrecorded(chair, 36.5) == []
    assert await unrecorded(chair, 39.5) == [f"confirm:{TEMPERATURE}"]
    assert chair.memory.changed.is_set()
    assert await unrecorded(chair, 36.5) == []


async def test_one_whose_alarm_was_recorded_before_is_not_told_as_not_recorded(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chair.measures(39.5, TEMPERATURE)
    await chair.memory.refresh()
    goes(chair, monkeypatch)
    assert await unrecorded(chair, 39.6) == []
