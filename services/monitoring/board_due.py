"""What comes next at a chair, and when. Pure; all times are clinical."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.monitoring.model import PHASE
from shared.persistence.mongo import Document


@dataclass(frozen=True)
class Due:
    """`at` None is now; `signs` (LOINC) of a measurement."""

    code: str
    at: datetime | None
    signs: tuple[str, ...] = ()


class Scheduled(Protocol):
    """A measurement of a protocol's schedule: minutes from a dose, or every so many."""

    @property
    def signs(self) -> Sequence[str]: ...
    @property
    def phase(self) -> str: ...
    @property
    def since(self) -> str: ...
    @property
    def at_minutes(self) -> Sequence[float]: ...
    @property
    def every_minutes(self) -> float | None: ...


def due_next(row: Document, protocol: Any, taken: Mapping[str, datetime]) -> Due | None:
    """The earliest step that somebody waits for. `taken`: when each sign was measured last.

    A protocol has a gate and a discharge only where a dose is given, and a schedule only where something is measured.
    """
    steps = [step for step in (_by_state(row, protocol), *_measurements(row, protocol, taken)) if step is not None]
    return min(steps, key=lambda step: (step.at is not None, step.at), default=None)


def _by_state(row: Document, protocol: Any) -> Due | None:
    state, doses = row["state"], row["doses"]
    gate, discharge = getattr(protocol, "gate", None), getattr(protocol, "discharge", None)
    if state == "checked_in":
        return Due("baseline", None) if gate else None
    if state in ("baseline", "gate_open") and gate and row["baseline_at"]:
        return Due("dose_before", row["baseline_at"] + timedelta(minutes=gate.valid_minutes))
    if state in ("dosing", "recovery") and doses and discharge:
        last = max(dose["at"] for dose in doses)
        return Due("discharge_from", last + timedelta(minutes=discharge.min_minutes_after_dose))
    return None


def _measurements(row: Document, protocol: Any, taken: Mapping[str, datetime]) -> Iterator[Due]:
    schedule: Sequence[Scheduled] = getattr(protocol, "schedule", ())
    times = [dose["at"] for dose in row["doses"]]
    for item in schedule:
        if item.signs and item.phase == PHASE.get(row["state"]) and times:
            dose = min(times) if item.since == "first_dose" or item.phase == "dosing" else max(times)
            measured = [taken[sign] for sign in item.signs if sign in taken]
            last = min(measured) if len(measured) == len(item.signs) else None
            at = _at(item, dose, last)
            if at is not None:
                yield Due("measure", at, tuple(item.signs))


def _at(item: Scheduled, dose: datetime, last: datetime | None) -> datetime | None:
    """The first time that was not measured yet; then again and again."""
    for minutes in item.at_minutes:
        at = dose + timedelta(minutes=minutes)
        if last is None or last < at:
            return at
    if item.every_minutes is None:
        return None
    return max(last or dose, dose) + timedelta(minutes=item.every_minutes)
