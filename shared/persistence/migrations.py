"""Ordered, resumable, recorded changes of what is stored; run by `migrate`, beside the services."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope

MIGRATIONS = "migrations"
AT_ONCE = 200


@dataclass(frozen=True)
class Migration:
    """`step` changes the next few documents and says how many, 0 at the end; it may be stopped and begun again.

    Names sort in the order in which they are run: `0001-what-changes`.
    """

    name: str
    step: Callable[[Mongo], Awaitable[int]]


async def run_migrations(mongo: Mongo, migrations: Sequence[Migration]) -> list[str]:
    """Run what is not recorded as finished, in order; returns those names. Raises ValueError for names out of order."""
    names = [migration.name for migration in migrations]
    if names != sorted(set(names)):
        raise ValueError("migrations are named in the order in which they run, each once")
    rows, done = mongo.plumbing(MIGRATIONS), []
    for migration in migrations:
        begun = {"started_at": mongo.clock.system_now(), "finished_at": None, "changed": 0}
        await rows.update({"_id": migration.name}, {"$setOnInsert": begun}, upsert=True)
        if await rows.find_one({"_id": migration.name, "finished_at": {"$ne": None}}):
            continue
        while changed := await migration.step(mongo):
            await rows.update({"_id": migration.name}, {"$inc": {"changed": changed}})
        finished = {"finished_at": mongo.clock.system_now()}
        await rows.update({"_id": migration.name, "finished_at": None}, {"$set": finished})
        done.append(migration.name)
    return done


def to_present_shape(collection: str) -> Callable[[Mongo], Awaitable[int]]:
    """The step that stores a collection's documents as its upcasters read them. Their `version` stays: nobody acted."""

    async def step(mongo: Mongo) -> int:
        async def work(unit: UnitOfWork) -> int:
            rows = unit.plumbing(collection)
            earlier = await rows.find({"schema_version": {"$lt": mongo.shapes.version(collection)}}, limit=AT_ONCE)
            for row in earlier:
                await rows.put(row)
            return len(earlier)

        return await mongo.run(system_scope("-", MIGRATIONS), work)

    return step
