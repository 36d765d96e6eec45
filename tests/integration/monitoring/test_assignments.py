"""Which monitor stands at a chair: given, taken away, and none after the end."""

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import sessions
from shared.errors import Conflict
from shared.persistence.mongo import Document
from tests.integration.monitoring.world import Chair


async def assigned(at: Chair, **given: str | None) -> Document:
    body = schemas.Assignment(**given)
    row: Document = await at._run(lambda unit: sessions.reassign(unit, at.session_id, body))
    return row


async def holders(chair: Chair, device: str) -> list[str]:
    rows = await chair.mongo.plumbing("assignments").find({"device": device, "open": True})
    return [row["session_id"] for row in rows]


async def test_a_session_that_ended_gets_no_monitor_and_says_why(chair: Chair) -> None:
    await chair.leaves()
    before = await chair.session()
    with pytest.raises(Conflict) as refused:
        await assigned(chair, monitor="m7", chair="9")
    assert [reason["code"] for reason in refused.value.reasons] == ["state"]
    assert (await chair.session(), await holders(chair, "m7")) == (before, [])
