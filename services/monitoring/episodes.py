"""One limit's breaches in the order in which they were measured, whatever the order in which they arrived. Pure.

`base` stands before the points that are kept, `head` after them; a reading that came late is put in its place and the
points are gone through again. What is older than `SPAN` behind the newest point is final.

Two devices may measure one sign and differ. Of both the worse counts: a breach ends by what its own device measures, or a
human by hand; what another device says ends it only when its own has been silent for a while (ADR 20).
"""

from bisect import insort
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.monitoring.limits import Limit
from services.monitoring.signals import MANUAL

SPAN = timedelta(seconds=20)  # twice that in which the time of measurement counts: a clock may be ahead by as much
KEPT = 128  # six devices at 1 Hz; of a flood less than `SPAN` is kept, so that it costs no more
JUMP_WINDOW = timedelta(seconds=60)
HOLDS = timedelta(seconds=10)  # OWN: so long, or its rule's delay, a breach outlasts its device's silence beside others
DEVICES = 16  # of more the newest: a flood of names costs no more
Point = tuple[datetime, float, str]  # when, what, by which device
Breaches = tuple[tuple[str, datetime], ...]


class Course(NamedTuple):
    """Where a limit stands after a point: broken since, for longer than its delay, back since, the newest breach and point.

    `over_at`: when the sign was back for as long as its rule asks, the last time. `broken_by`: the devices whose newest
    value is not back, each with its time.
    """

    since: datetime | None = None
    reached: bool = False
    normal_since: datetime | None = None
    breached_at: datetime | None = None
    worst: float | None = None
    at: datetime | None = None
    value: float | None = None
    over_at: datetime | None = None
    broken_by: Breaches = ()


class Episode(NamedTuple):
    """A breach that lasted its delay; `end` is None while it goes on. `value` and `at` are of its newest breach.

    `over_at`: when the sign was well the last time before it.
    """

    since: datetime
    end: datetime | None
    at: datetime
    value: float
    over_at: datetime | None = None


class Track(NamedTuple):
    """What is kept of a limit's readings."""

    base: Course
    points: tuple[Point, ...]
    head: Course


AT_REST = Course()


def step(course: Course, limit: Limit, at: datetime, value: float, device: str = MANUAL) -> Course:
    """One more point, not older than those before it."""
    since, reached, normal_since, breached_at, worst, before_at, before, over_at, broken_by = course
    if limit.breached(value):
        start = since or at
        reached = reached or (at - start).total_seconds() >= limit.rule.delay_s
        if not reached and before is not None and before_at is not None and at - before_at <= JUMP_WINDOW:
            reached = limit.jumped(before, value)
        return Course(start, reached, None, at, value, at, value, over_at, _broken(broken_by, device, at))
    back = limit.back(value)
    if since is not None:
        if reached and not back:
            broken_by = _broken(broken_by, device, at)
        elif others := _others(broken_by, limit, device, at):
            reached = reached or (at - since).total_seconds() >= limit.rule.delay_s
            return Course(since, reached, None, breached_at, worst, at, before, over_at, others)
        else:
            since, reached, broken_by = None, False, ()
    if back:
        normal_since = normal_since or at
        if (at - normal_since).total_seconds() >= limit.rule.normal_s:
            over_at = at
    return Course(since, reached, normal_since, breached_at, worst, at, value, over_at, broken_by)


def _broken(known: Breaches, device: str, at: datetime) -> Breaches:
    if len(known) <= 1 and (not known or known[0][0] == device):
        return ((device, at),)
    return (*(item for item in known if item[0] != device), (device, at))[-DEVICES:]


def _others(known: Breaches, limit: Limit, device: str, at: datetime) -> Breaches:
    """Those that go on although this device is back: a human's word ends all that was measured before it."""
    held = timedelta(0) if device == MANUAL else max(HOLDS, timedelta(seconds=limit.rule.delay_s))
    return tuple(item for item in known if item[0] != device and at - item[1] <= held)


def begin(
    limit: Limit, at: datetime, value: float, earlier: Sequence[Point], device: str = MANUAL
) -> tuple[Track, list[Episode]]:
    """From rest: with the sign's recent readings, of which nothing was kept because all was well."""
    worst: dict[tuple[datetime, str], float] = {}
    for moment, known, by in earlier:
        key = (moment, by)
        if key not in worst or limit.worse(known, worst[key]):
            worst[key] = known
    points = sorted((moment, known, by) for (moment, by), known in worst.items())
    return _insert(Track(AT_REST, tuple(points), AT_REST), limit, (at, value, device))


def advance(
    track: Track, limit: Limit, at: datetime, value: float, device: str = MANUAL
) -> tuple[Track, list[Episode]]:
    """The track with one more reading, and every episode that the reading belongs to, ends or begins."""
    base, points, head = track
    if head.at is not None and at <= head.at:
        return _insert(track, limit, (at, value, device))
    after = step(head, limit, at, value, device)
    episodes = [_episode(after, None)] if after.reached else []
    kept, oldest = (*points, (at, value, device)), at - SPAN
    cut = 0
    while kept[cut][0] < oldest or len(kept) - cut > KEPT:
        base = step(base, limit, *kept[cut])
        cut += 1
    return Track(base, kept[cut:], after), episodes


def reaches(track: Track, at: datetime) -> bool:
    """Whether a reading of this time can still be put in its place; what lies before the points is final."""
    return bool(track.points) and at >= track.points[0][0]


def _insert(track: Track, limit: Limit, given: Point) -> tuple[Track, list[Episode]]:
    """Of two values of one device for one moment the worse counts."""
    points, (at, value, device) = list(track.points), given
    twin = next((number for number, point in enumerate(points) if point[0] == at and point[2] == device), None)
    if twin is None or limit.worse(value, points[twin][1]):
        if twin is not None:
            del points[twin]
        insort(points, given)
    course, episodes = track.base, list[Episode]()
    for point in points:
        moment, after = point[0], step(course, limit, *point)
        if course.reached and after.since != course.since:
            episodes.append(_episode(course, moment))
        course = after
    if course.reached:
        episodes.append(_episode(course, None))
    base, oldest = track.base, points[-1][0] - SPAN
    while points[0][0] < oldest or len(points) > KEPT:
        base = step(base, limit, *points.pop(0))
    touched = [episode for episode in episodes if episode.end is None or episode.end >= at]
    return Track(base, tuple(points), course), touched


def _episode(course: Course, end: datetime | None) -> Episode:
    assert course.since is not None  # noqa: S101 - reached only while broken
    assert course.breached_at is not None  # noqa: S101
    assert course.worst is not None  # noqa: S101
    return Episode(course.since, end, course.breached_at, course.worst, course.over_at)


def intervals(limit: Limit, readings: Sequence[Point]) -> list[tuple[datetime, datetime | None]]:
    """Every breach within these readings, short ones too, from its first reading to the one that ended it."""
    course, found = AT_REST, list[tuple[datetime, datetime | None]]()
    for point in sorted(readings):
        at, after = point[0], step(course, limit, *point)
        if course.since is not None and after.since is None:
            found.append((course.since, at))
        course = after
    if course.since is not None:
        found.append((course.since, None))
    return found
