"""The pure engine alone on one core: a ward at 1 Hz, five signs each; one reading in ten is abnormal, alarms are accepted."""

import random
import time
from datetime import UTC, datetime, timedelta

from bench.figures import Figure
from services.monitoring.alarms import RuleState, acknowledge, evaluate
from services.monitoring.limits import limits
from services.monitoring.wiring import limit_sets

SIGNS = {
    "8480-6": (120.0, 192.0),
    "8462-4": (78.0, 112.0),
    "8867-4": (70.0, 38.0),
    "59408-5": (98.0, 88.0),
    "9279-1": (14.0, 6.0),
}
BASELINE = {"8480-6": 120.0, "8867-4": 70.0}
SESSIONS = 200
SPELL_SECONDS = 20
EVERY = 10  # of as many spells of a sign one is abnormal
Row = tuple[int, str, float, datetime]


def ward(readings: int) -> list[Row]:
    """Some readings come a few seconds late, as over a bad radio link."""
    dice, start = random.Random(5), datetime(2026, 1, 1, 12, tzinfo=UTC)  # noqa: S311 - dice
    rows, second = list[Row](), 0
    while len(rows) < readings:
        at = start + timedelta(seconds=second)
        for session in range(SESSIONS):
            for number, (sign, (well, ill)) in enumerate(SIGNS.items()):
                spell = (session * 7 + number * 3 + second // SPELL_SECONDS) % EVERY == 0
                late = timedelta(seconds=3 if dice.random() < 0.01 else 0)
                rows.append((session, sign, ill if spell else well, at - late))
        second += 1
    return rows[:readings]


def measure(readings: int) -> list[Figure]:
    """Readings per second through `evaluate`, whatever follows from them thrown away."""
    (adult,) = limit_sets().values()
    found = limits(adult.rules, "dosing", BASELINE)
    rows = ward(readings)
    states: list[dict[str, RuleState]] = [{} for _ in range(SESSIONS)]
    raised = 0
    began = time.process_time()
    for session, sign, value, at in rows:
        states[session], transitions = evaluate(states[session], sign, value, at, found)
        for item in transitions:
            raised += 1
            if item.kind == "raised":
                states[session], _ = acknowledge(states[session], item.limit, at + timedelta(seconds=10))
    took = time.process_time() - began
    assert raised
    return [Figure("alarm_engine_per_s", readings / took, "1/s", goal=">= 200,000")]
