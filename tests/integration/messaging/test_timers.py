"""Timers: the most urgent first, each once, and one that fails holds up no other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.stack import Stack
from shared.clock import ManualClock
from shared.messaging.outbox import emit
from shared.messaging.trouble import TroubleWatch
from shared.persistence.audit import audit
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.timers import FAILING_ATTEMPTS, TimerContext, TimerRunner, cancel_timer, set_timer
from shared.telemetry.metrics import TIMERS_FIRED
from tests.integration.messaging.world import AT, SCOPE, Effects, inquiry, records_of
from tests.support.clocks import apart
from tests.support.databases import empty_database
from tests.support.eventually import eventually

AGO, AHEAD = timedelta(hours=-1), timedelta(hours=9)


class Fired:
    """A handler that keeps what fired, in order; payloads named `broken` fail."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def __call__(self, context: TimerContext) -> None:
        if context.payload["name"] == "broken":
            raise KeyError
        await context.unit.collection("effects").insert({"_id": context.payload["name"]})
        self.names.append(context.payload["name"])

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


async def test_what_is_too_late_is_skipped_with_a_reason_and_counted(
    mongo: Mongo, caplog: pytest.LogCaptureFixture
) -> None:
    fired, skipped = Fired(), TIMERS_FIRED.labels("test", "skipped")._value
    latest, before = mongo.clock.clinical_now() - timedelta(minutes=1), skipped.get()
    await arm(mongo, "reminder", latest_at=latest)
    await arm(mongo, "in time", latest_at=latest + timedelta(hours=1))
    await arm(mongo, "however late")
    assert await fired.runner(mongo).fire_due() == 2
    assert sorted(fired.names) == ["however late", "in time"]
    assert await mongo.plumbing("timers").count({}) == 0
    (line,) = [row for row in caplog.records if row.message == "timer.skipped"]
    assert (line.__dict__["kind"], line.__dict__["code"]) == ("test", "too_late")
    assert skipped.get() - before == 1


@pytest.fixture
async def fast(stores: Stack) -> AsyncIterator[Mongo]:
    """A minute of clinical time in a second."""
    async with empty_database(stores.mongodb_uri, apart(AT, rate=60)) as made:
        yield made


def clock_of(mongo: Mongo) -> ManualClock:
    assert isinstance(mongo.clock, ManualClock)
    return mongo.clock


async def test_a_timer_is_due_and_too_late_by_the_clock_that_it_names(fast: Mongo) -> None:
    fired, clock = Fired(), clock_of(fast)

    async def both(unit: UnitOfWork) -> None:
        for name, now in (("clinical", clock.clinical_now()), ("system", clock.system_now())):
            due = now + timedelta(seconds=2)
            how: Any = {"clock": name, "latest_at": due + timedelta(seconds=30)}
            await set_timer(unit, "test", name, due, {"name": name}, **how)

    await fast.run(SCOPE, both)
    seen = []
    for seconds in (1, 1, 117, 1):
        clock.advance(seconds)
        await fired.runner(fast).fire_due()
        seen.append(list(fired.names))
    assert seen == [[], ["clinical"], ["clinical"], ["clinical", "system"]]


async def test_a_timer_that_failed_is_tried_again_by_real_time(fast: Mongo) -> None:
    fired = Fired()
    await arm(fast, "broken")
    tried = []
    for real_seconds in (0, 0.9, 0.2):
        clock_of(fast).advance(60 * real_seconds)
        await fired.runner(fast).fire_due()
        (row,) = await fast.plumbing("timers").find({})
        tried.append(row["attempts"])
    assert tried == [1, 1, 2]


async def test_what_is_kept_for_a_time_is_stamped_with_real_time(fast: Mongo) -> None:
    await fast.build_indexes({"effects": []})

    async def acts(unit: UnitOfWork) -> None:
        emit(unit, inquiry(), aggregate="inquiry/1", version=1)
        audit(unit, "inquiry.read", "inquiry/1")

    await fast.run(SCOPE, acts)
    await Effects().pipeline(fast).handle((await records_of(fast))[0])
    for collection, stamp in (("outbox", "created_at"), ("audit", "at"), ("inbox", "at")):
        (row,) = await fast.plumbing(collection).find({})
        assert row[stamp] == fast.clock.system_now(), collection
