"""One limit's breaches in the order in which they were measured, whatever the order in which they arrived. Pure.

`base` stands before the points that are kept, `head` after them; a reading that came late is put in its place and the
points are gone through again. What is older than `SPAN` behind the newest point is final.

Two devices may measure one sign and differ. Of both the worse counts: a breach ends by what its own device measures, or a
human by hand; what another device says ends it only when its own has been silent for a while (ADR 20).
"""

from bisect import insort
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.monitoring.limits import Limit
from services.monitoring.vitals import HOLDS, MANUAL

SPAN = timedelta(seconds=20)  # twice that in which the time of measurement counts: a clock may be ahead by as much
KEPT = 128  # six devices at 1 Hz; of a flood less than `SPAN` is kept, so that it costs no more
JUMP_WINDOW = timedelta(seconds=60)
DEVICES = 16  # of more the newest: a flood of names costs no more
Point = tuple[datetime, float, str]  # when, what, by which device


class Course(NamedTuple):
    """Where a limit stands after a point: broken since, for longer than its delay, back since, the newest breach and point.

    `value` is what counts of the newest moment: the newest, or that of a device which goes on beside it. `over_at`: when
    the sign was back for as long as its rule asks, the last time. `seen`: the newest point of each device.
    """

    since: datetime | None = None
    reached: bool = False
    normal_since: datetime | None = None
    breached_at: datetime | None = None
    worst: float | None = None
    at: datetime | None = None
    value: float | None = None
    over_at: datetime | None = None
    seen: tuple[Point, ...] = ()


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
    since, reached, normal_since, breached_at, worst, _, counts, over_at, seen = course
    point, others = (at, value, device), tuple(item for item in seen if item[2] != device)
    lasted = since is not None and (at - since).total_seconds() >= limit.rule.delay_s
    if limit.breached(value):
        reached = reached or lasted or limit.rule.delay_s <= 0 or _leapt(course, limit, point)
        return Course(since or at, reached, None, at, value, at, value, over_at, _and(others, point))
    back = limit.back(value)
    if device == MANUAL:
        others = tuple(item for item in others if item[0] == at)  # a human's word ends all that was measured before it
    if since is not None:
        held = any(_goes_on(item, limit, at, reached=reached) for item in others)
        if held or (reached and not back):
            reached, value = reached or lasted, counts if held and counts is not None else value
            return Course(since, reached, None, breached_at, worst, at, value, over_at, _and(others, point))
        since, reached, others = None, False, tuple(item for item in others if not limit.breached(item[1]))
    if back:
        normal_since = normal_since or at
        if (at - normal_since).total_seconds() >= limit.rule.normal_s:
            over_at = at
    return Course(since, reached, normal_since, breached_at, worst, at, value, over_at, _and(others, point))


def _and(others: tuple[Point, ...], point: Point) -> tuple[Point, ...]:
    return (*others, point)[-DEVICES:]


def _leapt(course: Course, limit: Limit, point: Point) -> bool:
    """From what its own device said last, else any: so great a change needs no delay."""
    at, value, device = point
    own = next(((moment, known) for moment, known, by in course.seen if by == device), None)
    before_at, before = own or (course.at, course.value)
    near = before_at is not None and at - before_at <= JUMP_WINDOW
    return near and before is not None and limit.jumped(before, value)


def _goes_on(point: Point, limit: Limit, at: datetime, *, reached: bool) -> bool:
    """Whether the breach of another device lasts: until its delay is over, then for a while."""
    moment, value, _ = point
    if not reached:
        return limit.breached(value)
    return not limit.back(value) and at - moment <= max(HOLDS, timedelta(seconds=limit.rule.delay_s))


def _order(limit: Limit) -> Callable[[Point], tuple[datetime, float, str]]:
    """By time, of one moment the worst first."""
    side = -1 if limit.high else 1
    return lambda point: (point[0], side * point[1], point[2])


def begin(
    limit: Limit, at: datetime, value: float, earlier: Sequence[Point], device: str = MANUAL
) -> tuple[Track, list[Episode]]:
    """From rest: with the sign's recent readings, of which nothing was kept because all was well."""
    worst: dict[tuple[datetime, str], float] = {}
    for moment, known, by in earlier:
        key = (moment, by)
        if key not in worst or limit.worse(known, worst[key]):
            worst[key] = known
    points = sorted(((moment, known, by) for (moment, by), known in worst.items()), key=_order(limit))
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
        insort(points, given, key=_order(limit))
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
    for point in sorted(readings, key=_order(limit)):
        at, after = point[0], step(course, limit, *point)
        if course.since is not None and after.since is None:
            found.append((course.since, at))
        course = after
    if course.since is not None:
        found.append((course.since, None))
    return found
