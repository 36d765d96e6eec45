"""Timers: the most urgent first, each once, and one that fails holds up no other."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from shared.messaging.trouble import TroubleWatch
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.timers import FAILING_ATTEMPTS, TimerContext, TimerRunner, cancel_timer, set_timer
from tests.integration.messaging.world import SCOPE
from tests.support.eventually import eventually

AGO, AHEAD = timedelta(hours=-1), timedelta(hours=9)


class Fired:
    """A handler that keeps what fired, in order; payloads named `broken` fail."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.late: list[bool] = []

    async def __call__(self, context: TimerContext) -> None:
        if context.payload["name"] == "broken":
            raise KeyError
        await context.unit.collection("effects").insert({"_id": context.payload["name"]})
        self.names.append(context.payload["name"])
        self.late.append(context.late)

    def runner(self, mongo: Mongo) -> TimerRunner:
        return TimerRunner(mongo, {"test": self}, None, "test")


async def arm(mongo: Mongo, name: str, after: timedelta = AGO, key: str | None = None, **how: Any) -> None:
    async def work(unit: UnitOfWork) -> None:
        await set_timer(unit, "test", key or name, unit.clock.clinical_now() + after, {"name": name}, **how)

    await mongo.run(SCOPE, work)


async def effects(mongo: Mongo) -> list[str]:
    return [row["_id"] for row in await mongo.plumbing("effects").find({})]


async def test_of_two_runners_one_fires_a_timer_within_a_second_of_its_time(mongo: Mongo) -> None:
    await mongo.build_indexes({"effects": []})
    fired, stop = Fired(), asyncio.Event()
    tasks = [asyncio.create_task(fired.runner(mongo).run(stop)) for _ in range(2)]
    await arm(mongo, "a", timedelta(seconds=0.5))

    async def happened() -> bool:
        return await effects(mongo) == ["a"]

    await eventually(happened, 1.5)
    stop.set()
    await asyncio.gather(*tasks)
    assert await effects(mongo) == ["a"]
    assert await mongo.plumbing("timers").count({}) == 0


async def test_after_an_outage_the_urgent_come_first_and_then_the_oldest(mongo: Mongo) -> None:
    fired = Fired()
    await arm(mongo, "reminder", timedelta(hours=-3))
    await arm(mongo, "older reminder", timedelta(hours=-4))
    await arm(mongo, "escalation", timedelta(hours=-1), priority=0)
    await arm(mongo, "not yet", AHEAD)
    assert await fired.runner(mongo).fire_due() == 3
    assert fired.names == ["escalation", "older reminder", "reminder"]


async def test_an_escalation_that_falls_due_does_not_wait_for_a_backlog(mongo: Mongo) -> None:
    fired = Fired()
    for number in range(25):
        await arm(mongo, f"reminder {number}", timedelta(hours=-2, seconds=number))
    armed = False

    async def one_falls_due(context: TimerContext) -> None:
        nonlocal armed
        await fired(context)
        if not armed:
            armed = True
            await arm(mongo, "escalation", priority=0)

    await TimerRunner(mongo, {"test": one_falls_due}, None, "test").fire_due()
    assert fired.names.index("escalation") == 10
    assert Counter(fired.names).most_common(1)[0][1] == 1


async def test_who_read_a_timer_before_another_fired_or_cancelled_it_fires_nothing(mongo: Mongo) -> None:
    fired = Fired()
    for name in ("fired", "cancelled"):
        await arm(mongo, name)
    first, second = await mongo.plumbing("timers").find({}, sort=[("key", -1)])
    assert await fired.runner(mongo)._fire(first)
    await mongo.run(SCOPE, lambda unit: cancel_timer(unit, "cancelled"))
    for row in (first, second):
        assert not await fired.runner(mongo)._fire(row)
    assert fired.names == await effects(mongo) == ["fired"]


async def test_a_timer_that_fails_holds_up_no_other_and_is_told_to_the_operators(mongo: Mongo) -> None:
    fired = Fired()
    await arm(mongo, "broken", timedelta(hours=-2), priority=0)
    await arm(mongo, "next", priority=0)
    async with asyncio.timeout(10):
        assert await fired.runner(mongo).fire_due() == 1
    assert fired.names == ["next"]
    (row,) = await mongo.plumbing("timers").find({})
    assert row["attempts"] == 1

    async def failed_often(unit: UnitOfWork) -> None:
        await unit.plumbing("timers").update({"_id": row["_id"]}, {"$set": {"attempts": FAILING_ATTEMPTS}})

    await mongo.run(SCOPE, failed_often)
    await TroubleWatch(mongo, "intake", []).look()
    assert [row["_id"] for row in await mongo.plumbing("trouble").find({"open": True})] == ["timers_failing"]


async def test_a_timer_replaced_under_the_same_time_fires_with_its_new_payload(mongo: Mongo) -> None:
    fired = Fired()
    await arm(mongo, "old", key="reminder")
    (row,) = await mongo.plumbing("timers").find({})

    async def replace(unit: UnitOfWork) -> None:
        await set_timer(unit, "test", "reminder", row["due_at"], {"name": "new"})

    await mongo.run(SCOPE, replace)
    assert await fired.runner(mongo)._fire(row)
    assert fired.names == ["new"]


async def test_what_is_too_late_is_skipped_or_fired_as_late(mongo: Mongo) -> None:
    fired = Fired()
    latest = mongo.clock.clinical_now() - timedelta(minutes=1)
    await arm(mongo, "reminder", latest_at=latest)
    await arm(mongo, "check", latest_at=latest, when_late="fire")
    await arm(mongo, "in time", latest_at=latest + timedelta(hours=1))
    await fired.runner(mongo).fire_due()
    assert dict(zip(fired.names, fired.late, strict=True)) == {"check": True, "in time": False}
    assert await mongo.plumbing("timers").count({}) == 0
