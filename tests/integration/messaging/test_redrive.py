"""What could not be handled or sent: listed, rehearsed, sent again, dropped; and told to the operators once."""

import asyncio

from deploy.local.stack import Stack
from shared.events import intake
from shared.events.registry import REGISTRY
from shared.messaging import redrive
from shared.messaging.deadletters import keep
from shared.messaging.handling import Pipeline
from shared.messaging.outcomes import Done, Reject, Skip
from shared.messaging.record import Record
from shared.messaging.redrive import Redrive
from shared.messaging.trouble import TroubleWatch
from shared.persistence.mongo import Mongo, UnitOfWork
from tests.integration.messaging.world import SCOPE, Effects, effects, emit_one, inquiry, records_of, relay
from tests.support.eventually import eventually


async def rejected(mongo: Mongo, handler: Effects) -> tuple[Redrive, Pipeline, Record]:
    await emit_one(mongo, inquiry("bad"), "inquiry/bad")
    record = (await records_of(mongo))[0]
    pipeline = handler.pipeline(mongo)
    assert await pipeline.handle(record) == Reject("never")
    return Redrive(mongo, {pipeline.group: pipeline}, "operator:test"), pipeline, record


async def test_a_rehearsal_says_what_would_happen_and_keeps_nothing(mongo: Mongo) -> None:
    handler = Effects({"bad": Reject("never")})
    run, _, _ = await rejected(mongo, handler)
    handler.answers.clear()
    letter = (await run.find({}))[0]
    assert await run.redrive(letter, rehearse=True) == Done()
    assert await effects(mongo) == []
    assert len(await run.find({})) == 1


async def test_what_the_code_can_handle_by_now_takes_effect_once(mongo: Mongo) -> None:
    handler = Effects({"bad": Reject("never")})
    run, pipeline, record = await rejected(mongo, handler)
    letter = (await run.find({"code": "never"}))[0]
    assert await run.redrive(letter) == Reject("never")
    handler.answers.clear()
    assert await run.redrive(letter) == Done()
    assert await pipeline.handle(record) == Skip("duplicate")
    assert await effects(mongo) == ["bad"]
    closed = await mongo.plumbing("dead_letters").get(letter["_id"])
    assert (closed["state"], closed["closed_by"]) == ("redriven", "operator:test")


async def test_a_dropped_letter_stays_closed_when_the_record_comes_again(mongo: Mongo) -> None:
    run, pipeline, record = await rejected(mongo, Effects({"bad": Reject("never")}))
    assert await run.drop((await run.find({}))[0], "test_data")
    await pipeline.handle(record)
    assert await run.find({}) == []
    assert not await run.drop({"_id": f"{pipeline.group}|{record.topic}|0|0"}, "again")


async def test_a_type_that_was_unknown_is_redriven_by_code_that_knows_it(mongo: Mongo, stop: asyncio.Event) -> None:
    await emit_one(mongo, inquiry("early"), "inquiry/early")
    record = (await records_of(mongo))[0]
    pipeline = Effects().pipeline(mongo)
    await keep(mongo, pipeline.group, record, "type_unknown")
    assert intake.InquiryReceived.event_type() in REGISTRY
    running = asyncio.create_task(Redrive(mongo, {pipeline.group: pipeline}, "system:test").known_types(stop))

    async def handled() -> bool:
        return await effects(mongo) == ["early"]

    await eventually(handled)
    stop.set()
    await running


async def test_a_dead_row_is_sent_again_or_dropped_and_frees_its_aggregate(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    for version in (1, 2):
        await emit_one(mongo, inquiry("held"), "inquiry/held", version=version)

    async def spoil(unit: UnitOfWork) -> None:
        rows = await unit.plumbing("outbox").find({})
        await unit.plumbing("outbox").update({"_id": rows[0]["_id"]}, {"$set": {"value": b"x" * 950_000}})

    await mongo.run(SCOPE, spoil)
    running = asyncio.create_task(relay(mongo, stores).run(stop))

    async def states() -> list[str]:
        return [row["state"] for row in await mongo.plumbing("outbox").find({})]

    async def dead() -> bool:
        return await states() == ["dead", "pending"]

    await eventually(dead, 20)
    row = (await redrive.dead_rows(mongo))[0]
    assert await redrive.decide_row(mongo, row["_id"], "operator:test", drop_reason="too_large")
    assert not await redrive.decide_row(mongo, row["_id"], "operator:test", drop_reason="again")

    async def freed() -> bool:
        return await states() == ["dropped", "sent"]

    await eventually(freed, 10)
    stop.set()
    await running


async def test_trouble_is_told_once_and_cleared_once(mongo: Mongo) -> None:
    await rejected(mongo, Effects({"bad": Reject("never")}))
    watch = TroubleWatch(mongo, "intake", [])

    async def told() -> list[str]:
        rows = await mongo.plumbing("outbox").find({"aggregate": "trouble/dead_letters"})
        return [dict(row["headers"])["ce_type"].decode().split(".")[-2] for row in rows]

    await watch.look()
    await watch.look()
    assert await told() == ["ServiceTroubleRaised"]

    async def decide(unit: UnitOfWork) -> None:
        await unit.plumbing("dead_letters").update_many({}, {"$set": {"state": "dropped"}})
        long_ago = unit.clock.system_now().replace(year=2020)
        await unit.plumbing("trouble").update_many({}, {"$set": {"seen_at": long_ago}})

    await mongo.run(SCOPE, decide)
    await watch.look()
    await watch.look()
    assert await told() == ["ServiceTroubleRaised", "ServiceTroubleCleared"]
