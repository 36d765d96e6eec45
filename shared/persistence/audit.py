"""Who did what to whose data, and when: a row in the transaction of the act, in a collection that is insert-only."""

from datetime import datetime

from shared.ids import new_id
from shared.persistence.mongo import Document, UnitOfWork


def audit(
    unit: UnitOfWork, action: str, subject: str, *, patient_id: str | None = None, late_from: datetime | None = None
) -> None:
    """Stage one audit row, e.g. `audit(unit, "session.dose", "session/0190...", patient_id=...)`.

    `late_from`: when it happened, where it could not be noted then (the store was gone); the row is marked late.
    """
    actor = unit.scope.actor
    row: Document = {
        "_id": new_id(),
        "clinic_id": unit.scope.clinic_id,
        "at": unit.clock.system_now(),
        "actor": actor.id,
        "role": actor.role,
        "purpose": unit.scope.purpose,
        "action": action,
        "subject": subject,
        "patient_id": patient_id,
        "trace": unit.scope.traceparent,
    }
    if late_from is not None:
        row |= {"late": True, "happened_at": late_from}
    unit.stage("audit", row)
