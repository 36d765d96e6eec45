"""What somebody may write to a topic by mistake: each is kept with its bytes, and the partition goes on behind it."""

import asyncio
from collections.abc import Callable

import pytest

from deploy.local.stack import Stack
from shared.messaging.record import Record
from shared.messaging.topics import MAX_BATCH_BYTES
from shared.persistence.mongo import Mongo
from tests.integration.messaging.test_consumer import consumer_of, of_the_future, publish, some_records
from tests.integration.messaging.world import Effects, effects, new_topic
from tests.support.eventually import eventually

LARGEST = 4 * MAX_BATCH_BYTES - 2048  # what the topic takes with its headers, above what our producers may send


def changed(record: Record, **fields: object) -> Record:
    named = {"key": record.key, "value": record.value, "headers": record.headers} | fields
    return Record(record.topic, record.partition, record.offset, **named)  # type: ignore[arg-type]


def without(record: Record, name: str) -> Record:
    return changed(record, headers=[(header, item) for header, item in record.headers if header != name])


def with_header(record: Record, name: str, item: bytes) -> Record:
    return changed(record, headers=[*without(record, name).headers, (name, item)])


SPOILED: list[tuple[str, Callable[[Record], Record], str]] = [
    ("bytes that are no JSON", lambda good: changed(good, value=b"\x00\xff"), "payload_invalid"),
    ("an unknown type", lambda good: changed(good, headers=of_the_future(good)), "type_unknown"),
    ("no clinic", lambda good: without(good, "ce_clinicid"), "attribute_missing"),
    ("an envelope of the future", lambda good: with_header(good, "ce_specversion", b"2.0"), "specversion_unknown"),
    ("no headers at all", lambda good: changed(good, headers=[]), "attribute_missing"),
    ("another schema", lambda good: changed(good, value=b'{"inquiry": {"id": 1}}'), "payload_invalid"),
    ("an oversize record", lambda good: changed(good, value=b"x" * LARGEST), "payload_invalid"),
    ("a tombstone where none belongs", lambda good: changed(good, value=None), "data_missing"),
]


@pytest.mark.parametrize(("spoil", "code"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED])
@pytest.mark.parametrize("lane", ["bulk", "alarm"])
async def test_a_bad_record_is_kept_and_the_one_behind_it_is_handled(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, spoil: Callable[[Record], Record], code: str, lane: str
) -> None:
    good = (await some_records(mongo, "good"))[0]
    bad, topic = spoil(good), await new_topic(stores, 1)
    for record in (bad, good):
        await publish(stores, topic, 0, record)
    consumer = consumer_of(stores, Effects().pipeline(mongo), topic, fuse=lane == "bulk")
    running = asyncio.create_task(consumer.run(stop))

    async def handled() -> bool:
        return await effects(mongo) == ["good"]

    await eventually(handled, 20)
    stop.set()
    await running
    (letter,) = await mongo.plumbing("dead_letters").find({})
    kept = None if letter["value"] is None else bytes(letter["value"])
    assert (letter["code"], letter["offset"], letter["key"], kept) == (code, 0, bad.key, bad.value)
    assert [(name, bytes(item)) for name, item in letter["headers"]] == list(bad.headers)


async def test_bad_records_at_one_offset_are_kept_each_with_its_bytes(mongo: Mongo) -> None:
    """Of another partition, of another topic, and for another group of the same service."""
    pipeline = Effects().pipeline(mongo)
    beside = Effects().pipeline(mongo)
    places = [(pipeline, "one", 0), (pipeline, "one", 1), (pipeline, "two", 0), (beside, "one", 0)]
    wanted = [(of.group, topic, number, f"bytes {place}".encode()) for place, (of, topic, number) in enumerate(places)]
    for (of, topic, number), (_, _, _, value) in zip(places, wanted, strict=True):
        await of.handle(Record(topic, number, 7, b"k", value, []))
    letters = await mongo.plumbing("dead_letters").find({})
    kept = [(row["group"], row["topic"], row["partition"], bytes(row["value"])) for row in letters]
    assert sorted(kept) == sorted(wanted)
