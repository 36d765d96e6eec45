"""What is told of a session as a whole."""

from shared.events.monitoring import SessionState, StaffRef
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork


def state_of(session: Document) -> SessionState:
    names = ("patient_id", "appointment_id", "plan_id", "state", "room", "chair")
    staff = [StaffRef(**person) for person in session["responsible_staff"]]
    return SessionState(session_id=session["_id"], responsible_staff=staff, **{name: session[name] for name in names})


def tell_recovery(unit: UnitOfWork, before: Document, after: Document) -> None:
    """When it begins with this step, whoever or whatever began it."""
    if after["state"] == "recovery" != before["state"]:
        emit(unit, state_of(after), aggregate=f"session/{after['_id']}", version=after["version"])
