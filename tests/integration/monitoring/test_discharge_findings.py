"""Which measured value a discharge rests on: the newest by the time that counts, of one moment the worse."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.scales import CADSS6_ITEMS
from services.monitoring.usecases import discharging, dosing, entries
from shared.errors import Conflict
from tests.integration.monitoring.world import NURSE, Chair, minutes

DIASTOLIC, SPO2, BREATHS = "8462-4", "59408-5", "9279-1"
SCALES: dict[str, dict[str, int]] = {
    "aldrete": dict.fromkeys(("activity", "breathing", "circulation", "consciousness", "saturation"), 2),
    "padss": dict.fromkeys(("vitals", "gait_and_orientation", "pain_nausea_vomiting", "intake_and_voiding"), 2),
}
FIT = bodies.Discharge(
    dissociation_resolved=True,
    escort_confirmed=True,
    aftercare=["no_driving", "written_instructions", "emergency_contact"],
)


async def observes(chair: Chair, code: str, **what: Any) -> None:
    body = bodies.Observation.model_validate({"observation_code": code, **what})
    await chair._run(lambda unit: entries.add(unit, chair.deps, chair.session_id, "observation", body))


async def recovers(chair: Chair) -> None:
    """Fit to go since the infusion ended more than an hour ago, but for what is measured."""
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, "stop", schemas.Infusion()))
    chair.clock.advance(70 * 60)
    for code, items in SCALES.items():
        await observes(chair, code, items=items)
    await observes(chair, "moaas", score=5)


async def missing(chair: Chair, at: datetime | None = None) -> set[str]:
    """The criteria that keep the patient here; none after the discharge, which may be told for a time before."""
    fit = FIT.model_copy(update={"occurred_at": at})
    try:
        await chair._run(lambda unit: discharging.discharge(unit, chair.deps, chair.session_id, fit), NURSE)
    except Conflict as conflict:
        return {reason["code"] for reason in conflict.reasons}
    return set()


@pytest.mark.parametrize(
    "values", [(155, 120), (120, 155), (85, 120), (120, 85)], ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
async def test_of_two_pressures_of_one_moment_the_farther_from_the_baseline_counts(
    chair: Chair, values: tuple[float, float]
) -> None:
    await recovers(chair)
    await chair.measures(80, DIASTOLIC)
    for value in values:
        await chair.measures(value)
    assert "blood_pressure_near_baseline" in await missing(chair)


@pytest.mark.parametrize("values", [(93, 97), (97, 93)], ids=lambda pair: f"{pair[0]}-{pair[1]}")
@pytest.mark.parametrize("device", ["m1", "m2"], ids=["one device", "two devices"])
async def test_of_two_saturations_of_one_moment_the_lower_counts(
    chair: Chair, values: tuple[float, float], device: str
) -> None:
    await recovers(chair)
    await chair.sends(chair.reading(120), chair.reading(80, DIASTOLIC))
    await chair.measures(values[0], SPO2)
    await chair.measures(values[1], SPO2, device=device)
    assert await missing(chair) >= {"breathing_resolved"}


@pytest.mark.parametrize("values", [(14, 25), (25, 14), (14, 9), (9, 14)], ids=lambda pair: f"{pair[0]}-{pair[1]}")
async def test_of_two_counts_of_breaths_the_one_beyond_a_limit_counts(
    chair: Chair, values: tuple[float, float]
) -> None:
    await recovers(chair)
    await chair.sends(chair.reading(120), chair.reading(80, DIASTOLIC))
    for value in values:
        await chair.measures(value, BREATHS)
    assert "breathing_resolved" in await missing(chair)


async def test_what_a_clock_that_is_ahead_said_before_hides_nothing_that_came_after(chair: Chair) -> None:
    await recovers(chair)
    ahead = chair.clock.clinical_now() + minutes(20)
    await chair.sends(chair.reading(120, at=ahead), chair.reading(80, DIASTOLIC, at=ahead))
    chair.clock.advance(18 * 60)
    await chair.sends(chair.reading(155, device="m2"), chair.reading(80, DIASTOLIC, device="m2"))
    chair.clock.advance(3 * 60)
    assert "blood_pressure_near_baseline" in await missing(chair)


@pytest.mark.parametrize(("since", "found"), [(0, set()), (31, {"blood_pressure_near_baseline"})])
async def test_what_a_wrong_clock_says_counts_from_its_arrival_for_as_long_as_any_finding(
    chair: Chair, since: float, found: set[str]
) -> None:
    await recovers(chair)
    a_day_ahead = chair.clock.clinical_now() + minutes(24 * 60)
    await chair.sends(chair.reading(120, at=a_day_ahead), chair.reading(80, DIASTOLIC, at=a_day_ahead))
    chair.clock.advance(since * 60)
    assert await missing(chair) & {"blood_pressure_near_baseline"} == found


@pytest.mark.parametrize(
    ("unwell", "criterion"),
    [
        (lambda chair: chair.measures(155), "blood_pressure_near_baseline"),
        (lambda chair: chair.measures(93, SPO2), "breathing_resolved"),
        (lambda chair: observes(chair, "moaas", score=4), "moaas"),
        (
            lambda chair: observes(chair, "cadss6", items=dict.fromkeys(map(str, CADSS6_ITEMS), 3)),
            "dissociation_resolved",
        ),
    ],
    ids=["pressure", "saturation", "sedation", "dissociation"],
)
async def test_a_discharge_told_for_before_passes_over_no_finding_of_after(
    chair: Chair, unwell: Callable[[Chair], Awaitable[Any]], criterion: str
) -> None:
    await recovers(chair)
    await chair.sends(chair.reading(120), chair.reading(80, DIASTOLIC), chair.reading(97, SPO2))
    well = chair.clock.clinical_now()
    chair.clock.advance(5 * 60)
    await unwell(chair)
    assert criterion in await missing(chair, at=well)


async def test_a_discharge_told_for_before_is_of_then(chair: Chair) -> None:
    await recovers(chair)
    await chair.sends(chair.reading(120), chair.reading(80, DIASTOLIC))
    left = chair.clock.clinical_now()
    chair.clock.advance(5 * 60)
    assert await missing(chair, at=left) == set()
    assert (await chair.session())["ended_at"] == left
