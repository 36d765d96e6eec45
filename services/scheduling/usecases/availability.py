"""Where there is room: the slots in which every needed resource is free, and the first one of a window."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from services.scheduling import schemas
from services.scheduling.slots import Bookable, place, starts
from services.scheduling.store import RESOURCES
from services.scheduling.usecases import claims
from services.scheduling.usecases.deps import Deps, zone_of
from shared.errors import FieldError, Invalid
from shared.persistence.mongo import Document, Reader

MAX_WINDOW = timedelta(days=31)


async def available(reader: Reader, deps: Deps, query: schemas.Wanted) -> schemas.Availability:
    """`resources`: exactly these; `kinds`: any one of each. Raises Invalid."""
    if not timedelta(0) < query.to - query.from_ <= MAX_WINDOW:
        raise Invalid(errors=[FieldError("query:to", "must be after from and at most 31 days later", "length_invalid")])
    if not query.resources and not query.kinds:
        raise Invalid(errors=[FieldError("query:resources", "name resources or kinds", "missing")])
    earliest = max(query.from_, reader.clock.clinical_now())
    needs = await _needs(reader, query, earliest)
    grid = starts(earliest, query.to, query.minutes, deps.protocol.step_minutes)
    zone, limit = await zone_of(reader, deps), query.limit
    found = list(islice(free(needs, grid, query.minutes, zone), limit + 1))
    items = [
        schemas.Slot(
            start=start, end=start + timedelta(minutes=query.minutes), resources=[one.row["_id"] for one in chosen]
        )
        for start, chosen in found
    ]
    return schemas.Availability(items=items[:limit], next_from=items[limit].start if len(items) > limit else None)


async def _needs(reader: Reader, query: schemas.Wanted, earliest: datetime) -> list[list[Bookable]]:
    needs = [[row] for row in await claims.resources_named(reader, query.resources, "query:resources")]
    needs += [await of_kind(reader, kind) for kind in query.kinds]
    return [[await claims.bookable(reader, row, earliest, query.to) for row in rows] for rows in needs]


async def of_kind(reader: Reader, kind: str) -> list[Document]:
    return await reader.collection(RESOURCES).find({"kind": kind, "active": True})


def free(
    needs: Sequence[Sequence[Bookable]], grid: Iterator[datetime], minutes: int, zone: ZoneInfo
) -> Iterator[tuple[datetime, list[Bookable]]]:
    """The starts of the grid, in UTC, at which each need is met, with the choice that meets it."""
    for start in grid:
        chosen = place(needs, start, start + timedelta(minutes=minutes), zone)
        if chosen is not None:
            yield start.astimezone(UTC), chosen
