"""Looks at each unit of work of a person: what it writes or tells leaves a row in the audit, in the same transaction."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from shared.persistence.scope import Scope
from shared.persistence.unit import UnitOfWork

T = TypeVar("T")
READINGS = "services.monitoring.ingest"  # audited once per device and session; tests of their own look at them


def unaudited(unit: UnitOfWork) -> str | None:
    """What a person did that nobody would know of."""
    told = {row["aggregate"].partition("/")[0] for row in unit.staged("outbox")}
    done = sorted({*unit.pending.names(), *told} - set(PLUMBING_INDEXES))
    role = unit.scope.actor.role
    if role == "system" or not done or unit.staged("audit"):
        return None
    return f"{', '.join(done)} by a {role} without a row of the audit"


def watch(bad: list[str], works: str = "", put: Callable[[type, str, object], None] = setattr) -> None:
    """From now on, in this process, units whose work is of this package; what is found is added to `bad`."""
    run = Mongo.run

    async def watched(self: Mongo, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async def looked_at(unit: UnitOfWork) -> T:
            result = await work(unit)
            if work.__module__.startswith(works) and work.__module__ != READINGS and (found := unaudited(unit)):
                bad.append(found)
            return result

        return await run(self, scope, looked_at)

    put(Mongo, "run", watched)
