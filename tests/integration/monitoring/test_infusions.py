"""What runs into a vein until somebody says that it ended: its end told too early, told late, or by nobody."""

from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import discharging, dosing
from shared.errors import Conflict
from shared.events.monitoring import DoseStopped
from tests.integration.monitoring.test_discharge_findings import FIT
from tests.integration.monitoring.world import Chair


async def changes(chair: Chair, verb: dosing.Verb, **said: Any) -> None:
    body = schemas.Infusion(**said)
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, verb, body))


async def waits(chair: Chair) -> bool:
    """Whether the time before discharge is not over yet; of a patient of whom nothing else is written down."""
    with pytest.raises(Conflict) as refused:
        await chair._run(lambda unit: discharging.discharge(unit, chair.deps, chair.session_id, FIT))
    return "minimum_time" in {reason["code"] for reason in refused.value.reasons}


async def test_a_later_stop_counts(chair: Chair) -> None:
    """Stopped by mistake, the pump ran on; the second stop is the end."""
    for minutes in (5, 35):
        chair.clock.advance(minutes * 60)
        await changes(chair, "stop")
    chair.clock.advance(59 * 60)
    assert await waits(chair)
    chair.clock.advance(60)
    assert not await waits(chair)
    assert len(await chair.events(DoseStopped)) == 2
