"""The gateway of a chair: what its monitor measures at 1 Hz is kept until it is acknowledged, and sent again until then."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.events.envelope import rfc3339
from tests.faults.history import MANUAL, Reading
from tests.faults.reference import BREATH, PULSE, SPO2, SYSTOLIC

BATCH = 100
BEAT_SECONDS = 1.0
SELDOM = 0.1
FLOOD = "refused flood"
HELD_SECONDS = 8  # with its way to the service less than the ten in which a time of measurement counts
UNITS = {SPO2: "%", PULSE: "/min", SYSTOLIC: "mm[Hg]", BREATH: "/min"}
NORMAL = {SPO2: 98, PULSE: 70, SYSTOLIC: 120, BREATH: 14}
COURSES: Sequence[tuple[str, Sequence[float]]] = (
    *((sign, (0,)) for sign in UNITS),  # a collapse is an alarm at once
    (SPO2, (98, 85)),  # so is a fall by more than eight
    (SYSTOLIC, (120, 190)),
    (PULSE, (70, *[36] * 8)),  # five seconds below the limit
    (BREATH, (14, *[6] * 8)),
    (PULSE, (70, 36, 36, 70, *[36] * 8)),  # a dip before
    (PULSE, (70, 38)),  # a dip is none
    (BREATH, (14, 32)),
)
Send = Callable[[Sequence[Reading]], Awaitable[Sequence[str] | None]]
Look = Callable[[Reading], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """What is measured in each second, and when the network is away: `away` are seconds of the plan."""

    sign: str
    values: Sequence[float]
    away: range = range(0)
    device: str = MANUAL

    @property
    def signs(self) -> Sequence[str]:
        """A human writes down the one, a monitor measures all."""
        return (self.sign,) if self.device == MANUAL else tuple(UNITS)

    def value(self, sign: str, second: int) -> float:
        inside = sign == self.sign and second < len(self.values)
        return self.values[second] if inside else NORMAL[sign]


def planned(dice: random.Random, name: str) -> Plan:
    """One in four by hand, of the others one in three behind a network that goes away; the last reading is normal."""
    sign, course = dice.choice(COURSES)
    if dice.random() < 0.25:
        return Plan(sign, (*course, NORMAL[sign]))
    lead = dice.randrange(1, 4)
    values = [NORMAL[sign]] * lead + [*course] + [NORMAL[sign]] * dice.randrange(1, 4)
    if dice.random() < 0.67:
        return Plan(sign, values, device=name)
    away = range(dice.randrange(1, lead + len(course)), lead + len(course) + dice.randrange(3, 12))
    values += [NORMAL[sign]] * (away.stop + 2 - len(values))
    return Plan(sign, values, away, name)


class Gateway:
    """Sends what waits, the oldest first; `send` answers with a result for each reading, or None when nobody knows.

    Now and then a reading is held back for some seconds, a delivery leaves twice at the same time, or again after its
    answer. Whoever sees a collapse that is acknowledged has a `look`.
    """

    def __init__(self, room: str, session_id: str, plan: Plan, dice: random.Random, send: Send, look: Look) -> None:
        self._room, self._session_id, self._plan, self._dice = room, session_id, plan, dice
        self._send, self._look = send, look
        self._waiting: list[tuple[int, Reading]] = []
        self._second = 0
        self._measured, self._news = asyncio.Event(), asyncio.Event()

    async def watch(self, written: list[Reading], stop: asyncio.Event) -> None:
        """Until everything is acknowledged; each reading is `written` down as it is measured.

        `stop` shortens the plan: the network is there again, and all is normal.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure(written, stop))
            group.create_task(self._deliver(stop))

    async def _measure(self, written: list[Reading], stop: asyncio.Event) -> None:
        last = len(self._plan.values) - 1
        for second in range(last + 1):
            if stop.is_set() and second < last:
                continue
            self._second = second
            for sign in self._plan.signs:
                reading = self._read(sign, second)
                written.append(reading)
                self._waiting.append((self._free(second), reading))
            self._news.set()
            await _wait(stop)
        self._measured.set()
        self._news.set()

    def _read(self, sign: str, second: int) -> Reading:
        at, device = round(time.time(), 3), self._plan.device
        return Reading(self._room, self._session_id, sign, self._plan.value(sign, second), at, device=device)

    def _free(self, second: int) -> int:
        """The second in which what is measured now may leave: a gap ends at once for all that waits."""
        if second in self._plan.away:
            return self._plan.away.stop
        held = self._plan.device != MANUAL and self._seldom()
        return second + (self._dice.randrange(1, HELD_SECONDS) if held else 0)

    async def _deliver(self, stop: asyncio.Event) -> None:
        while self._waiting or not self._measured.is_set():
            self._news.clear()
            everything = stop.is_set() or self._measured.is_set()
            due = [reading for free, reading in self._waiting if everything or free <= self._second][:BATCH]
            if not due or not await self._delivered(due):
                await _wait(self._news)

    async def _delivered(self, due: list[Reading]) -> bool:
        """Whether something of it is known to be there."""
        self._dice.shuffle(due)
        for reading in due:
            reading.sent_at = reading.sent_at or time.time()
        found = await asyncio.gather(*(self._send(due) for _ in range(2 if self._seldom() else 1)))
        heard = [_note(due, told) for told in found if told is not None]
        if heard and self._seldom():
            _note(due, await self._send(due) or ())
        self._waiting = [(free, reading) for free, reading in self._waiting if reading.acknowledged_at is None]
        for reading in due:
            if reading.value == 0 and reading.acknowledged_at:
                await self._look(reading)
        return bool(heard)

    def _seldom(self) -> bool:
        return self._dice.random() < SELDOM


def _note(due: Sequence[Reading], told: Sequence[str]) -> bool:
    """What a flood dropped is sent again; every other answer is the last."""
    at = time.time()
    for reading, result in zip(due, told, strict=False):
        reading.answers.append(result)
        if result != FLOOD:
            reading.acknowledged_at = reading.acknowledged_at or at
    return True


async def _wait(event: asyncio.Event) -> None:
    """For a second at most."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), BEAT_SECONDS)


def body_of(reading: Reading) -> dict[str, Any]:
    """As the API takes it."""
    taken = rfc3339(datetime.fromtimestamp(reading.taken_at, UTC))
    told = {"sign": reading.sign, "value": reading.value, "unit": UNITS[reading.sign], "taken_at": taken}
    return told | {"device": reading.device}
