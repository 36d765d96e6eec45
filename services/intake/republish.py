"""State events of intake, for those who rebuild a projection. Every type here is an upsert without action."""

from collections.abc import Mapping

from services.intake import facts
from services.intake.store import CLINICS, CONSENTS, ELIGIBILITY, PATIENTS, PLANS, REMS, RISKS, SUMMARIES
from shared.events.intake import ConsentState, EligibilityState, PatientState, PlanState, RiskState
from shared.messaging.republish import Republish

REPUBLISH: Mapping[str, Republish] = {
    "PatientState": Republish(
        PATIENTS, lambda row: PatientState(**facts.patient_facts(row)), lambda row: f"patient/{row['_id']}"
    ),
    "PlanState": Republish(PLANS, lambda row: PlanState(**facts.plan_facts(row)), lambda row: f"plan/{row['_id']}"),
    "ConsentState": Republish(
        CONSENTS, lambda row: ConsentState(**facts.consent_facts(row)), lambda row: f"consent/{row['_id']}"
    ),
    "EligibilityState": Republish(
        ELIGIBILITY,
        lambda row: EligibilityState(**facts.eligibility_facts(row)),
        lambda row: f"eligibility/{row['patient_id']}",
    ),
    "RiskState": Republish(RISKS, lambda row: RiskState(**facts.risk_facts(row)), lambda row: f"risk/{row['_id']}"),
    "ClinicChanged": Republish(CLINICS, facts.clinic_changed, lambda row: f"clinic/{row['_id']}"),
    "ClinicalSummaryChanged": Republish(SUMMARIES, facts.summary_changed, lambda row: f"clinical-summary/{row['_id']}"),
    "RemsEnrolmentChanged": Republish(REMS, facts.rems_changed, lambda row: f"rems-enrolment/{row['_id']}"),
}
