"""Events that can be read and yet are strange, heard by every service: told by later code, and under a wrong clinic."""

from collections import defaultdict
from typing import Any

import pytest

from deploy.local.stack import Stack
from services.intake import schemas
from services.intake.usecases import plans
from shared.events.envelope import Event
from shared.ids import new_id
from shared.messaging.outcomes import Done, Outcome, Reject, Skip
from shared.messaging.topics import SERVICES
from shared.persistence.mongo import UnitOfWork
from shared.persistence.scope import system_scope
from tests.contract.test_readers import places, replaced
from tests.integration.messaging.listener import Listener, listening, payload_of

HERE = "01920000-0000-7000-8000-0000000000c3"
LAST = ("InquiryErased", "PatientErased")  # nobody hears more of whoever is erased
SEALED = "Reject contact_undecryptable"  # the example of a contact is sealed with nobody's key

# What was told under a clinic that has nothing of it. What is not here is a fact of its own, and is kept under that clinic.
NOTHING_THERE: dict[str, dict[str, str]] = {
    "intake": {
        "Skip nothing_to_count": "SessionCompleted",
        "Skip nothing_to_review": "AdverseEventReported SessionAborted",
    },
    "scheduling": {
        "Skip unscheduled_or_older": "SessionCheckedIn SessionStarted",
        "Skip not_voided": "SessionState",
        "Reject handler_failed": (
            "ConsentExpired ConsentRevoked ConsentSigned ConsentState DoseAdministered DoseCorrected PatientErased "
            "PatientRegistered PatientState PlanState RiskState SessionAborted SessionCompleted SuicideRiskCleared "
            "SuicideRiskFlagged TreatmentPlanActivated TreatmentPlanCompleted TreatmentPlanDiscontinued "
            "TreatmentPlanPaused TreatmentPlanResumed TreatmentPlanRevised"
        ),
    },
    "monitoring": {
        "Skip nothing_to_void": "AppointmentCancelled AppointmentNoShow",
        "Skip alarm_unknown": "EscalationAcknowledged EscalationStepTaken",
        "Reject handler_failed": (
            "AppointmentBooked AppointmentConfirmed AppointmentRescheduled AppointmentState PlanState "
            "TreatmentPlanActivated TreatmentPlanCompleted TreatmentPlanDiscontinued TreatmentPlanPaused "
            "TreatmentPlanResumed TreatmentPlanRevised"
        ),
    },
    "notifications": {
        SEALED: "ContactRecord",
        "Reject handler_failed": (
            "AppointmentBooked AppointmentCancelled AppointmentRescheduled AppointmentState InquiryErased "
            "InquiryReceived PatientDischarged PatientErased ReminderDue SessionReassigned SessionState"
        ),
    },
}


def named(outcome: Outcome | None) -> str:
    match outcome:
        case Skip(reason):
            return f"Skip {reason}"
        case Reject(code):
            return f"Reject {code}"
    return type(outcome).__name__


async def a_plan(listener: Listener) -> str:
    """Intake hears of what it has made itself."""

    async def work(unit: UnitOfWork) -> str:
        await unit.collection("patients").insert({"_id": "p1"})
        body = schemas.NewPlan(route="iv", dose_mg_per_kg=0.5, session_count=6)
        row = await plans.draft_plan(unit, listener.deps, "p1", body)
        return str((await plans.move_plan(unit, row["_id"], "activate", 1, None))["_id"])

    return await listener.mongo.run(system_scope(HERE, "test"), work)


async def examples(listener: Listener, service: str) -> dict[type[Event], dict[str, Any]]:
    """One of each event that the service handles, all about the same person and visit; erasures come last."""
    about: dict[str, Any] = {"patient_id": "p1", "plan_id": await a_plan(listener)} if service == "intake" else {}
    about |= {"kind": "dosing", "serious": True, "start": "2026-03-09T15:00:00Z", "end": "2026-03-09T16:00:00Z"}
    told = {
        kind: payload | {name: item for name, item in about.items() if name in payload}
        for kind in listener.handlers
        for payload in [payload_of(kind)]
    }
    return dict(sorted(told.items(), key=lambda pair: pair[0].__name__ in LAST))


def of_the_future(kind: type[Event], payload: dict[str, Any]) -> dict[str, Any]:
    """Each code is one that nobody knows yet, and there is a field more."""
    schema = kind.model_json_schema()
    for place, part in places(schema, schema):
        if "enum" in part or "const" in part:
            payload = replaced(payload, place, "invented_later")
    session = {"session_id": new_id()} if "session_id" in payload else {}
    return payload | session | {"invented_later": {"more": 1}}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_handler_stumbles_over_what_later_code_tells(stores: Stack, service: str) -> None:
    stumbled = {}
    async with listening(stores, service) as listener:
        for number, (kind, payload) in enumerate((await examples(listener, service)).items(), 1):
            for version, told in ((2 * number, payload), (2 * number + 1, of_the_future(kind, payload))):
                whole = told | ({"version": version} if isinstance(told.get("version"), int) else {})
                outcome = await listener.hears(kind, whole, HERE, version)
                if not isinstance(outcome, Done | Skip) or outcome == Skip("erased"):
                    stumbled[kind.__name__] = named(outcome)
    assert stumbled == ({"ContactRecord": SEALED} if service == "notifications" else {})


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_told_under_a_wrong_clinic_is_skipped_or_kept_as_a_dead_letter_and_changes_nothing_here(
    stores: Stack, service: str
) -> None:
    outcomes, left = defaultdict(list), {}
    async with listening(stores, service) as listener:
        told = await examples(listener, service)
        for kind, payload in told.items():
            if service != "intake" and kind.__name__ not in LAST:  # intake has its plan, which waits for these
                await listener.hears(kind, payload, HERE)
        before = await listener.rows(HERE)
        for kind, payload in told.items():
            outcome = named(await listener.hears(kind, payload, f"of-{kind.__name__}", version=9))
            outcomes[outcome].append(kind.__name__)
            if outcome != "Done" and (rows := await listener.rows(f"of-{kind.__name__}")):
                left[kind.__name__] = rows
        assert await listener.rows(HERE) == before
    outcomes.pop("Done", None)
    assert {outcome: " ".join(sorted(names)) for outcome, names in outcomes.items()} == NOTHING_THERE[service]
    assert left == {}
