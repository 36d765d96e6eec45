"""What a chart shows, in minutes on one axis; goes to the chart's process as JSON. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

import orjson

from services.monitoring.limits import Limit
from services.monitoring.vitals import SIGNS, believed, counts_at
from shared.persistence.mongo import Document

DONE = {
    "intervention": "intervention_code",
    "dose_paused": None,
    "dose_resumed": None,
    "dose_stopped": None,
    "emergency_called": "code",
}
LABELS = {
    "systolic": "systolic",
    "diastolic": "diastolic",
    "heart_rate": "heart rate",
    "spo2": "SpO2",
    "respiratory_rate": "respiratory rate",
    "temperature": "temperature, Cel",
    "etco2": "EtCO2, mm[Hg]",
    "pain": "pain, 0-10",
}


@dataclass(frozen=True)
class Point:
    """`doubtful`: kept, and not believed."""

    minute: float
    value: float
    doubtful: bool = False


@dataclass(frozen=True)
class Series:
    name: str
    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Bound:
    name: str
    label: str
    value: float
    priority: str


@dataclass(frozen=True)
class Mark:
    kind: Literal["dose", "intervention"]
    label: str
    minute: float


@dataclass(frozen=True)
class Alarm:
    rule: str
    priority: str
    begin: float
    end: float | None = None
    acknowledged: float | None = None


@dataclass(frozen=True)
class Chart:
    """`now` is the end of the axis while the session is open."""

    title: str
    axis: str
    now: float
    series: Sequence[Series]
    bounds: Sequence[Bound] = ()
    marks: Sequence[Mark] = ()
    alarms: Sequence[Alarm] = field(default=())

    def encode(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        row: dict[str, Any] = orjson.loads(data)
        series = [
            Series(one["name"], one["label"], [Point(**point) for point in one["points"]]) for one in row.pop("series")
        ]
        parts: tuple[tuple[str, Any], ...] = (("bounds", Bound), ("marks", Mark), ("alarms", Alarm))
        lists: dict[str, Any] = {name: [part(**one) for one in row.pop(name)] for name, part in parts}
        return cls(series=series, **lists, **row)

    def words(self) -> str:
        """The picture in words, for who cannot see it."""
        said = []
        for one in self.series:
            values = [point.value for point in one.points if not point.doubtful]
            if values:
                said.append(f"{one.label}: lowest {min(values):g}, highest {max(values):g}, last {values[-1]:g}.")
        said += [f"{mark.label} at minute {mark.minute:.0f}." for mark in self.marks]
        for alarm in self.alarms:
            until = f"to minute {alarm.end:.0f}" if alarm.end is not None else "and goes on"
            said.append(f"Alarm {alarm.rule}, {alarm.priority}, from minute {alarm.begin:.0f} {until}.")
        return " ".join(said) or "Nothing was measured."


def chart_of(
    session: Document,
    readings: Sequence[Document],
    limits: Sequence[Limit],
    alarms: Sequence[Document],
    entries: Sequence[Document],
    now: datetime,
) -> Chart:
    """Minute zero is the first dose; before one, when the session was opened."""
    zero = min((dose["at"] for dose in session["doses"]), default=session["created_at"])

    def minute(at: datetime) -> float:
        passed: float = (at - zero).total_seconds()
        return round(passed / 60, 3)

    doses = [
        Mark("dose", f"{dose['medication']} {dose['amount_mg']:g} mg", minute(dose["at"])) for dose in session["doses"]
    ]
    # Cut to whole minutes while the session is open, so that the same minute is the same picture.
    ended = session.get("ended_at")
    return Chart(
        title=f"Vital signs of session {session['_id']}",
        axis=f"minutes since {zero:%Y-%m-%d %H:%M} UTC" + (", the first dose" if session["doses"] else ""),
        now=minute(ended) if ended else float(int(minute(now))),
        series=_series(readings, minute),
        bounds=[
            Bound(SIGNS[one.rule.sign].name, one.name, one.bound, one.rule.priority)
            for one in limits
            if one.rule.sign in SIGNS
        ],
        marks=[*doses, *_done(entries, minute)],
        alarms=[_alarm(row, minute) for row in sorted(alarms, key=lambda row: (row["raised_at"], row["_id"]))],
    )


def _series(readings: Sequence[Document], minute: Callable[[datetime], float]) -> list[Series]:
    found: dict[str, list[Document]] = {}
    for row in readings:
        found.setdefault(row["sign"], []).append(row)
    made = []
    for sign, about in SIGNS.items():
        rows = sorted(found.get(sign, ()), key=lambda row: (counts_at(row), row["_id"]))
        points = [Point(minute(counts_at(row)), row["value"], not believed(row)) for row in rows]
        if points:
            made.append(Series(about.name, LABELS[about.name], points))
    return made


def _done(entries: Sequence[Document], minute: Callable[[datetime], float]) -> list[Mark]:
    marks = []
    for row in sorted(entries, key=lambda row: (row["occurred_at"], row["_id"])):
        if row["kind"] in DONE:
            code = row["facts"].get(DONE[row["kind"]] or "")
            label = code if row["kind"] == "intervention" and code else row["kind"].replace("_", " ")
            marks.append(Mark("intervention", str(label), minute(row["occurred_at"])))
    return marks


def _alarm(row: Document, minute: Callable[[datetime], float]) -> Alarm:
    """Accepted when somebody did, not when that was written down; who was at the chair already accepted as it was raised."""
    cleared, accepted = row.get("cleared_at"), row.get("acknowledged_occurred_at") or row.get("acknowledged_at")
    return Alarm(
        row["rule"],
        row["priority"],
        minute(row["raised_at"]),
        minute(cleared) if cleared else None,
        minute(max(accepted, row["raised_at"])) if accepted else None,
    )
