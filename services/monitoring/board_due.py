"""What comes next at a chair, and when. Pure; all times are clinical."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.monitoring.discharge import last_given
from services.monitoring.protocol import Measurement
from services.monitoring.schedule import began, due_after
from shared.persistence.mongo import Document


@dataclass(frozen=True)
class Due:
    """`at` None is now; `signs` of a measurement by LOINC code, scales by theirs."""

    code: str
    at: datetime | None
    signs: tuple[str, ...] = ()


def due_next(row: Document, protocol: Any, taken: Mapping[str, datetime]) -> Due | None:
    """The earliest step that somebody waits for. `taken`: when each sign was measured last.

    A protocol has a gate and a discharge only where a dose is given, and a schedule only where something is measured.
    """
    steps = [step for step in (_by_state(row, protocol), *_measurements(row, protocol, taken)) if step is not None]
    return min(steps, key=lambda step: (step.at is not None, step.at), default=None)


def _by_state(row: Document, protocol: Any) -> Due | None:
    state = row["state"]
    gate, discharge = getattr(protocol, "gate", None), getattr(protocol, "discharge", None)
    if state == "checked_in":
        return Due("baseline", None) if gate else None
    if state in ("baseline", "gate_open") and gate and row["baseline_at"]:
        return Due("dose_before", row["baseline_at"] + timedelta(minutes=gate.valid_minutes))
    if state in ("dosing", "recovery") and discharge:
        given = last_given(row, infused=protocol.infused)
        return Due("discharge_from", given + timedelta(minutes=discharge.min_minutes_after_dose)) if given else None
    return None


def _measurements(row: Document, protocol: Any, taken: Mapping[str, datetime]) -> Iterator[Due]:
    """What the session's timers wait for; what was measured in its time is due again when the schedule says so."""
    for item in getattr(protocol, "schedule", ()):
        at = (row.get("due") or {}).get(item.name)
        asked = (*item.signs, *item.scales)
        if at is None or not asked:
            continue
        opens_at = at - timedelta(minutes=item.grace_minutes)
        if all(name in taken and taken[name] >= opens_at for name in asked):
            at = _following(row, item, at)
        if at is not None:
            yield Due("measure", at, asked)


def _following(row: Document, item: Measurement, before: datetime) -> datetime | None:
    found = due_after(item, began(row, item, row["phase_since"]), before)
    return found.at if found else None
