"""State events of intake, for those who rebuild a projection."""

from collections.abc import Mapping

from services.intake.store import PATIENTS, PLANS
from services.intake.usecases import plan_state
from shared.events.intake import PatientState
from shared.messaging.republish import Republish
from shared.persistence.mongo import Document


def _patient(row: Document) -> PatientState:
    return PatientState(patient_id=row["_id"], birth_year=row["birth_year"], time_zone=row["time_zone"])


REPUBLISH: Mapping[str, Republish] = {
    "PatientState": Republish(PATIENTS, _patient, lambda row: f"patient/{row['_id']}"),
    "PlanState": Republish(PLANS, plan_state, lambda row: f"plan/{row['_id']}"),
}
