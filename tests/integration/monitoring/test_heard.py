"""What others say arrives in any order: what is older replaces nothing that the dose gate rests on."""

import pytest

from shared.events import intake
from shared.events.envelope import Event
from shared.messaging.outcomes import Done, Skip
from tests.integration.monitoring.test_dose_gate import consent, eligible, plan, rems, risk, staff, summary
from tests.integration.monitoring.world import Chair

PATIENT = "01920000-0000-7000-8000-0000000000a1"
PAIRS: dict[str, tuple[Event, Event]] = {
    "consent": (consent(PATIENT, "revoked", intake.ConsentRevoked), consent(PATIENT)),
    "eligibility": (eligible(PATIENT, "declined"), eligible(PATIENT)),
    "risk": (risk(PATIENT), risk(PATIENT, intake.SuicideRiskCleared, flagged=False)),
    "summary": (summary(PATIENT, allergies=["rxnorm:6130"]), summary(PATIENT)),
    "rems": (rems(PATIENT, "disenrolled"), rems(PATIENT)),
    "staff": (staff(), staff("prescriber")),
    "plan": (plan(PATIENT, intake.TreatmentPlanPaused, version=3), plan(PATIENT, version=2)),
}


@pytest.mark.parametrize(("newer", "older"), PAIRS.values(), ids=list(PAIRS))
async def test_what_is_older_than_what_is_known_is_skipped(chair: Chair, newer: Event, older: Event) -> None:
    assert await chair.tells(newer, version=3) == Done()
    known = [await chair.mongo.plumbing(name).find({}) for name in ("known", "plans")]
    assert await chair.tells(older, version=2) == Skip("older")
    assert [await chair.mongo.plumbing(name).find({}) for name in ("known", "plans")] == known
    assert any(known)
