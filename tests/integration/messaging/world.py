"""Events, relays and pipelines for the tests of the chain, on the real store and broker."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.stack import Stack
from shared.events.envelope import Event, Lane
from shared.events.intake import InquiryReceived
from shared.messaging.handling import EventContext, Handlers, Pipeline
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.outbox import emit
from shared.messaging.outcomes import Done, Outcome
from shared.messaging.record import Record
from shared.messaging.relay import Relay
from shared.messaging.topics import BULK
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

SCOPE = system_scope("clinic-1", "test")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def inquiry(inquiry_id: str | None = None) -> InquiryReceived:
    return InquiryReceived(inquiry_id=inquiry_id or uuid4().hex, channel="phone")


async def emit_one(mongo: Mongo, event: Event, aggregate: str, version: int = 1) -> str:
    async def work(unit: UnitOfWork) -> str:
        return emit(unit, event, aggregate=aggregate, version=version)

    return await mongo.run(SCOPE, work)


def relay(mongo: Mongo, stores: Stack, lane: Lane = "bulk", holder: str = "one") -> Relay:
    address = KafkaAddress(stores.kafka)
    return Relay(mongo, lane, Lease(mongo, f"relay.{lane}", holder), lambda: new_producer(address, "test"))


class Hearer:
    """What a change stream brings, in its order: the lanes of the rows."""

    def __init__(self) -> None:
        self.lanes: list[str] = []

    def stream_opened(self) -> None:
        self.lanes.clear()

    def hear(self, rows: Sequence[Document]) -> None:
        self.lanes += [row["lane"] for row in rows]


async def new_topic(stores: Stack, partitions: int, config: Mapping[str, str] | None = None) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=stores.kafka)
    await admin.start()
    name = f"test-{uuid4().hex}"
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config or {}))])
    await admin.close()
    return name


async def records_of(mongo: Mongo) -> list[Record]:
    """What the relay would send, in its order."""
    rows = await mongo.plumbing("outbox").find({})
    return [
        Record(
            BULK["intake"].name, 0, offset, b"k", row["value"], [(name, bytes(item)) for name, item in row["headers"]]
        )
        for offset, row in enumerate(rows)
    ]


class Effects:
    """A handler that leaves a document each time it takes effect, and answers as it is told for some."""

    def __init__(self, answers: dict[str, Outcome] | None = None) -> None:
        self.answers, self.calls = answers or {}, 0

    async def __call__(self, context: EventContext, event: InquiryReceived) -> Outcome:
        self.calls += 1
        await context.unit.collection("effects").insert({"_id": uuid4().hex, "inquiry_id": event.inquiry_id})
        return self.answers.get(event.inquiry_id, Done())

    def pipeline(self, mongo: Mongo) -> Pipeline:
        handlers: Handlers = {InquiryReceived: self}
        return Pipeline(mongo, "test", f"group-{uuid4().hex}", handlers, None)


async def effects(mongo: Mongo) -> list[str]:
    """Whose effects there are, one name for each time."""
    return sorted(row["inquiry_id"] for row in await mongo.plumbing("effects").find({}))


async def effects_in_order(mongo: Mongo) -> list[str]:
    """As `effects`, in the order in which they came about."""
    return [row["inquiry_id"] for row in await mongo.plumbing("effects").find({}, sort=[("$natural", 1)])]
