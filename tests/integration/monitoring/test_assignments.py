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


@pytest.fixture
async def heard(chair: Chair) -> Chair:
    """A monitor stands there and was heard."""
    await assigned(chair, monitor="m1", pump="p1")
    await chair.measures(120)
    return chair


async def test_a_monitor_that_was_taken_away_is_waited_for_no_more(heard: Chair) -> None:
    await assigned(heard, monitor=None)
    await heard.ticks(30)
    assert await heard.alarms() == []
    assert ((await heard.session())["monitor"], await holders(heard, "m1")) == (None, [])


async def test_the_silence_of_a_monitor_ends_when_it_is_taken_away(heard: Chair) -> None:
    await heard.ticks(11)
    assert [row["rule"] for row in await heard.alarms(open=True)] == ["signal:m1"]
    await assigned(heard, monitor=None)
    await heard.ticks(1)
    assert (await heard.alarms(open=True), (await heard.told())[-1]) == ([], "SignalRestored")


async def test_that_it_was_taken_away_is_recorded_and_told(heard: Chair) -> None:
    await assigned(heard, monitor=None)
    entries = await heard.mongo.plumbing("entries").find({"session_id": heard.session_id, "kind": "device_taken_away"})
    assert [row["facts"] for row in entries] == [{"device": "m1", "device_kind": "monitor"}]
    told = await heard.mongo.plumbing("outbox").find({"lane": "bulk"})
    assert sum(b"SessionReassigned" in dict(row["headers"])["ce_type"] for row in told) == 2


@pytest.mark.parametrize("given", [{"room": "T"}, {"pump": None}, {"room": None, "chair": None}])
async def test_what_is_not_named_stays(heard: Chair, given: dict[str, str | None]) -> None:
    await assigned(heard, **given)
    row = await heard.session()
    assert (row["monitor"], row["chair"], await holders(heard, "m1")) == ("m1", "2", [heard.session_id])


async def test_what_is_taken_away_where_nothing_stands_leaves_no_trail(chair: Chair) -> None:
    await assigned(chair, monitor=None)
    assert await chair.mongo.plumbing("entries").find({"kind": "device_taken_away"}) == []
