"""What a device is told to send again, for the store was gone: it costs nothing of the flood limit, and nothing is forgotten."""

from datetime import timedelta
from typing import Any

import pytest

from shared.errors import Unavailable
from tests.integration.monitoring.world import Chair

MANY, TIMES = 1000, 20


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
