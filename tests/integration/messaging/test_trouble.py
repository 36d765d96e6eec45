"""What needs an operator is told as a trouble, once, by its code."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from deploy.local.stack import Stack
from shared.clock import ManualClock
from shared.events.envelope import read_record
from shared.events.intake import ServiceTroubleRaised
from shared.messaging.trouble import OLD_SECONDS, TroubleWatch
from shared.persistence.mongo import Mongo, UnitOfWork
from tests.integration.messaging.world import SCOPE, emit_one, inquiry, relay


class Member:
    """A consumer as the watch sees it."""

    def __init__(self, *, blown: bool = False, waiting: float = 0.0) -> None:
        self.blown, self._waiting = blown, waiting

    def waiting_seconds(self) -> float:
        return self._waiting


async def raised(mongo: Mongo) -> list[str]:
    rows = await mongo.plumbing("outbox").find({})
    found = [read_record([(name, bytes(item)) for name, item in row["headers"]], row["value"]) for row in rows]
    return [
        ServiceTroubleRaised.read(value or b"").code
        for envelope, value in found
        if envelope.type == ServiceTroubleRaised.event_type()
    ]


async def change(mongo: Mongo, event_id: str, **fields: object) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"_id": event_id}, {"$set": fields})

    await mongo.run(SCOPE, work)


@pytest.mark.parametrize(
    ("code", "state", "age_s"),
    [("outbox_dead", "dead", 0), ("outbox_old", "pending", OLD_SECONDS + 1), (None, "pending", OLD_SECONDS - 5)],
)
async def test_a_row_that_does_not_leave_is_a_trouble(mongo: Mongo, code: str | None, state: str, age_s: int) -> None:
    event_id = await emit_one(mongo, inquiry(), "inquiry/1")
    created = mongo.clock.system_now() - timedelta(seconds=age_s)
    await change(mongo, event_id, state=state, created_at=created)
    watch = TroubleWatch(mongo, "intake", [])
    for _ in range(2):
        await watch.look()
    assert await raised(mongo) == ([code] if code else [])


@pytest.mark.parametrize(
    ("code", "member"),
    [
        ("consumer_stopped", Member(blown=True)),
        ("partition_waiting", Member(waiting=OLD_SECONDS + 1)),
        (None, Member(waiting=OLD_SECONDS - 1)),
    ],
)
async def test_a_consumer_that_does_not_go_on_is_a_trouble(mongo: Mongo, code: str | None, member: Member) -> None:
    watch = TroubleWatch(mongo, "intake", [Member(), member])
    for _ in range(2):
        await watch.look()
    assert await raised(mongo) == ([code] if code else [])


async def test_the_age_of_the_oldest_row_grows_while_the_relay_stands_and_is_nothing_when_all_have_left(
    mongo: Mongo, stores: Stack
) -> None:
    mongo.clock = clock = ManualClock(mongo.clock.system_now())
    watch = TroubleWatch(mongo, "intake", [])

    async def age() -> float | None:
        await watch.look()
        return REGISTRY.get_sample_value("stillwater_outbox_oldest_age_seconds")

    ages = [await age()]
    await emit_one(mongo, inquiry(), "inquiry/1")
    for _ in range(2):
        clock.advance(10)
        await emit_one(mongo, inquiry(), "inquiry/later")
        ages.append(await age())
    assert ages == [0, 10, 20]
    relaying = relay(mongo, stores)
    assert await relaying.send_pending() == 3
    await relaying._discard_producer()
    assert await age() == 0
