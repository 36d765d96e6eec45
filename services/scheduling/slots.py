"""Pure: time as slots of five minutes; a booking claims each slot of each of its resources."""

from collections.abc import Iterator
from datetime import datetime, timedelta

SLOT = timedelta(minutes=5)


def slots(start: datetime, end: datetime) -> list[str]:
    """The slots that [start, end) touches, named by their beginning in UTC."""
    begin = start - timedelta(minutes=start.minute % 5, seconds=start.second, microseconds=start.microsecond)
    names = []
    while begin < end:
        names.append(begin.strftime("%Y%m%dT%H%M"))
        begin += SLOT
    return names


def starts(earliest: datetime, latest: datetime, minutes: int) -> Iterator[datetime]:
    """Candidate starts on the half hour, so that a visit of `minutes` ends by `latest`."""
    start = earliest.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while start + timedelta(minutes=minutes) <= latest:
        yield start
        start += timedelta(minutes=30)
