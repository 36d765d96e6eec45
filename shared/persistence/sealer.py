"""Seals the audit: every second the holder of the lease covers the new rows with the next block of the chain."""

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from pathlib import Path

from pymongo.errors import PyMongoError

from shared.errors import StillwaterError
from shared.persistence.chain import AUDIT, BLOCKS, Anchor, AnchorReason, Head, append_anchor, new_block
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, DuplicateKey, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import AUDIT_ROWS_SEALED

log = logging.getLogger(__name__)

WINDOW = timedelta(minutes=5)
RECENT = timedelta(seconds=15)
EMPTY_BLOCK_EVERY = timedelta(minutes=1)
ANCHOR_EVERY = timedelta(hours=1)
ROUND_SECONDS = 1.0
FULL_LOOK_ROUNDS = 10
BLOCK_ROWS = 5_000
_SCOPE = system_scope("-", "sealer")


class Sealer:
    """Only the lease's holder seals; the unique number of a block keeps out a holder whose lease has passed."""

    def __init__(self, mongo: Mongo, service: str, key: bytes, anchors: Path, lease: Lease) -> None:
        self._mongo, self._service, self._key, self._anchors, self._lease = mongo, service, key, anchors, lease
        self._head: Head | None = None
        self._named: dict[str, datetime] = {}
        self._anchored_at: datetime | None = None
        self._round = 0
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            await self._try()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), ROUND_SECONDS)

    async def close(self) -> None:
        """After everything else has ended: cover the last rows, write the anchor, give the lease back."""
        self._round = 0
        if self._head is None or not await self._try():
            return
        await self._anchor("stop")
        with contextlib.suppress(PyMongoError):
            await self._lease.release()

    async def _try(self) -> bool:
        """One round; False when another holds the lease or the store is in trouble."""
        try:
            if self._lease.held() or await self._lease.acquire():
                await self.seal()
                return True
        except (StillwaterError, PyMongoError, DuplicateKey) as error:
            log.warning("audit.not_sealed", extra={"error": type(error).__name__})
        # What was known may be out of date now: the next round of a holder reads it anew.
        self._head = None
        return False

    async def seal(self) -> int:
        """Cover what no block names; returns how many rows. Raises DuplicateKey when another holder was first."""
        starting = self._head is None
        head = self._head or await self._look()
        if starting:
            self._head, self._round = head, 0
            await self._anchor("start")
        full = self._round % FULL_LOOK_ROUNDS == 0
        self._round += 1
        sealed = await self._cover(self._mongo.clock.system_now() - (WINDOW if full else RECENT))
        now = self._mongo.clock.system_now()
        if self._head and (self._head.at is None or now - self._head.at >= EMPTY_BLOCK_EVERY):
            await self._append([])
        if self._anchored_at is None or now - self._anchored_at >= ANCHOR_EVERY:
            await self._anchor("hour")
        return sealed

    async def _look(self) -> Head:
        """The head, and what the blocks of the last minutes name."""
        blocks = self._mongo.plumbing(BLOCKS)
        last = await blocks.find({}, sort=[("_id", -1)], limit=1)
        oldest = self._mongo.clock.system_now() - 2 * WINDOW
        recent = await blocks.find({"at": {"$gte": oldest}})
        self._named = {row["id"]: block["at"] for block in recent for row in block["rows"]}
        return Head(last[0]["number"], last[0]["hash"], last[0]["at"]) if last else Head()

    async def _cover(self, since: datetime) -> int:
        new = [found for found in await self._ids(since) if found not in self._named]
        for start in range(0, len(new), BLOCK_ROWS):
            rows = await self._mongo.plumbing(AUDIT).find({"_id": {"$in": new[start : start + BLOCK_ROWS]}})
            await self._append(rows)
        self._forget()
        return len(new)

    async def _ids(self, since: datetime) -> list[str]:
        """From the index alone: most of them are named already."""
        cursor = self._mongo.database[AUDIT].find({"at": {"$gte": since}}, {"_id": 1}, sort=[("at", 1), ("_id", 1)])
        return [row["_id"] async for row in cursor]

    async def _append(self, rows: list[Document]) -> None:
        head, now = self._head or Head(), self._mongo.clock.system_now()
        block = new_block(self._key, head.number + 1, head.hash, now, rows)

        async def insert(unit: UnitOfWork) -> None:
            await unit.plumbing(BLOCKS).insert(block)

        await self._mongo.run(_SCOPE, insert)
        self._head = Head(block["number"], block["hash"], now)
        self._named |= {row["_id"]: now for row in rows}
        AUDIT_ROWS_SEALED.inc(len(rows))

    def _forget(self) -> None:
        """A block names only rows of its own window, so what is older cannot be looked for again."""
        if self._round % FULL_LOOK_ROUNDS == 0:
            oldest = self._mongo.clock.system_now() - 2 * WINDOW
            self._named = {found: at for found, at in self._named.items() if at >= oldest}

    async def _anchor(self, reason: AnchorReason) -> None:
        """A place that cannot be written is said in the log and tried again each round; sealing goes on."""
        head, now = self._head or Head(), self._mongo.clock.system_now()
        try:
            await append_anchor(self._anchors, Anchor(self._service, head.number, head.hash, now, reason))
        except OSError as error:
            log.error("audit.not_anchored", extra={"error": type(error).__name__})
            return
        self._anchored_at = now
