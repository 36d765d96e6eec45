"""Ticks: once a second the holder of a slot's lease looks at its sessions for what time alone brings about."""

import asyncio
import contextlib
import logging
from datetime import datetime

from pymongo.errors import PyMongoError

from services.monitoring.memory import Memory
from services.monitoring.store import engines_of, last_heard, watched_sessions
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.sessions import SLOTS
from services.monitoring.usecases.ticking import due, tick_session
from shared.errors import StillwaterError, Unavailable
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, DuplicateKey, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
AT_A_TIME = 20


class Evaluator:
    """One per worker. Slots are shared among the replicas by leases; a dead holder's slots pass on within six seconds."""

    def __init__(self, mongo: Mongo, deps: Deps, memory: Memory, holder: str) -> None:
        self._mongo, self._deps, self._memory = mongo, deps, memory
        self._leases = [Lease(mongo, f"ticks.{slot}", holder) for slot in range(SLOTS)]
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                await self.tick()
            except (StillwaterError, PyMongoError) as error:
                log.warning("ticks.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
        for lease in self._leases:
            with contextlib.suppress(StillwaterError, PyMongoError):
                await lease.release()

    async def tick(self) -> None:
        """Every session of the slots held; most change nothing and cost no transaction."""
        mine = [slot for slot, lease in enumerate(self._leases) if lease.held() or await lease.acquire()]
        rows = await watched_sessions(self._mongo, mine) if mine else []
        ids = [row["_id"] for row in rows]
        engines, heard = await engines_of(self._mongo, ids), await last_heard(self._mongo, ids)
        evaluated = []
        for number, row in enumerate(rows):
            identifier = row["_id"]
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)  # the relay of the alarm lane lives on the same loop
            if not self._leases[row["slot"]].held():
                continue
            if await self._evaluated(row, engines.get(identifier), heard.get(identifier, {})):
                evaluated.append(identifier)
        self._memory.evaluated(evaluated)

    async def _evaluated(self, row: Document, engine: Document | None, heard: dict[str, datetime]) -> bool:
        """False for a session that this process cannot evaluate: its stamp stands still and is found, the others go on."""
        try:
            if due(self._deps, self._mongo.clock, row, engine, heard):
                await self._tick_one(row["clinic_id"], row["_id"])
        except (Unavailable, PyMongoError):
            raise
        except DuplicateKey:  # whoever was first has told it, so the next tick finds nothing to do; this one is lost
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the other sessions are evaluated
            log.error("ticks.session_failed", extra={"error": type(error).__name__})
            return False
        return True

    async def _tick_one(self, clinic_id: str, session_id: str) -> None:
        async def work(unit: UnitOfWork) -> None:
            await tick_session(unit, self._deps, session_id)

        await self._mongo.run(system_scope(clinic_id, "monitoring.ticks"), work)
