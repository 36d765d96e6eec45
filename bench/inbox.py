"""The consumer: effect and inbox mark per event, batched; beside a bare loop with the same transactions."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.read_concern import ReadConcern

from bench.bare import DURABLE, collections
from bench.figures import Figure, median
from bench.world import World
from shared.clock import SystemClock
from shared.events.envelope import Envelope
from shared.events.intake import InquiryReceived
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.handling import BATCH_RECORDS, EventContext, Pipeline
from shared.messaging.kafka import KafkaAddress, new_consumer, new_producer
from shared.messaging.outcomes import Done, Outcome
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo

PARTITIONS = 12


async def _effect(context: EventContext, event: InquiryReceived) -> Outcome:
    await context.unit.collection("effects").insert({"_id": event.inquiry_id, "channel": event.channel})
    return Done()


async def throughput(world: World, events: int) -> list[Figure]:
    mongo = Mongo(world.stack.mongodb_uri, "bench_inbox", SystemClock())
    await mongo.build_indexes({**PLUMBING_INDEXES, "effects": []})
    ours, bare = [], []
    for _ in range(3):
        topic = await world.topic("inbox", PARTITIONS)
        await _fill(world, topic, events)
        ours.append(await _ours(world, mongo, topic, events))
        bare.append(await _bare(world, topic, events))
    mongo.close()
    return [Figure("consumer_throughput_per_s", median(ours), "events/s", median(bare), ">= 0.7")]


async def _fill(world: World, topic: str, events: int) -> None:
    async with new_producer(KafkaAddress(world.stack.kafka), "fill") as producer:
        sent = []
        for number in range(events):
            event = InquiryReceived(inquiry_id=new_id(), channel="phone")
            envelope = Envelope(
                id=new_id(),
                source=f"/stillwater/intake/inquiry/{event.inquiry_id}",
                type=event.event_type(),
                time="2026-01-01T00:00:00.000Z",
                clinic_id="bench",
                partition_key=event.inquiry_id,
            )
            value = event.model_dump_json().encode()
            sent.append(await producer.send(topic, value, partition=number % PARTITIONS, headers=envelope.headers()))
        await asyncio.gather(*sent)


async def _ours(world: World, mongo: Mongo, topic: str, events: int) -> float:
    group, stop = f"bench-{new_id()}", asyncio.Event()
    pipeline = Pipeline(mongo, "bench", group, {InquiryReceived: _effect}, None)
    address = KafkaAddress(world.stack.kafka)
    consumer = Consumer(
        pipeline, [topic], lambda: new_consumer(address, group, "bench", session_timeout_ms=15_000), fuse=True
    )
    before = await mongo.plumbing("effects").count({})
    running = asyncio.create_task(consumer.run(stop))
    while not consumer.joined:
        await asyncio.sleep(0.001)
    began = time.perf_counter()
    while await mongo.plumbing("effects").count({}) - before < events:
        await asyncio.sleep(0.02)
    taken = time.perf_counter() - began
    stop.set()
    await running
    return events / taken


async def _bare(world: World, topic: str, events: int) -> float:
    """Fetch, one transaction per twenty records with the same reads and writes, commit the offset; no decoding."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(world.stack.mongodb_uri)
    await collections(client, "bench_bare_inbox", "inbox", "effects")
    address = KafkaAddress(world.stack.kafka)
    consumer: AIOKafkaConsumer = new_consumer(address, f"bare-{new_id()}", "bare", session_timeout_ms=15_000)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    await consumer.start()
    consumer.assign(places)
    began, done = time.perf_counter(), 0
    while done < events:
        batches = await consumer.getmany(timeout_ms=200)
        await asyncio.gather(*(_partition(client, rows) for rows in batches.values()))
        done += sum(len(rows) for rows in batches.values())
        if batches:
            await consumer.commit()
    taken = time.perf_counter() - began
    await consumer.stop()
    client.close()
    return events / taken


async def _partition(client: AsyncIOMotorClient[dict[str, Any]], rows: Sequence[Any]) -> None:
    database = client["bench_bare_inbox"]
    for start in range(0, len(rows), BATCH_RECORDS):
        batch = rows[start : start + BATCH_RECORDS]
        ids = [f"{row.partition}-{row.offset}-{new_id()}" for row in batch]
        async with await client.start_session(causal_consistency=False) as session:
            session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
            await database.inbox.find({"_id": {"$in": ids}}, session=session).to_list(None)
            for name in ids:
                await database.effects.insert_one({"_id": name, "channel": "phone"}, session=session)
            await database.inbox.insert_many([{"_id": name} for name in ids], session=session)
            await session.commit_transaction()
