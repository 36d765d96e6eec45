"""Nothing queues before a page: the lanes of this service's wiring, with a mail provider that never answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.notifications import sender, wiring
from services.notifications.settings import NotificationsSettings
from services.notifications.usecases.messaging import CLAIM
from shared.events.intake import InquiryReceived
from shared.ids import new_id
from shared.loops import Loops
from shared.messaging import precedence
from tests.integration.notifications.world import RING, Recorder, World
from tests.support.eventually import a_turn, eventually
from tests.unit.test_settings import GOOD

AT_ONCE = 2


class Silent(Recorder):
    """Takes what it is given and says nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def send(self, key: str, to: str, payload: Any) -> None:
        await super().send(key, to, payload)
        await self.go_on.wait()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NotificationsSettings:
    for name, text in (GOOD | {"AUDIT_ANCHOR_PATH": str(tmp_path / "anchor.jsonl")}).items():
        monkeypatch.setenv(f"NOTIFICATIONS_{name}", text)
    return NotificationsSettings()


@pytest.mark.parametrize("from_memory", [True, False], ids=["from memory", "of a process that died"])
async def test_a_page_is_sent_at_once_while_no_mail_gets_through(
    world: World, settings: NotificationsSettings, monkeypatch: pytest.MonkeyPatch, *, from_memory: bool
) -> None:
    """More mails wait than there is room for in both lanes together."""
    silent = Silent()
    monkeypatch.setattr(wiring, "_providers", lambda _: {"pager": [world.pager], "sms": [], "email": [silent]})
    monkeypatch.setattr(wiring, "PAGES_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(wiring, "MAILS_AT_ONCE", AT_ONCE)
    await world.staff()
    for _ in range(2 * AT_ONCE + 1):
        inquiry = new_id()
        await world.handle(world.contact(inquiry))
        await world.handle(InquiryReceived(inquiry_id=inquiry, channel="web_form"))
    wired = wiring.wire(settings, world.mongo, RING)
    stop, senders = asyncio.Event(), ("sender.pages", "sender.mail")
    running = Loops(world.clock, {name: wired.background[name] for name in senders}).start(stop)

    async def mails_are_stuck() -> bool:
        return len(silent.calls) >= AT_ONCE

    async def paged() -> bool:
        return world.pager.addressees == ["pager-n1"]

    try:
        await eventually(mails_are_stuck)
        world.deps = wired.deps if from_memory else world.process("died")
        await world.handle(world.alarm())
        world.clock.advance(0 if from_memory else CLAIM.total_seconds() + 1)
        await eventually(paged, 1)
        assert len(silent.calls) == AT_ONCE
    finally:
        silent.go_on.set()
        stop.set()
        await asyncio.gather(*running)


async def test_a_page_leaves_while_its_sender_waits_for_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> list[Any]:
        waiting.set()
        await go_on.wait()
        return []

    async def paged() -> bool:
        return world.pager.addressees == ["pager-n1"]

    monkeypatch.setattr(sender, "due_messages", slow)
    await world.staff(nurse=["n1"])
    pages = sender.Sender(world.mongo, world.deps, {"pager": [world.pager], "sms": []}, urgent=True, parallel=AT_ONCE)
    stop = asyncio.Event()
    running = asyncio.create_task(pages.run(stop))
    await waiting.wait()
    await world.handle(world.alarm())
    try:
        await eventually(paged)
    finally:
        stop.set()
        go_on.set()
        await running


async def test_bulk_work_of_the_same_process_waits_until_a_page_has_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm's own bulk rows wake their relay in the moment in which its page is to leave."""
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", 60)
    first, slow = precedence.Precedence(), Silent()
    await world.staff(nurse=["n1"])
    lanes = {"pager": [slow], "sms": []}
    pages = sender.Sender(world.mongo, world.deps, lanes, first, urgent=True, parallel=AT_ONCE)
    stop = asyncio.Event()
    running = asyncio.create_task(pages.run(stop))
    await a_turn()
    await world.handle(world.alarm())
    bulk = asyncio.create_task(first.stand_back())

    async def calling() -> bool:
        return bool(slow.calls)

    try:
        await eventually(calling)
        assert not bulk.done()
        slow.go_on.set()
        await asyncio.wait_for(bulk, 10)
    finally:
        stop.set()
        slow.go_on.set()
        await running
