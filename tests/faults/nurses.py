"""The people who answer alarms of a fault run: by the link in the page or at the board; then they go to the chair."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.faults.client import Client
from tests.faults.system import System

PEOPLE = 8  # who answer at the same time
GLANCE_SECONDS = 0.5  # all look at the same screen


class Nurses:
    """Everybody reads the same pagers."""

    def __init__(self, system: System, client: Client) -> None:
        self._system, self._client = system, client
        self._links: dict[str, str] = {}
        self._paged: set[str] = set()
        self._read, self._reading, self._looked_at = 0, asyncio.Lock(), 0.0

    async def answer(self, session_id: str) -> None:
        """Whatever rang for this session is accepted as soon as somebody was paged for it, and attended."""
        await self._answer({"session_id": session_id})

    async def answer_all(self) -> None:
        """What nobody has attended yet."""
        await self._answer({})

    async def _answer(self, whose: Mapping[str, str]) -> None:
        rows = await self._unattended(whose)
        people = asyncio.Semaphore(PEOPLE)

        async def one(row: Mapping[str, Any]) -> None:
            async with people:
                await self._accept(row)
                await self._client.until(partial(self._is_accepted, row["_id"]))
                await self._tell(row["_id"], "attend")

        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(one(row))

    async def _accept(self, row: Mapping[str, Any]) -> None:
        """Only what latches is sure to wait for its link: an alarm that has cleared by itself is paged no more."""
        alarm_id = row["_id"]
        if row.get("category") == "physiological":
            await self._client.until(partial(self._was_paged, alarm_id))
        link = self._links.get(alarm_id) if row["open"] and row["priority"] == "high" else None
        if link and int(alarm_id[-1], 16) % 2:
            await self._client.until(partial(self._client.press, link))
            self._system.history.links.add(alarm_id)
        else:
            await self._tell(alarm_id, "acknowledge")

    async def _was_paged(self, alarm_id: str) -> bool:
        async with self._reading:
            if alarm_id not in self._paged and time.monotonic() - self._looked_at > GLANCE_SECONDS:
                await self._read_pages()
                self._looked_at = time.monotonic()
        return alarm_id in self._paged

    async def _read_pages(self) -> None:
        """What came since; of each alarm the newest link."""
        messages = await self._client.messages(self._read)
        self._read += len(messages)
        bodies = [row["body"] for row in messages if row["kind"] == "pager"]
        self._paged |= {body["alarm_id"] for body in bodies if body.get("alarm_id")}
        self._links |= {body["alarm_id"]: body["link"] for body in bodies if body.get("link")}

    async def _unattended(self, whose: Mapping[str, str]) -> list[dict[str, Any]]:
        rows = await self._system.rows("monitoring", "alarms", whose)
        return [row for row in rows if not row.get("attended_at")]

    async def _is_accepted(self, alarm_id: str) -> bool:
        """An answer given by the link comes to monitoring as an event."""
        (row,) = await self._system.rows("monitoring", "alarms", {"_id": alarm_id})
        return bool(row.get("acknowledged_at"))

    async def _tell(self, alarm_id: str, verb: str) -> None:
        await self._client.insist("POST", "monitoring", f"/v1/alarms/{alarm_id}/{verb}", "nurse")
