"""The reference model: readings -> the alarms that there must be, may be, and may not be. Pure.

It is written from clinical.md and knows nothing of the engine. An episode is what was measured, in the order and at the
times of measurement, however late and in whatever order it arrived; no clock of a device is wrong here. While a reading
was not acknowledged the one before it goes on, and where that leaves open whether a delay was reached, the alarm may be
there; so may the milder alarm of a breach that began with or after a graver one: the graver tells of it while it stands.
Such a breach is `covered`: one of both alarms must stand in it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.faults.history import Reading

JUMP_WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Rule:
    """A limit, inclusive. A change of `jump` or more from the reading before needs no delay."""

    name: str
    sign: str
    bound: float
    high: bool
    delay_s: float
    jump: float | None = None

    def breached(self, value: float) -> bool:
        return value >= self.bound if self.high else value <= self.bound

    def covers(self, other: "Rule") -> bool:
        same = (self.sign, self.high) == (other.sign, other.high)
        return same and self.bound != other.bound and other.breached(self.bound)

    def jumped(self, before: float, value: float) -> bool:
        return self.jump is not None and (value - before if self.high else before - value) >= self.jump


SPO2, PULSE, SYSTOLIC, BREATH = "59408-5", "8867-4", "8480-6", "9279-1"
SURE = {SPO2: (85, 100), PULSE: (40, 160), SYSTOLIC: (70, 220), BREATH: (8, 35)}
"""What is outside a human is asked to confirm (clinical.md 3.1)."""
RULES = (
    Rule("spo2_warning_low", SPO2, 93.9, False, 15),
    Rule("spo2_critical_low", SPO2, 89.9, False, 5, 8),
    Rule("spo2_collapse", SPO2, 39.9, False, 0),
    Rule("hr_warning_high", PULSE, 120.1, True, 15),
    Rule("hr_critical_high", PULSE, 140.1, True, 5),
    Rule("hr_warning_low", PULSE, 49.9, False, 15),
    Rule("hr_fall", PULSE, 49, False, 15),
    Rule("hr_critical_low", PULSE, 39.9, False, 5),
    Rule("hr_collapse", PULSE, 19.9, False, 0),
    Rule("sbp_warning_high", SYSTOLIC, 160, True, 15),
    Rule("sbp_critical_high", SYSTOLIC, 180, True, 5, 40),
    Rule("sbp_warning_low", SYSTOLIC, 99.9, False, 15),
    Rule("sbp_critical_low", SYSTOLIC, 89.9, False, 5),
    Rule("sbp_collapse", SYSTOLIC, 39.9, False, 0),
    Rule("rr_warning_high", BREATH, 24.1, True, 15),
    Rule("rr_critical_high", BREATH, 30.1, True, 5),
    Rule("rr_warning_low", BREATH, 9.9, False, 15),
    Rule("rr_critical_low", BREATH, 7.9, False, 5),
    Rule("rr_collapse", BREATH, 0.9, False, 0),
)
Key = tuple[str, str]


@dataclass(frozen=True)
class Covered:
    """A breach that lasted, within which one of `rules` must have had an alarm that stood."""

    session_id: str
    rules: tuple[str, ...]
    began: float
    due: float


def expected(readings: Iterable[Reading]) -> dict[Key, float | None]:
    """By session and rule: when the last reading that completes the alarm was acknowledged; None: it may be there.

    What is not named may not be there.
    """
    found: dict[Key, float | None] = {}
    for session_id, rule, graver, taken in _courses(readings):
        found |= _judge(session_id, rule, taken, _began(graver, taken))
    return found


def covered(readings: Iterable[Reading]) -> Iterator[Covered]:
    """The breaches of a milder rule that began with or after one of a graver rule."""
    for session_id, rule, graver, taken in _courses(readings):
        names = (rule.name, *(item.name for item in graver))
        for began, due in _completed(rule, taken):
            if began >= _began(graver, taken):
                yield Covered(session_id, names, began, due)


def _courses(readings: Iterable[Reading]) -> Iterator[tuple[str, Rule, list[Rule], list[Reading]]]:
    """Each session and rule, with the graver rules that may alarm and the sign's readings as they were taken."""
    series: dict[Key, list[Reading]] = defaultdict(list)
    for reading in readings:
        series[reading.session_id, reading.sign].append(reading)
    for (session_id, sign), row in series.items():
        taken = sorted(row, key=lambda reading: reading.taken_at)
        for rule in (rule for rule in RULES if rule.sign == sign):
            graver = [item for item in RULES if item.covers(rule) and _judge(session_id, item, taken)]
            yield session_id, rule, graver, taken


def _completed(rule: Rule, row: list[Reading]) -> Iterator[tuple[float, float]]:
    """Of each breach that lasted when it began, and when everything that shows it was acknowledged."""
    run, told = list[Reading](), False
    before: Reading | None = None
    for reading in row:
        run, told = ([*run, reading], told) if rule.breached(reading.value) else ([], False)
        due = _due(rule, run, before) if run and not told else None
        if due is not None:
            told = True
            yield run[0].taken_at, due
        before = reading


def _began(graver: list[Rule], row: list[Reading]) -> float:
    """When the first of them was broken; infinite where there is none."""
    broken = (reading.taken_at for reading in row if any(rule.breached(reading.value) for rule in graver))
    return next(broken, math.inf)


def _judge(session_id: str, rule: Rule, row: list[Reading], graver_began: float = math.inf) -> dict[Key, float | None]:
    """`graver_began`: from then on an alarm may be there and need not."""
    run: list[Reading] = []
    before: Reading | None = None
    possible = False
    for reading in row:
        if rule.breached(reading.value):
            run.append(reading)
            due = _due(rule, run, before)
            if due is not None and run[0].taken_at < graver_began:
                return {(session_id, rule.name): due}
            possible |= (
                due is not None
                or rule.delay_s == 0
                or (before is not None and rule.jumped(before.value, reading.value))
            )
        elif run:
            possible |= (reading.acknowledged_at or math.inf) - run[0].taken_at >= rule.delay_s
            run = []
        before = reading
    return {(session_id, rule.name): None} if possible or run else {}


def _due(rule: Rule, run: list[Reading], before: Reading | None) -> float | None:
    """When everything was acknowledged that the newest reading of a run of breaches completes, if it completes anything."""
    known = run if rule.delay_s == 0 or len(run) > 1 or before is None else [before, *run]
    times = [reading.acknowledged_at for reading in known if reading.acknowledged_at is not None]
    if len(times) < len(known):
        return None
    lasted = run[-1].taken_at - run[0].taken_at >= rule.delay_s
    return max(times) if lasted or _leapt(rule, run, before) else None


def _leapt(rule: Rule, run: list[Reading], before: Reading | None) -> bool:
    if len(run) > 1 or before is None:
        return False
    return run[0].taken_at - before.taken_at < JUMP_WINDOW_SECONDS and rule.jumped(before.value, run[0].value)
