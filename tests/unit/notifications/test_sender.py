"""How fast a backlog of mails leaves: as fast as the provider takes them, never a pool of them a second."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifications import sender
from services.notifications.sender import Sender
from services.notifications.usecases.deps import Outbound
from shared.clock import SystemClock
from tests.support.eventually import eventually

MAILS, POOL = 20, 2


class Backlog(Sender):
    """Sends to a provider that answers at once; what waits is a list instead of the store."""

    def __init__(self, stop: asyncio.Event) -> None:
        outbound: Any = SimpleNamespace(mails=Outbound(), pages=Outbound())
        mongo: Any = SimpleNamespace(clock=SystemClock())
        super().__init__(mongo, outbound, {}, urgent=False, parallel=POOL)
        self.waiting = [{"_id": str(number)} for number in range(MAILS)]
        self.at_once = 0
        self.stop = stop

    async def due(self, _: Any, __: bool, ___: Any, limit: int) -> list[dict[str, Any]]:
        return self.waiting[:limit]

    async def _claim_and_deliver(self, row: dict[str, Any]) -> None:
        self.at_once = max(self.at_once, len(self._running))
        self.waiting.remove(row)

    async def empty(self) -> bool:
        return not self.waiting


async def test_a_backlog_leaves_without_waiting_for_the_sweeps_second(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = Backlog(asyncio.Event())
    monkeypatch.setattr(sender, "due_messages", backlog.due)
    running = asyncio.create_task(backlog.run(backlog.stop))
    try:
        await eventually(backlog.empty, 5)
    finally:
        backlog.stop.set()
        await running
    assert backlog.at_once <= POOL
