"""Pure: how the sessions of a course follow each other, and where each may be placed around its wanted time."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, cycle, islice
from zoneinfo import ZoneInfo

from services.scheduling.model import Phase


def day_offsets(phases: Sequence[Phase], count: int) -> list[int]:
    """Days from the first session to each of `count` sessions; the last phase goes on as long as needed."""
    opening, *later = phases
    steps = list(islice(cycle(opening.days), opening.sessions - 1))
    for phase in later:
        steps += islice(cycle(phase.days), phase.sessions)
    offsets = [0]
    for days in islice(chain(steps, cycle(phases[-1].days)), max(count - 1, 0)):
        offsets.append(offsets[-1] + days)
    return offsets[:count]


def wanted_starts(phases: Sequence[Phase], first: datetime, numbers: Sequence[int], zone: ZoneInfo) -> list[datetime]:
    """The same time on the clinic's wall clock for each session number, counted from the first of `numbers`."""
    offsets = day_offsets(phases, max(numbers, default=0))
    local = first.astimezone(zone)
    return [local + timedelta(days=offsets[no - 1] - offsets[numbers[0] - 1]) for no in numbers]


def candidates(wanted: datetime, *, step_minutes: int, flex_hours: int, slack_days: int) -> Iterator[datetime]:
    """In UTC: the wanted time, then nearer times of that day before farther ones, then the same on the days after."""
    shifts = range(step_minutes, flex_hours * 60 + 1, step_minutes)
    around = [0, *chain.from_iterable((shift, -shift) for shift in shifts)]
    for day in range(slack_days + 1):
        for minutes in around:
            yield (wanted + timedelta(days=day, minutes=minutes)).astimezone(UTC)


def gap_kept(start: datetime, others: Iterable[datetime], hours: int) -> bool:
    """True when no other session begins within `hours` of this one, before or after."""
    return all(abs((start - other).total_seconds()) >= hours * 3600 for other in others)
