"""Signs by their LOINC code: unit (UCUM), bounds (clinical.md 3.1 with section 10), and what a machine may have made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

MANUAL = "manual"
HOLDS = timedelta(seconds=10)  # OWN: so long a finding outlasts its device's silence beside others (ADR 20)
Moment = tuple[datetime, float]
Row = dict[str, Any]
Verdict = Literal["plausible", "collapse", "quarantined"]
FLAT_READINGS = 60


class Outcome(NamedTuple):
    """What became of one reading, and what is wanted of whoever measures."""

    id: str
    result: Literal["stored", "duplicate", "quarantined", "refused"]
    reason: str | None = None
    wanted: Literal["remeasure", "confirm"] | None = None

    def told(self) -> dict[str, str]:
        """As the API says it."""
        return {name: text for name, text in zip(self._fields, self, strict=True) if text is not None}


def believed(reading: Mapping[str, Any]) -> bool:
    """Whether a stored reading counts: not moved away, no artefact, and believed by its bounds or by a human."""
    if reading.get("moved_to") is not None or reading.get("decision") == "artefact":
        return False
    return reading.get("quarantined") is None or reading.get("decision") == "confirmed"


def counts_at(reading: Mapping[str, Any]) -> datetime:
    """When a stored reading counts: of a clock that is wrong nothing is believed but the arrival."""
    at: datetime = reading["received_at"] if "clock_off_s" in reading else reading["taken_at"]
    return at


def doubt_of(reading: Mapping[str, Any]) -> Literal["implausible", "confirm"] | None:
    """Which alarm a stored reading speaks for, until a human decides or it is moved away."""
    if reading.get("decision") is not None or reading.get("moved_to") is not None:
        return None
    if reading.get("quarantined") is not None:
        return "implausible"
    return "confirm" if "confirm" in reading.get("flags", ()) else None


def settled(rows: Sequence[Row], decided: str) -> list[Row]:
    """Values of one moment, as people's decisions make them: the one that was confirmed last rejects the others.

    A rejected one has `rejected_by`, and is what it was once nobody's word stands against it any more. What came later
    than the decision was not known to it. `decided`: the id of the one that was decided about just now.
    """
    confirmed = [row for row in rows if "moved_to" not in row and _said(row) == "confirmed"]
    counts = max(confirmed, key=lambda row: (row["decided_at"], row["_id"] == decided), default=None)
    return [row if "moved_to" in row else _beside(row, counts) for row in rows]


def _said(row: Row) -> str | None:
    """By a human; what was rejected without `rejected_by` is from before there was that, and nobody's decision."""
    if "decided_by" not in row:
        return None
    return "confirmed" if "rejected_by" in row else row["decision"]


def _beside(row: Row, counts: Row | None) -> Row:
    if _said(row) == "artefact":
        return row
    bare = {name: kept for name, kept in row.items() if name not in ("decision", "rejected_by")}
    if row is counts:
        return bare | {"decision": "confirmed"}
    if counts is None or row["received_at"] > counts["decided_at"]:
        return bare
    return bare | {"decision": "artefact", "rejected_by": counts["_id"]}


@dataclass(frozen=True)
class Sign:
    """`lowest` to `highest` is believed, beyond is quarantined; below `collapse` it is a finding, zero included (section 10).

    Outside of `sure_low` to `sure_high` a human is asked to confirm. CFG, for flags only: a change of `jump` within ten
    seconds is more than a body does; a value that stands still for `flat_s` seconds comes from no body.
    """

    loinc: str
    name: str
    unit: str
    lowest: float
    highest: float
    collapse: float | None = None
    sure_low: float | None = None
    sure_high: float | None = None
    jump: float | None = None
    flat_s: float | None = None
    whole: bool = False


SIGNS = {
    sign.loinc: sign
    for sign in (
        Sign("8480-6", "systolic", "mm[Hg]", 0, 300, 40, 70, 220, jump=80, flat_s=300),
        Sign("8462-4", "diastolic", "mm[Hg]", 20, 200, None, 40, 130, jump=60, flat_s=300),
        Sign("8867-4", "heart_rate", "/min", 0, 300, 20, 40, 160, jump=80, flat_s=300),
        Sign("59408-5", "spo2", "%", 0, 100, 40, 85, None, jump=25),
        Sign("9279-1", "respiratory_rate", "/min", 0, 70, 1, 8, 35, jump=25, flat_s=600),
        Sign("8310-5", "temperature", "Cel", 30, 45, None, 35, 39, jump=1),
        Sign("19891-1", "etco2", "mm[Hg]", 0, 150, None, 20, 60, jump=40, flat_s=300),
        Sign("72514-3", "pain", "{score}", 0, 10, whole=True),
    )
}
BY_NAME = {sign.name: sign for sign in SIGNS.values()}
SYSTOLIC, DIASTOLIC = BY_NAME["systolic"].loinc, BY_NAME["diastolic"].loinc
JUMP_SECONDS = 10.0


def judge(loinc: str, value: float, unit: str, systolic: float | None = None) -> tuple[Verdict, str | None]:
    """Whether a value is believed, and if not, why. `systolic`: the one measured with this diastolic value, if any."""
    sign = SIGNS[loinc]
    reason = _fault(sign, value, unit)
    if reason is None and loinc == DIASTOLIC and systolic is not None and value >= systolic:
        reason = "diastolic_not_below_systolic"
    if reason is not None:
        return "quarantined", reason
    if sign.collapse is not None and value < sign.collapse:
        return "collapse", None
    return "plausible", None


def _fault(sign: Sign, value: float, unit: str) -> str | None:
    if unit != sign.unit:
        return "wrong_unit"
    if value > sign.highest:
        return "above_bound"
    if value < sign.lowest:
        return "below_bound"
    return "not_whole" if sign.whole and value != int(value) else None


def _ordinary_of(sign: Sign) -> tuple[float, float, str]:
    """The unit, and the values between which, ends excluded, it is believed as it is."""
    if sign.whole:
        return (0.0, 0.0, sign.unit)  # a fraction of it is no value
    lows, highs = (sign.lowest, sign.collapse, sign.sure_low), (sign.highest, sign.sure_high)
    return (
        float(max(bound for bound in lows if bound is not None)),
        float(min(bound for bound in highs if bound is not None)),
        sign.unit,
    )


_ORDINARY = {loinc: _ordinary_of(sign) for loinc, sign in SIGNS.items()}


def ordinary(loinc: str, value: float, unit: str) -> bool:
    """By itself plausible and not doubtful, seen at one look; of a value that is not ordinary nothing is said."""
    low, high, expected = _ORDINARY[loinc]
    return low < value < high and unit == expected


def doubtful(loinc: str, value: float) -> bool:
    """Believed, and to be confirmed by a human; it always alarms (clinical.md 3.1)."""
    sign = SIGNS[loinc]
    low, high = sign.sure_low, sign.sure_high
    return (low is not None and value < low) or (high is not None and value > high)


def confirmed_beyond(loinc: str, value: float) -> float | None:
    """The bound beyond which a human confirms this value; None of a sure one, and of a collapse: that has its own rule."""
    sign = SIGNS[loinc]
    if not doubtful(loinc, value) or (sign.collapse is not None and value < sign.collapse):
        return None
    return sign.sure_low if sign.sure_low is not None and value < sign.sure_low else sign.sure_high


class Seen(NamedTuple):
    """The newest reading of one sign by one device, and since when and how often the value has been this one."""

    value: float
    at: datetime
    since: datetime
    times: int = 1

    def then(self, value: float, at: datetime) -> "Seen":
        """The reading that follows; one from before it changes nothing."""
        if at < self.at:
            return self
        if value == self.value:
            return Seen(value, at, self.since, self.times + 1)
        return Seen(value, at, at)


def jumped(loinc: str, value: float, at: datetime, before: Seen) -> bool:
    """More than a body does in so short a time: flagged, and judged like any other."""
    jump = SIGNS[loinc].jump
    near = abs((at - before.at).total_seconds()) <= JUMP_SECONDS
    return jump is not None and near and abs(value - before.value) >= jump


def flat(loinc: str, value: float, at: datetime, before: Seen) -> bool:
    """A line without life: flagged, and judged like any other."""
    flat_s = SIGNS[loinc].flat_s
    if flat_s is None or value != before.value or before.times < FLAT_READINGS:
        return False
    return (at - before.since).total_seconds() >= flat_s
