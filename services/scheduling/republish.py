"""State events of scheduling: the present state, an upsert for whoever rebuilds a projection."""

from collections.abc import Mapping

from services.scheduling.model import checks_of, told
from services.scheduling.store import APPOINTMENTS, STAFF
from services.scheduling.usecases.staff import entry
from shared.events.scheduling import AppointmentState, StaffState
from shared.messaging.republish import Republish
from shared.persistence.mongo import Document


def appointment_state(row: Document) -> AppointmentState:
    ready = row["readiness"]["ready"] if row["readiness"] else None
    now = {"state": row["state"], "reason_code": row["reason_code"], "ready": ready, "checks": checks_of(row)}
    return told(AppointmentState, row, **now)


def staff_state(row: Document) -> StaffState:
    return StaffState.model_validate(entry(row))


REPUBLISH: Mapping[str, Republish] = {
    "AppointmentState": Republish(APPOINTMENTS, appointment_state, lambda row: f"appointment/{row['_id']}"),
    "StaffState": Republish(STAFF, staff_state, lambda row: f"staff/{row['staff_id']}"),
}
