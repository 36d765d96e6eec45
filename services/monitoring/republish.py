"""State events of monitoring, for those who rebuild a projection."""

from collections.abc import Mapping

from services.monitoring.store import SESSIONS
from shared.events.monitoring import SessionState, StaffRef
from shared.messaging.republish import Republish
from shared.persistence.mongo import Document


def _session(row: Document) -> SessionState:
    names = ("patient_id", "appointment_id", "plan_id", "state", "room", "chair")
    staff = [StaffRef(**person) for person in row["responsible_staff"]]
    return SessionState(session_id=row["_id"], responsible_staff=staff, **{name: row[name] for name in names})


REPUBLISH: Mapping[str, Republish] = {
    "SessionState": Republish(SESSIONS, _session, lambda row: f"session/{row['_id']}"),
}
