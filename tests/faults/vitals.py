"""Pure checks: what was measured against what is stored, and the silences of the monitors against their alarms."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.faults.history import MANUAL, Heard, History, Observed
from tests.faults.violation import Violation

GOOD = frozenset({"stored", "duplicate", "refused flood"})
SILENT_SECONDS = 10.0
COMMIT_SECONDS = 2.0  # a tick looks, and another transaction ends before it
TOLD_SECONDS = 14.0  # with the tick that looks once a second, and what a commit takes
AFTERMATH_SECONDS = 40.0
CLOCK = "clock"
Key = tuple[str, str, str, int]


def check_vitals(history: History, seen: Observed) -> Iterator[Violation]:
    """What was acknowledged is stored once and as it was sent, nothing else is, and it became so once."""
    sent = {reading.key: reading for reading in history.readings if reading.sent_at is not None}
    rows: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in seen.vitals:
        rows[_key(row)].append(row)
    for key, reading in sent.items():
        found, name = rows[key], f"{reading.sign} by {reading.device} in session {reading.session_id}"
        if reading.acknowledged_at and len(found) != 1:
            yield Violation("reading_once", f"{name} is stored {len(found)} times")
        if any(row["value"] != reading.value for row in found):
            yield Violation("reading_as_sent", f"{name} is stored with another value")
        if not GOOD.issuperset(reading.answers) or reading.answers.count("stored") > 1:
            yield Violation("reading_answered", f"{name} was answered {reading.answers}")
    for key in rows.keys() - sent.keys():
        if rows[key]:
            yield Violation("reading_sent", f"{key[1]} by {key[2]} in session {key[0]} is stored and was not sent")
    for row in seen.vitals:
        if "clock_off_s" in row:
            yield Violation("clock_right", f"{row['device']} is said to be {row['clock_off_s']} s off, and is not")


def _key(row: dict[str, Any]) -> Key:
    return row["session_id"], row["sign"], row["device"], round(row["taken_at"].timestamp() * 1000)


def silent(seen: Observed) -> list[dict[str, Any]]:
    """The alarms of monitors that fell silent."""
    return [row for row in seen.alarms if row["rule"].startswith("signal:")]


def check_silence(history: History, seen: Observed) -> Iterator[Violation]:
    """A monitor that was silent has an alarm and a page where no fault is near; one that was heard has none."""
    deliveries: dict[str, list[Heard]] = defaultdict(list)
    for heard in history.heard:
        if heard.device != MANUAL:
            deliveries[heard.device].append(heard)
    told, pages = silent(seen), first_pages(seen)
    for row in told:
        raised = row["raised_at"].timestamp()
        jumped = any(CLOCK in name for name in history.during(raised - SILENT_SECONDS, raised))
        known = [heard for heard in deliveries[row["rule"].removeprefix("signal:")] if heard.known and not jumped]
        if any(raised - SILENT_SECONDS < heard.began and heard.ended < raised - COMMIT_SECONDS for heard in known):
            yield Violation("silent_was_silent", f"{row['rule']} of session {row['session_id']} was heard")
    counted = Counter(row["rule"] for row in told if row["_id"] in pages)
    for device, rows in deliveries.items():
        certain = sum(not history.faulty(begin - AFTERMATH_SECONDS, end) for begin, end in _silences(rows))
        if counted[f"signal:{device}"] < certain:
            yield Violation("silence_told", f"{device} was silent, and nobody was paged")


def _silences(rows: list[Heard]) -> Iterator[tuple[float, float]]:
    """The spans without any delivery, answered or not, that are long enough to be told."""
    reached = float("inf")
    for heard in sorted(rows, key=lambda row: row.began):
        if heard.began - reached >= TOLD_SECONDS:
            yield reached, heard.began
        reached = heard.ended if reached == float("inf") else max(reached, heard.ended)


def first_pages(seen: Observed) -> dict[str, float]:
    """By alarm when its first page came."""
    first: dict[str, float] = {}
    for page in seen.pages:
        alarm_id, at = page["body"].get("alarm_id"), seconds(page["at"])
        if alarm_id:
            first[alarm_id] = min(at, first.get(alarm_id, at))
    return first


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
