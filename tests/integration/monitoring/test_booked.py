"""By which protocol a booked visit is watched: its kind's, or the route's of its plan, as far as that is known."""

from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import baseline, sessions
from shared.ids import derived_id, new_id
from tests.integration.monitoring.test_dose_gate import APPOINTMENT, PLAN, plan, visit
from tests.integration.monitoring.test_protocols import arrival
from tests.integration.monitoring.world import NURSE, Chair


async def arrives(chair: Chair) -> str:
    """The protocol of the visit from check-in on."""
    booked = derived_id("session", APPOINTMENT)
    row = await chair.mongo.run(NURSE, lambda unit: sessions.check_in(unit, chair.deps, booked, arrival()))
    return str(row["protocol_version"])


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("dosing", "esketamine-2026-11"),
        ("group", "esketamine-2026-11"),
        ("preparation", "preparation-2026-11"),
        ("integration", "integration-2026-11"),
        ("wellness", "wellness-2026-11"),
    ],
)
async def test_a_visit_of_a_plan_is_watched_by_its_route_only_where_a_dose_may_be_given(
    chair: Chair, kind: Any, version: str
) -> None:
    patient = new_id()
    await chair.tells(plan(patient))
    await chair.tells(visit(patient).model_copy(update={"kind": kind}))
    assert await arrives(chair) == version


async def test_a_visit_that_was_booked_before_its_plan_was_known_is_dosed_by_the_plans_route(chair: Chair) -> None:
    patient = new_id()
    await chair.tells(visit(patient))
    await chair.tells(plan(patient))
    assert await arrives(chair) == "esketamine-2026-11"


@pytest.mark.parametrize("known", ["before check-in", "before the baseline", "after the baseline"])
async def test_what_was_opened_before_its_plan_was_known_goes_by_the_plans_route_once_it_is(
    chair: Chair, known: str
) -> None:
    patient, base = new_id(), schemas.Baseline(systolic=120, diastolic=80, heart_rate=70, spo2=98, weight_kg=70)
    asked = schemas.NewSession(patient_id=patient, plan_id=PLAN)
    opened = await chair._run(lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    chair.session_id = opened["_id"]
    steps = [
        ("before check-in", lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, arrival())),
        ("before the baseline", lambda unit: baseline.take(unit, chair.deps, chair.session_id, base)),
        ("after the baseline", lambda unit: baseline.take(unit, chair.deps, chair.session_id, base)),
    ]
    for moment, step in steps:
        if moment == known:
            assert chair.deps.dosing(await chair.session()).route == "iv"
            await chair.tells(plan(patient))
        await chair._run(step)
    assert chair.deps.dosing(await chair.session()).route == "esketamine_nasal"
    assert "plan_other_route" not in await chair.gate()


async def test_a_route_that_a_person_named_stays_whatever_the_plan_says(chair: Chair) -> None:
    patient, base = new_id(), schemas.Baseline(systolic=120, diastolic=80, heart_rate=70, spo2=98, weight_kg=70)
    asked = schemas.NewSession(patient_id=patient, plan_id=PLAN, route="im")
    opened = await chair._run(lambda unit: sessions.open_unscheduled(unit, chair.deps, asked))
    chair.session_id = opened["_id"]
    await chair.tells(plan(patient))
    await chair._run(lambda unit: sessions.check_in(unit, chair.deps, chair.session_id, arrival()))
    await chair._run(lambda unit: baseline.take(unit, chair.deps, chair.session_id, base))
    assert (await chair.gate())["plan_other_route"] == "overridable"
