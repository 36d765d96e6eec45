"""Kafka -> inbox -> effect: once, in order, and nothing that is bad stops what is good."""

import asyncio
import logging
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from deploy.local.stack import Stack
from shared.errors import Unavailable
from shared.events.envelope import RawHeader
from shared.events.intake import InquiryReceived
from shared.messaging import consumer as consumers
from shared.messaging.consumer import FUSE_REJECTS, Consumer
from shared.messaging.handling import HANDLER_FAILED, EventContext, Pipeline
from shared.messaging.kafka import KafkaAddress, new_consumer
from shared.messaging.outcomes import Done, Outcome, Reject, Retry, Skip
from shared.messaging.record import Record
from shared.messaging.topics import BULK
from shared.persistence.mongo import Mongo
from shared.telemetry.logs import JsonFormatter
from tests.integration.messaging.world import Effects, effects, emit_one, inquiry, new_topic, records_of
from tests.support.eventually import eventually

MARKER = "secret-marker"


async def one_record(mongo: Mongo) -> Record:
    await emit_one(mongo, inquiry(), "inquiry/1")
    return (await records_of(mongo))[0]


async def some_records(mongo: Mongo, *names: str) -> list[Record]:
    for name in names:
        await emit_one(mongo, inquiry(name), f"inquiry/{name}")
    return await records_of(mongo)


def of_the_future(record: Record) -> list[RawHeader]:
    """The record's headers, with a type that this code does not know."""
    return [
        (name, item.replace(b".v1", b".v9") if item and name == "ce_type" else item) for name, item in record.headers
    ]


async def test_a_repeated_record_takes_effect_once(mongo: Mongo) -> None:
    record, handler = await one_record(mongo), Effects()
    pipeline = handler.pipeline(mongo)
    assert await pipeline.handle(record) == Done()
    assert await pipeline.handle(record) == Skip("duplicate")
    assert len(await effects(mongo)) == 1
    assert handler.calls == 1


async def test_two_groups_of_one_service_each_handle_a_record(mongo: Mongo) -> None:
    record = await one_record(mongo)
    for _ in range(2):
        assert await Effects().pipeline(mongo).handle(record) == Done()


async def test_twins_at_the_same_moment_take_effect_once(mongo: Mongo) -> None:
    record = await one_record(mongo)
    pipeline = Effects().pipeline(mongo)
    outcomes = await asyncio.gather(*(pipeline.handle(record) for _ in range(8)))
    assert outcomes.count(Done()) == 1


class Commits(CommandListener):
    """Counts what was committed."""

    def __init__(self) -> None:
        self.seen = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.seen += event.command_name == "commitTransaction"

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


async def test_records_that_wait_together_share_one_transaction(stores: Stack, mongo: Mongo) -> None:
    records, commits = await some_records(mongo, "a", "b", "c"), Commits()
    mongo = Mongo(stores.mongodb_uri, mongo.database.name, mongo.clock, listeners=[commits])
    pipeline = Effects().pipeline(mongo)
    assert await pipeline.handle(records[1]) == Done()
    assert await pipeline.handle_batch(records) == [Done(), Skip("duplicate"), Done()]
    assert await effects(mongo) == ["a", "b", "c"]
    assert len(await mongo.plumbing("inbox").find({})) == 3
    assert commits.seen == 2


async def test_one_bad_record_of_a_batch_does_not_take_its_neighbours_along(mongo: Mongo) -> None:
    records = await some_records(mongo, "a", "bad", "c")
    pipeline = Effects({"bad": Reject("never")}).pipeline(mongo)
    assert await pipeline.handle_batch(records) == [Done(), Reject("never"), Done()]
    assert await effects(mongo) == ["a", "c"]
    assert [row["code"] for row in await mongo.plumbing("dead_letters").find({})] == ["never"]


async def test_a_batch_stops_at_what_must_be_tried_again(mongo: Mongo) -> None:
    records = await some_records(mongo, "a", "later", "c")
    handler = Effects({"later": Retry("not_yet")})
    assert await handler.pipeline(mongo).handle_batch(records) == [Done(), Retry("not_yet")]
    assert await effects(mongo) == ["a"]


async def test_a_rejected_event_leaves_its_bytes_and_nothing_else(mongo: Mongo) -> None:
    record = (await some_records(mongo, "bad"))[0]
    pipeline = Effects({"bad": Reject("never")}).pipeline(mongo)
    for _ in range(2):
        assert await pipeline.handle(record) == Reject("never")
    letters = await mongo.plumbing("dead_letters").find({})
    assert [(row["code"], bytes(row["value"])) for row in letters] == [("never", record.value)]
    assert await effects(mongo) == []
    assert await mongo.plumbing("inbox").count({}) == 0


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ([], b"{}", "attribute_missing"),
        ([("ce_id", b"\xff")], b"{}", "headers_not_utf8"),
        ([("ce_id", None)], b"{}", "headers_invalid"),
        ([("content-type", b"application/cloudevents+json")], b"\x00\x01", "envelope_invalid"),
        ([("content-type", b"application/cloudevents+json")], b"[" * 200_000, "envelope_invalid"),
    ],
)
async def test_an_unreadable_record_is_a_dead_letter(
    mongo: Mongo, headers: list[RawHeader], value: bytes, code: str
) -> None:
    record = Record(BULK["intake"].name, 0, 0, b"k", value, headers)
    assert await Effects().pipeline(mongo).handle(record) == Reject(code)
    assert await mongo.plumbing("dead_letters").count({"code": code}) == 1


async def test_a_record_without_a_clinic_or_of_another_schema_is_kept(mongo: Mongo) -> None:
    good = await one_record(mongo)
    pipeline = Effects().pipeline(mongo)
    future = of_the_future(good)
    homeless = [(name, item) for name, item in good.headers if name != "ce_clinicid"]
    assert await pipeline.handle(Record(good.topic, 0, 1, b"k", good.value, future)) == Reject("type_unknown")
    assert await pipeline.handle(Record(good.topic, 0, 2, b"k", good.value, homeless)) == Reject("attribute_missing")
    assert await pipeline.handle(Record(good.topic, 0, 3, b"k", b"[1]", good.headers)) == Reject("payload_invalid")
    kept = await mongo.plumbing("dead_letters").find({})
    assert [bytes(row["value"]) for row in kept] == [good.value, good.value, b"[1]"]


def consumer_of(
    stores: Stack, pipeline: Pipeline, topic: str, *, fuse: bool = True, session_ms: int = 6000
) -> Consumer:
    address = KafkaAddress(stores.kafka)
    return Consumer(
        pipeline,
        [topic],
        lambda: new_consumer(address, pipeline.group, "test", session_timeout_ms=session_ms),
        fuse=fuse,
    )


async def committed(stores: Stack, pipeline: Pipeline, topic: str) -> int | None:
    """What its group has committed of partition 0."""
    reader = new_consumer(KafkaAddress(stores.kafka), pipeline.group, "look", session_timeout_ms=6000)
    await reader.start()
    try:
        offset: int | None = await reader.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await reader.stop()


async def publish(stores: Stack, topic: str, partition: int, record: Record | None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stores.kafka) as producer:
        if record is None:
            await producer.send_and_wait(topic, b"\x00poison", partition=partition)
        else:
            sent = {"key": record.key, "partition": partition, "headers": list(record.headers)}
            await producer.send_and_wait(topic, record.value, **sent)


async def test_the_partition_goes_on_after_poison(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    good = (await some_records(mongo, "good"))[0]
    topic = await new_topic(stores, 1)
    await publish(stores, topic, 0, None)
    await publish(stores, topic, 0, good)
    pipeline = Effects().pipeline(mongo)
    running = asyncio.create_task(consumer_of(stores, pipeline, topic, fuse=False).run(stop))

    async def handled() -> bool:
        return await effects(mongo) == ["good"] and await mongo.plumbing("dead_letters").count({}) >= 1

    await eventually(handled, 20)
    stop.set()
    await running


@pytest.mark.parametrize("fuse", [False, True], ids=["alarm", "bulk"])
async def test_what_breaks_the_handler_again_and_again_is_kept_and_the_next_is_handled(
    mongo: Mongo,
    stores: Stack,
    stop: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    fuse: bool,
) -> None:
    """What the error says, which may be of a patient, stands in no letter and in no line."""
    caplog.set_level(logging.DEBUG, "shared")
    monkeypatch.setattr(consumers, "BACKOFF_MAX_SECONDS", 0.1)
    topic = await new_topic(stores, 1)
    for record in await some_records(mongo, "broken", "next"):
        await publish(stores, topic, 0, record)
    handler = Effects()

    async def breaks(context: EventContext, event: InquiryReceived) -> Outcome:
        if event.inquiry_id == "broken":
            raise KeyError(MARKER)
        return await handler(context, event)

    pipeline = Pipeline(mongo, "test", f"group-{uuid4().hex}", {InquiryReceived: breaks}, None)
    running = asyncio.create_task(consumer_of(stores, pipeline, topic, fuse=fuse).run(stop))

    async def handled() -> bool:
        return await effects(mongo) == ["next"]

    await eventually(handled, 20)
    stop.set()
    await running
    letters = await mongo.plumbing("dead_letters").find({})
    assert [row["code"] for row in letters] == [HANDLER_FAILED]
    lines = [JsonFormatter("test").format(line) for line in caplog.records]
    assert any("KeyError" in line for line in lines)
    assert MARKER not in repr((letters, lines, caplog.text))


async def test_a_store_that_is_away_is_waited_for_without_end(mongo: Mongo) -> None:
    record = await one_record(mongo)

    async def away(_: EventContext, __: InquiryReceived) -> Outcome:
        raise Unavailable

    outcome = await Pipeline(mongo, "test", "group", {InquiryReceived: away}, None).handle(record)
    assert isinstance(outcome, Retry)
    assert not outcome.fault


async def test_a_partition_in_trouble_waits_alone(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    stuck, free = await some_records(mongo, "stuck", "free")
    handler = Effects({"stuck": Retry("provider_away")})
    topic = await new_topic(stores, 2)
    await publish(stores, topic, 0, stuck)
    pipeline = handler.pipeline(mongo)
    consumer = consumer_of(stores, pipeline, topic, fuse=False)
    running = asyncio.create_task(consumer.run(stop))

    async def tried() -> bool:
        return consumer.waiting_seconds() > 0

    await eventually(tried, 20)
    await publish(stores, topic, 1, free)

    async def passed() -> bool:
        return "free" in await effects(mongo)

    await eventually(passed, 5)
    assert "stuck" not in await effects(mongo)
    handler.answers.clear()

    async def both() -> bool:
        return set(await effects(mongo)) >= {"free", "stuck"}

    await eventually(both, 20)

    async def waits_no_more() -> bool:
        return consumer.waiting_seconds() == 0

    await eventually(waits_no_more, 5)
    stop.set()
    await running


class NeverDone(set[int]):
    """Nodes at which a fetch is under way, for ever."""

    def discard(self, _: object) -> None: ...


async def test_a_connection_that_has_lost_its_fetches_without_a_word_is_replaced(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    topic = await new_topic(stores, 1)
    first, second = await some_records(mongo, "first", "second")
    await publish(stores, topic, 0, first)
    consumer = consumer_of(stores, Effects().pipeline(mongo), topic)
    running = asyncio.create_task(consumer.run(stop))

    async def seen(*names: str) -> bool:
        return await effects(mongo) == list(names)

    await eventually(lambda: seen("first"), 20)
    assert consumer.connection is not None
    fetcher = consumer.connection._fetcher
    fetcher._in_flight = NeverDone()

    async def silent() -> bool:
        return not fetcher._pending_tasks

    await eventually(silent, 20)
    await publish(stores, topic, 0, second)
    await eventually(lambda: seen("first", "second"), 30)
    stop.set()
    await running


async def test_a_run_of_rejects_blows_the_fuse(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    """In one partition, while another of the same consumer is well and unknown types come in between."""
    topic = await new_topic(stores, 2)
    good = await one_record(mongo)
    unknown = of_the_future(good)
    async with AIOKafkaProducer(bootstrap_servers=stores.kafka) as producer:
        for _ in range(FUSE_REJECTS + 30):
            await producer.send(topic, b"\x00poison", partition=0)
            await producer.send(topic, good.value, partition=0, headers=unknown)
            await producer.send(topic, good.value, partition=1, headers=list(good.headers))
    consumer = consumer_of(stores, Effects().pipeline(mongo), topic)
    running = asyncio.create_task(consumer.run(stop))

    async def blown() -> bool:
        return consumer.blown

    await eventually(blown, 20)
    stop.set()
    await running
    rejects = await mongo.plumbing("dead_letters").count({"code": "attribute_missing"})
    assert FUSE_REJECTS <= rejects < FUSE_REJECTS + 30


async def test_offsets_are_committed_behind_the_transaction(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    topic = await new_topic(stores, 1)
    for record in await some_records(mongo, "a", "b", "c"):
        await publish(stores, topic, 0, record)
    pipeline = Effects().pipeline(mongo)
    running = asyncio.create_task(consumer_of(stores, pipeline, topic).run(stop))

    async def all_there() -> bool:
        return await effects(mongo) == ["a", "b", "c"]

    await eventually(all_there, 20)
    stop.set()
    await running
    assert await committed(stores, pipeline, topic) == 3
