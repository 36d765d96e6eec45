"""What a prescriber answers for at one dose is no answer for the next one."""

from typing import Any

import pytest

from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases.correcting_entries import correct
from tests.integration.monitoring.test_dose_gate import Visit, plan
from tests.integration.monitoring.test_dose_gate_again import asks_for_two
from tests.integration.monitoring.world import PRESCRIBER, Chair

ANSWERED = {"override_reason": "benefit_exceeds_risk"}


async def later(chair: Chair, minutes: float = 5) -> None:
    chair.clock.advance(minutes * 60)
    await chair.hears()


async def test_a_gap_between_devices_that_was_answered_for_is_no_answer_for_the_next_gap(chair: Chair) -> None:
    visit = await Visit(chair).arrives(weight_kg=90)
    await visit.doses()
    await later(chair, 1)
    await visit.doses(PRESCRIBER, **ANSWERED)
    await later(chair, 0.2)
    assert await visit.refused() == {"device_gap": "overridable"}


async def test_an_amount_above_the_plan_that_was_answered_for_is_no_answer_for_a_further_one(chair: Chair) -> None:
    visit = await Visit(chair).arrives()
    await chair.tells(plan(chair.patient_id, version=2, dose_mg_per_kg=0.1), version=2)
    await visit.doses(PRESCRIBER, **ANSWERED)
    await later(chair)
    assert await visit.refused() == {"above_plan": "overridable"}


async def test_what_is_no_single_doses_stays_answered_for_fifteen_minutes(chair: Chair) -> None:
    visit = await Visit(chair).arrives(systolic=150)
    await visit.doses(PRESCRIBER, **ANSWERED)
    await later(chair)
    assert [dose["device_no"] for dose in (await visit.doses())["doses"]] == [1, 2]


async def test_an_override_at_the_gate_is_of_the_dose_that_follows(chair: Chair) -> None:
    """Of a gap to the session before; the dose that followed proves to be another patient's."""
    chair.clock.advance(47 * 3600)
    visit = await Visit(chair, chair.patient_id).arrives()
    await visit.overridden()
    await visit.doses()
    [entry] = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "dose"})
    never = bodies.Correction(reason_code="wrong_patient", entered_in_error=True)
    await chair._run(lambda unit: correct(unit, chair.deps, chair.session_id, entry["_id"], never))
    assert await visit.refused() == {"minimum_gap": "overridable"}


@pytest.mark.parametrize(
    ("checked", "code"),
    [({}, "second_check_missing"), ({"checked_by": "stranger"}, "checker_unknown")],
)
async def test_a_check_that_was_answered_for_is_asked_for_at_the_next_dose(
    chair: Chair, monkeypatch: pytest.MonkeyPatch, checked: dict[str, Any], code: str
) -> None:
    asks_for_two(chair, monkeypatch)
    visit = await Visit(chair).arrives()
    await visit.doses(PRESCRIBER, **ANSWERED, **checked)
    await later(chair)
    assert await visit.refused(**checked) == {code: "overridable"}
