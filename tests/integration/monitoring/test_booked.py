"""By which protocol a booked visit is watched: its kind's, or the route's of its plan as it is known at check-in."""

from typing import Any

import pytest

from services.monitoring.usecases import sessions
from shared.ids import derived_id, new_id
from tests.integration.monitoring.test_dose_gate import APPOINTMENT, plan, visit
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
