"""Bulk work stands back while alarm work of the same process is in hand."""

import asyncio
import contextlib
import time

import pytest

from shared.messaging import precedence
from shared.messaging.precedence import BULK_AT_ONCE, Precedence
from tests.support.eventually import a_turn, eventually

LONG = 60.0


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Precedence:
    """Stands back for as long as the test lasts."""
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", LONG)
    return Precedence()


async def some_turns() -> None:
    for _ in range(10):
        await a_turn()


async def test_bulk_work_begins_when_the_last_alarm_is_done(first: Precedence) -> None:
    begun = asyncio.Event()

    async def bulk() -> None:
        async with first.bulk():
            begun.set()

    with first.alarm():
        with first.alarm():
            working = asyncio.create_task(bulk())
            await some_turns()
        await some_turns()
        assert not begun.is_set()
    await working
    assert begun.is_set()


async def test_an_alarm_that_failed_is_done_too(first: Precedence) -> None:
    with contextlib.suppress(ValueError), first.alarm():
        raise ValueError
    await asyncio.wait_for(first.stand_back(), LONG / 2)


async def test_an_alarm_lane_in_trouble_holds_up_bulk_work_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", 0.05)
    first, began = Precedence(), time.monotonic()
    with first.alarm():
        await first.stand_back()
    assert 0.05 <= time.monotonic() - began < LONG


async def test_an_alarm_lane_that_is_always_busy_is_stood_back_for_once_and_then_not_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", 0.05)
    monkeypatch.setattr(precedence, "THEN_FREE_SECONDS", LONG)
    first, began = Precedence(), time.monotonic()
    with first.alarm():
        for _ in range(100):
            await first.stand_back()
    assert 0.05 <= time.monotonic() - began < 1


async def test_an_alarm_never_waits_for_bulk_work(first: Precedence) -> None:
    async with first.bulk(), first.bulk():
        with first.alarm():
            pass


async def test_bulk_batches_are_few_at_once(first: Precedence) -> None:
    inside, most, done = 0, 0, 0

    async def bulk() -> None:
        nonlocal inside, most, done
        async with first.bulk():
            inside += 1
            most = max(most, inside)
            await some_turns()
            inside -= 1
        done += 1

    async def all_done() -> bool:
        return done == 3 * BULK_AT_ONCE

    working = [asyncio.create_task(bulk()) for _ in range(3 * BULK_AT_ONCE)]
    await eventually(all_done)
    await asyncio.gather(*working)
    assert most == BULK_AT_ONCE


async def test_between_two_steps_of_bulk_work_others_have_their_turn(first: Precedence) -> None:
    seen: list[str] = []
    asyncio.get_running_loop().call_soon(seen.append, "other")
    await first.stand_back()
    assert seen == ["other"]
