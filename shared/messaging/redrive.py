"""Runs dead letters through the handlers again, in this service alone: nothing is published to anybody."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pymongo.errors import PyMongoError

from shared.errors import StillwaterError
from shared.events.registry import REGISTRY
from shared.messaging.deadletters import DEAD_LETTERS, UNKNOWN_TYPE, close
from shared.messaging.handling import Pipeline
from shared.messaging.outbox import OUTBOX
from shared.messaging.outcomes import Outcome, Reject, Retry
from shared.messaging.record import Record
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 60.0
AT_ONCE = 100
_ORDER = (("topic", 1), ("partition", 1), ("offset", 1))


def record_of(letter: Document) -> Record:
    headers = [(name, None if item is None else bytes(item)) for name, item in letter["headers"]]
    return Record(letter["topic"], letter["partition"], letter["offset"], letter["key"], letter["value"], headers)


class Redrive:
    """`pipelines` by consumer group: a letter goes back to the group that refused it."""

    def __init__(self, mongo: Mongo, pipelines: Mapping[str, Pipeline], by: str) -> None:
        self._mongo, self._pipelines, self._by = mongo, pipelines, by
        self.last_attempt = mongo.clock.monotonic()

    async def find(self, query: Mapping[str, Any], limit: int = 0) -> list[Document]:
        """Open letters in the order of their topics."""
        return await self._mongo.plumbing(DEAD_LETTERS).find({**query, "state": "open"}, sort=_ORDER, limit=limit)

    async def redrive(self, letter: Document, *, rehearse: bool = False) -> Outcome | None:
        """Handle it as if it had just come; closed unless refused again. `rehearse` rolls everything back."""
        pipeline = self._pipelines.get(letter["group"])
        if pipeline is None:
            return Reject("group_unknown")
        record = record_of(letter)
        if rehearse:
            return await pipeline.rehearse(record)
        outcome = await pipeline.handle(record)
        if not isinstance(outcome, Reject | Retry):
            await close(self._mongo, letter["_id"], "redriven", self._by, type(outcome).__name__.lower())
        return outcome

    async def drop(self, letter: Document, reason: str) -> bool:
        """For good, with a reason; the row stays as long as inbox marks. False when it was closed meanwhile."""
        return await close(self._mongo, letter["_id"], "dropped", self._by, reason)

    async def known_types(self, stop: asyncio.Event) -> None:
        """Letters whose type nobody knew are redriven by the first code that knows it.

        Looked for again every minute: in a roll-out the old code goes on refusing while the new code has started.
        """
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                await self.redrive_known(stop)
            except (StillwaterError, PyMongoError) as error:
                log.warning("redrive.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_AGAIN_SECONDS)

    async def redrive_known(self, stop: asyncio.Event) -> None:
        known = {"code": UNKNOWN_TYPE, "type": {"$in": list(REGISTRY)}}
        while letters := await self.find(known, limit=AT_ONCE):
            for letter in letters:
                self.last_attempt = self._mongo.clock.monotonic()
                outcome = await self.redrive(letter)
                log.info("redrive.known_type", extra={"code": type(outcome).__name__, "group": letter["group"]})
                if stop.is_set() or isinstance(outcome, Reject | Retry):
                    return


async def dead_rows(mongo: Mongo) -> list[Document]:
    """Outbox rows that the broker refused; each holds its aggregate back until somebody decides."""
    return await mongo.plumbing(OUTBOX).find({"state": "dead"})


async def decide_row(mongo: Mongo, row_id: str, by: str, *, drop_reason: str | None) -> bool:
    """Send again, or drop with a reason. False when the row is not dead any more."""

    async def work(unit: UnitOfWork) -> int:
        decided = {"decided_by": by, "decided_at": unit.clock.system_now(), "reason": drop_reason}
        state = "pending" if drop_reason is None else "dropped"
        return await unit.plumbing(OUTBOX).update(
            {"_id": row_id, "state": "dead"}, {"$set": {"state": state, **decided}}
        )

    return bool(await mongo.run(system_scope("-", "redrive"), work))


async def each(
    redrive: Redrive, letters: list[Document], *, rehearse: bool
) -> AsyncIterator[tuple[Document, Outcome | None]]:
    """One after the other; ends at the first `Retry`, for the rest would meet the same trouble."""
    for letter in letters:
        outcome = await redrive.redrive(letter, rehearse=rehearse)
        yield letter, outcome
        if isinstance(outcome, Retry):
            return
