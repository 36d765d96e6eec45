"""What a chair shows, and what a frame of values holds. Pure; all times are clinical.

The board is read from across a room: colour and count of the alarms first (IEC 60601-1-8: red, yellow, cyan), then the
last values with their trend, then what is due next.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.monitoring.board_due import due_next
from services.monitoring.model import SessionProtocol
from services.monitoring.vitals import SIGNS, believed
from shared.persistence.mongo import Document

FRAME_SECONDS = 0.5
TREND_WINDOW = timedelta(minutes=5)
TREND_STEP = timedelta(seconds=20)
NOT_NOW = timedelta(seconds=10)  # what came so much later than it was measured is charted and never shown as now
COLOURS = {"high": "red", "medium": "yellow", "low": "cyan"}
# The least change over the window that counts as one, in the sign's unit (CFG): below it the eye is told "steady".
STEADY = {
    "systolic": 5.0,
    "diastolic": 5.0,
    "heart_rate": 5.0,
    "spo2": 2.0,
    "respiratory_rate": 2.0,
    "temperature": 0.3,
    "etco2": 3.0,
    "pain": 1.0,
}
_ALARM_FIELDS = (
    *("session_id", "participant_id", "rule", "category", "sign", "value", "limit", "priority", "open", "version"),
    *(
        "raised_at",
        "acknowledged_at",
        "attended_at",
        "renewed_at",
        "silenced_until",
        "cleared_at",
        "escalated_at",
        "escalation_step",
    ),
)
_MOMENTS = ("raised_at", "renewed_at", "escalated_at", "acknowledged_at", "attended_at", "silenced_at", "suppressed_at")

Shown = dict[str, Any]
Values = dict[str, dict[str, Shown | None]]


@dataclass
class Series:
    """One sign at one chair: its newest value, and every twenty seconds of the last five minutes for the trend."""

    sign: str
    samples: deque[tuple[datetime, float]] = field(default_factory=deque)
    newest: tuple[datetime, float] | None = None

    def add(self, at: datetime, value: float) -> bool:
        """False for what is older than the newest: it is not now."""
        if self.newest is not None and at < self.newest[0]:
            return False
        self.newest = (at, value)
        if not self.samples or at - self.samples[-1][0] >= TREND_STEP:
            self.samples.append((at, value))
        while self.samples[0][0] < at - TREND_WINDOW:
            self.samples.popleft()
        return True

    def shown(self) -> Shown | None:
        if self.newest is None:
            return None
        at, value = self.newest
        return {"value": value, "at": at, "trend": self.trend()}

    def trend(self) -> str | None:
        """Against the oldest value of the window; None while there is nothing to compare with."""
        if self.newest is None or not self.samples or self.newest[0] - self.samples[0][0] < TREND_STEP:
            return None
        change = self.newest[1] - self.samples[0][1]
        if abs(change) < STEADY[SIGNS[self.sign].name]:
            return "steady"
        return "up" if change > 0 else "down"


@dataclass
class Chair:
    """One watched session: its document, its label in clear, its open alarms by id, its signs by LOINC code."""

    row: Document
    label: str | None = None
    alarms: dict[str, Document] = field(default_factory=dict)
    signs: dict[str, Series] = field(default_factory=dict)
    due: Shown | None = None

    def place(self) -> tuple[str, str, str]:
        return self.row["room"] or "", self.row["chair"] or "", self.row["_id"]

    def has_other_due(self, protocol: SessionProtocol | None) -> bool:
        """Whether something else is due next than was shown last; `due` is that from now on."""
        before, self.due = self.due, show_due(self, protocol)
        return self.due != before

    def take(self, reading: Document, tolerance: timedelta = NOT_NOW) -> bool:
        """Whether a reading changes what is shown: believed, and of now; by a clock known to be wrong it is of its arrival."""
        taken, received = reading["taken_at"], reading["received_at"]
        if not believed(reading) or reading.get("late") or reading["sign"] not in SIGNS:
            return False
        if reading.get("clock_off_s") is not None:
            taken = received
        if received - taken > tolerance:
            return False
        series = self.signs.setdefault(reading["sign"], Series(reading["sign"]))
        return series.add(min(taken, received), reading["value"])

    def retake(self, sign: str, rows: Iterable[Document], tolerance: timedelta = NOT_NOW) -> None:
        """What was shown of a sign does not stand any more: only these readings do, oldest first."""
        self.signs.pop(sign, None)
        for row in rows:
            self.take(row, tolerance)

    def judge(self, alarm: Document) -> bool:
        """Take an alarm's newest state; False for an older version of it."""
        known = self.alarms.get(alarm["_id"])
        if known is not None and known["version"] > alarm["version"]:
            return False
        if alarm["open"]:
            self.alarms[alarm["_id"]] = alarm
        else:
            self.alarms.pop(alarm["_id"], None)
        return True


def colour(priorities: Iterable[str]) -> str:
    """Of the worst alarm."""
    found = set(priorities)
    return next((shown for priority, shown in COLOURS.items() if priority in found), "none")


def show_alarm(alarm: Document) -> Shown:
    """An alarm as a frame holds it; `transition` is what happened to it last."""
    shown = {name: alarm[name] for name in _ALARM_FIELDS if alarm.get(name) is not None}
    return {"id": alarm["_id"], **shown, "transition": transition(alarm)}


def transition(alarm: Document) -> str:
    if not alarm["open"]:
        return "cleared"
    moments = [(alarm[name], number, name) for number, name in enumerate(_MOMENTS) if alarm.get(name)]
    return max(moments)[2].removesuffix("_at")


def show_chair(chair: Chair, protocol: SessionProtocol | None) -> Shown:
    """Everything of one chair; without its protocol, where a process does not know the version, nothing is due."""
    row, chair.due = chair.row, show_due(chair, protocol)
    return {
        "session_id": row["_id"],
        "label": chair.label,
        "room": row["room"],
        "chair": row["chair"],
        "phase": row["state"],
        "aborted": bool(row.get("aborted")),
        "route": protocol.route if protocol else None,
        "dosed_at": max((dose["at"] for dose in row["doses"]), default=None),
        "colour": colour(alarm["priority"] for alarm in chair.alarms.values()),
        "alarms": [show_alarm(alarm) for alarm in in_order(chair.alarms.values())],
        "signs": {sign: shown for sign, series in chair.signs.items() if (shown := series.shown())},
        "due": chair.due,
        "version": row["version"],
    }


def show_due(chair: Chair, protocol: SessionProtocol | None) -> Shown | None:
    """The next step at a chair; by now taken are the signs that it shows, and the scales that were noted."""
    taken = {sign: series.newest[0] for sign, series in chair.signs.items() if series.newest}
    taken |= {scale: score["at"] for scale, score in (chair.row.get("scores") or {}).items()}
    due = due_next(chair.row, protocol, taken)
    return {"code": due.code, "at": due.at, "signs": due.signs} if due else None


def in_order(alarms: Iterable[Document]) -> list[Document]:
    """Worst first, then oldest."""
    rank = list(COLOURS)
    return sorted(alarms, key=lambda alarm: (rank.index(alarm["priority"]), alarm["raised_at"], alarm["_id"]))


class Latest:
    """Values since the last frame: of each sign at each chair the latest wins."""

    def __init__(self) -> None:
        self._changed: dict[str, set[str]] = {}

    def note(self, session_id: str, sign: str) -> None:
        self._changed.setdefault(session_id, set()).add(sign)

    def take(self, chairs: Mapping[str, Chair]) -> Values:
        """What a frame holds, None for a sign of which no value stands any more; afterwards nothing has changed."""
        changed, self._changed = self._changed, {}
        found: Values = {}
        for session_id, signs in changed.items():
            chair = chairs.get(session_id)
            if chair is not None:
                known = {sign: chair.signs.get(sign) for sign in sorted(signs)}
                found[session_id] = {sign: series.shown() if series else None for sign, series in known.items()}
        return found
