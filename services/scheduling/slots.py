"""Pure: time as slots of five minutes; a booking claims each slot of each of its resources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.scheduling.hours import refusal
from shared.persistence.mongo import Document

SLOT = timedelta(minutes=5)


def slots(start: datetime, end: datetime) -> list[str]:
    """The slots that [start, end) touches, named by their beginning in UTC."""
    begin = start - timedelta(minutes=start.minute % 5, seconds=start.second, microseconds=start.microsecond)
    names = []
    while begin < end:
        names.append(begin.strftime("%Y%m%dT%H%M"))
        begin += SLOT
    return names


def starts(earliest: datetime, latest: datetime, minutes: int, step_minutes: int = 30) -> Iterator[datetime]:
    """Candidate starts on the grid of `step_minutes` from the full hour, so that a visit of `minutes` ends by `latest`."""
    start = earliest.replace(minute=0, second=0, microsecond=0)
    while start + timedelta(minutes=minutes) <= latest:
        if start >= earliest:
            yield start
        start += timedelta(minutes=step_minutes)


@dataclass(frozen=True)
class Bookable:
    """A resource, or the patient, with the slots that are claimed already."""

    row: Document
    busy: set[str] = field(default_factory=set)

    def free(self, start: datetime, end: datetime, zone: ZoneInfo) -> bool:
        return refusal(self.row, start, end, zone) is None and self.busy.isdisjoint(slots(start, end))


def place(needs: Sequence[Sequence[Bookable]], start: datetime, end: datetime, zone: ZoneInfo) -> list[Bookable] | None:
    """The first free choice for each need, none twice; None when a need cannot be met at that time."""
    chosen: list[Bookable] = []
    for choices in needs:
        taken = {bookable.row["_id"] for bookable in chosen}
        found = next((one for one in choices if one.row["_id"] not in taken and one.free(start, end, zone)), None)
        if found is None:
            return None
        chosen.append(found)
    return chosen


def take(chosen: Sequence[Bookable], start: datetime, end: datetime) -> None:
    """Mark as claimed, for the next search in the same transaction."""
    for bookable in chosen:
        bookable.busy.update(slots(start, end))
