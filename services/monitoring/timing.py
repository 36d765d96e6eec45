"""Whether a reading tells of now: a backlog after a network gap is not a wrong clock. Pure; all times are clinical.

The offset of a device is how long before its arrival its newest reading was taken. While a backlog is drained it falls
from one delivery to the next; a wrong clock keeps it. For some seconds a backlog can keep it too, where each delivery
takes as long as it tells of; so it must stand for `trusted` before anybody says that a clock is wrong. And a delivery
that came no sooner than its offset after the one before may have been on its way for all of it: only a few of these tell.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

TRUSTED = timedelta(seconds=10)
SLACK = timedelta(seconds=2)
NO_GAP = timedelta(hours=12)  # CFG: longer than any session, so no backlog
DRAINS = timedelta(minutes=5)  # OWN: deliveries of one backlog follow each other sooner
# CFG: a device that measures as seldom as a shipped schedule asks (every half hour, clinical.md 3.2) may leave one out.
FORGOTTEN = timedelta(minutes=90)
DELAYS = 3  # OWN: so many deliveries in a row are not late by the same each
BY_HAND = timedelta(minutes=15)  # CFG: typed in so much later it is still judged as one of now too

Tells = Literal["now", "late", "unsure", "clock"]


@dataclass(frozen=True)
class Timing:
    """One device at one delivery; since `at` its offset stands, `heard` is the last that was looked at.

    `delays`: how many of those since may each have been on their way for as long as they tell of.
    """

    offset: timedelta
    at: datetime
    tells: Tells
    heard: datetime
    delays: int = 0


def told(
    before: Timing | None, offset: timedelta, span: timedelta, now: datetime, trusted: timedelta, slack: timedelta
) -> Timing:
    """What the newest reading of a delivery tells of its device; `span` is how much older its oldest reading is.

    `unsure` after one delivery that came late: nobody can know yet, unless it is a stretch of time by itself. `trusted`
    and `slack` are never shorter in real time than transport may take, so the caller scales them.
    """
    if abs(offset) <= trusted:
        return Timing(offset, now, "now", now)
    if offset < timedelta(0) or offset > NO_GAP:
        return Timing(offset, now, "clock", now)
    undecided: Tells = "late" if span > trusted else "unsure"
    if before is None or before.tells == "now" or now - before.heard > FORGOTTEN:
        return Timing(offset, now, undecided, now)
    return _since(before, Timing(offset, now, undecided, now), trusted, slack)


def _since(before: Timing, given: Timing, trusted: timedelta, slack: timedelta) -> Timing:
    """What the change of the offset tells."""
    fell, gap = before.offset - given.offset, given.at - before.heard
    if fell > slack:
        return replace(given, tells="late") if gap <= DRAINS else given
    if gap < slack:  # Too soon to tell: the signs of one moment come one by one. `before` stays what is compared.
        return before
    if fell < -slack:
        return given
    delayed = gap >= given.offset - slack
    delays = before.delays + delayed
    stands = given.at - before.at >= trusted and (not delayed or delays >= DELAYS)
    if before.tells == "clock" or stands:
        return replace(given, tells="clock")
    return replace(before, tells=given.tells, heard=given.heard, delays=delays)
