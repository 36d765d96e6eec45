"""Pure: when a resource can be used: opening hours on the clinic's wall clock, closures as instants."""

from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from shared.persistence.mongo import Document

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def minute_of(clock: str) -> int:
    """Minutes from midnight of "09:30"; "24:00" is the day's end."""
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _at(day: date, clock: str, zone: ZoneInfo) -> datetime:
    """Sums on the wall clock, so that opening at nine means nine on the days the clocks change too."""
    return datetime.combine(day, time(), zone) + timedelta(minutes=minute_of(clock))


def refusal(resource: Document, start: datetime, end: datetime, zone: ZoneInfo) -> str | None:
    """Why [start, end) cannot be booked: `resource_retired`, `resource_closed`, `outside_hours`; None when it can.

    Without hours a resource is always open; with them the visit must lie within one span of one local day.
    """
    if not resource["active"]:
        return "resource_retired"
    if any(closure["start"] < end and start < closure["end"] for closure in resource["closures"]):
        return "resource_closed"
    if resource["hours"] is None:
        return None
    local = start.astimezone(zone)
    spans = [span for span in resource["hours"] if span["day"] == DAYS[local.weekday()]]
    begin, finish = start.timestamp(), end.timestamp()
    for span in spans:
        opens, closes = (_at(local.date(), span[name], zone).timestamp() for name in ("opens", "closes"))
        if opens <= begin and finish <= closes:
            return None
    return "outside_hours"
