"""A lease: at most one holder at a time, by the store's clock, with a fencing token."""

import asyncio
import contextlib

from shared.persistence.mongo import Document, Mongo, StoreFault

_SAFE_SHARE = 2 / 3


class Lease:
    """Held for `term_s` from the store's `$$NOW`; the holder trusts it for two thirds of that by its own clock."""

    def __init__(self, mongo: Mongo, name: str, holder: str, term_s: float = 6.0) -> None:
        self._mongo, self.name, self.holder, self.term_s = mongo, name, holder, term_s
        self._until = float("-inf")
        self.token = 0

    def held(self) -> bool:
        """Look again immediately before anything that must not be done twice at once."""
        return self.left() > 0

    def left(self) -> float:
        """For how many seconds more the holder may trust it."""
        return self._until - self._mongo.clock.monotonic()

    async def keep(self, stop: asyncio.Event) -> None:
        """Renew while it is held, so that work longer than the term goes on; until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(StoreFault):
                if self.held():
                    await self.acquire()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.term_s / 4)

    async def acquire(self) -> bool:
        """Take or renew; True while this holder has it. Raises StoreFault when the store does not answer.

        Who stands by only reads: it takes part in no write conflict with the holder.
        """
        if not self.held() and await self._anothers():
            return False
        asked = self._mongo.clock.monotonic()
        row = await self._take()
        if row["holder"] == self.holder:
            self.token, self._until = row["token"], asked + self.term_s * _SAFE_SHARE
        return self.held()

    async def _anothers(self) -> bool:
        live = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}, "_id": self.name, "holder": {"$ne": self.holder}}
        return await self._mongo.plumbing("leases").find_one(live) is not None

    async def _take(self) -> Document:
        """One command by the store's clock, and no transaction; leaves another's live lease as it is."""
        mine = {"$eq": [{"$ifNull": ["$holder", None]}, self.holder]}
        free = {"$lte": [{"$ifNull": ["$expires_at", "$$NOW"]}, "$$NOW"]}
        get = {"$or": [mine, free]}
        until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(self.term_s * 1000)}}
        change = {
            "token": {"$add": [{"$ifNull": ["$token", 0]}, {"$cond": [{"$or": [mine, {"$not": [free]}]}, 0, 1]}]},
            "holder": {"$cond": [get, self.holder, "$holder"]},
            "expires_at": {"$cond": [get, until, "$expires_at"]},
        }
        return await self._mongo.plumbing("leases").change_and_get({"_id": self.name}, [{"$set": change}], upsert=True)

    async def release(self) -> None:
        self._until = float("-inf")
        mine = {"_id": self.name, "holder": self.holder}
        await self._mongo.plumbing("leases").update(mine, [{"$set": {"expires_at": "$$NOW"}}])
