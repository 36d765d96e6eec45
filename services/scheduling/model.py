"""The visit: its states as one table, its readiness; the content of protocols/visits.yaml. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import Field

from shared.errors import Conflict
from shared.events.scheduling import AppointmentBooked, CheckName, CheckResult, ResourceRef
from shared.persistence.mongo import Document
from shared.protocols import Protocol

A = TypeVar("A", bound=AppointmentBooked)

_PLANNED = ("booked", "confirmed")
_NOT_HELD = (*_PLANNED, "no_show", "cancelled")
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    # What people decide.
    "confirm": {"booked": "confirmed"},
    "reschedule": dict.fromkeys(_PLANNED, "booked"),
    "cancel": dict.fromkeys(_PLANNED, "cancelled"),
    "no_show": dict.fromkeys(_PLANNED, "no_show"),
    "readiness": {name: name for name in (*_PLANNED, "arrived")},
    # What monitoring says happened counts, whatever the book says; a state goes back only where nobody had come.
    "arrive": dict.fromkeys(_NOT_HELD, "arrived"),
    "start": dict.fromkeys((*_NOT_HELD, "arrived"), "in_progress"),
    "complete": dict.fromkeys((*_NOT_HELD, "arrived", "in_progress"), "completed"),
    "abort": dict.fromkeys((*_NOT_HELD, "arrived", "in_progress", "completed"), "aborted"),
    "not_arrived": {"arrived": "booked"},
}
LIVE = _PLANNED
VOID = ("cancelled", "no_show", "aborted")
"""States in which a visit takes no number of its course: that session has not been given."""


class Integration(Protocol):
    minutes: int
    earliest_hours_after: int
    latest_hours_after: int


class Reminder(Protocol):
    stage: str
    hours_before: float


class Phase(Protocol):
    """So many sessions, each `days` after the one before; the days repeat in turn, the last phase goes on."""

    sessions: Annotated[int, Field(ge=1)]
    days: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class CourseRule(Protocol):
    """One route: how long a visit is in all, how its sessions follow each other, which consent they rest on."""

    consent: str
    minutes: Annotated[int, Field(ge=5, le=480)]
    phases: Annotated[Sequence[Phase], Field(min_length=1)]


class VisitProtocol(Protocol):
    """protocols/visits.yaml."""

    version: str
    time_zone: str
    integration: Integration
    reminders: Sequence[Reminder]
    readiness: Mapping[str, Sequence[CheckName]]
    hold_seconds: int
    step_minutes: int
    flex_hours: int
    slack_days: int
    courses: Mapping[str, CourseRule]

    def consents(self, route: str | None) -> set[str]:
        """Without whose signature nothing is given by this route; of all routes where it is not known."""
        return {rule.consent for name, rule in self.courses.items() if route in (None, name)}


def changed(document: Document, now: datetime, **fields: object) -> Document:
    """The next version of a document."""
    return {**document, **fields, "version": document["version"] + 1, "updated_at": now}


def allows(appointment: Document, verb: str) -> bool:
    return appointment["state"] in TRANSITIONS[verb]


def moved(appointment: Document, verb: str, now: datetime, **fields: object) -> Document:
    """The appointment after `verb`. Raises Conflict that names the state which forbids it."""
    target = TRANSITIONS[verb].get(appointment["state"])
    if target is None:
        state = appointment["state"]
        words = f"An appointment that is {state.replace('_', ' ')} does not allow this."
        raise Conflict(words, reasons=[{"code": f"appointment_{state}", "detail": words}])
    return changed(appointment, now, state=target, **fields)


def happened(appointment: Document, verb: str, now: datetime) -> Document:
    """As monitoring says; after a check-in by mistake it is what it was before. Raises Conflict."""
    if verb == "arrive":
        return moved(appointment, verb, now, before_arrival=appointment["state"])
    after = moved(appointment, verb, now)
    return after | {"state": after.get("before_arrival", after["state"])} if verb == "not_arrived" else after


def no_show(appointment: Document, now: datetime) -> Document:
    """Raises Conflict before its time, for until then the patient may come."""
    if allows(appointment, "no_show") and now < appointment["start"]:
        reason = {"code": "not_begun", "detail": "The appointment has not begun yet."}
        raise Conflict(reason["detail"], reasons=[reason])
    return moved(appointment, "no_show", now)


def with_checks(
    appointment: Document, checks: Mapping[str, bool], required: Sequence[str], by_role: str, now: datetime
) -> Document:
    """What is asked now replaces what was answered before, check by check. Raises Conflict."""
    known = {**((appointment["readiness"] or {}).get("checks", {})), **checks}
    ready = all(known.get(name, False) for name in required) and all(known.values())
    readiness = {"checks": known, "ready": ready, "at": now, "by_role": by_role}
    return moved(appointment, "readiness", now, readiness=readiness)


def checks_of(appointment: Document) -> list[CheckResult]:
    known: Mapping[Any, bool] = (appointment["readiness"] or {}).get("checks", {})
    return [CheckResult(check=name, ok=ok) for name, ok in known.items()]


def missing(appointment: Document, required: Sequence[CheckName]) -> list[CheckName]:
    """The checks that this kind of visit needs and that are not ok."""
    known: Mapping[str, bool] = (appointment["readiness"] or {}).get("checks", {})
    return [name for name in required if not known.get(name, False)]


def told(kind: type[A], appointment: Document, **fields: object) -> A:
    """The event `kind` with the whole appointment."""
    names = ("patient_id", "kind", "mode", "location_id", "plan_id", "sequence_no", "of", "start", "end", "time_zone")
    whole = {name: appointment[name] for name in names} | fields
    resources = [ResourceRef(**row) for row in appointment["resources"]]
    return kind.model_validate({"appointment_id": appointment["_id"], "resources": resources, **whole})
