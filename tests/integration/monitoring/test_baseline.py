"""What is typed into the baseline is measured too: it is judged, charted, and alarms like any other reading."""

import pytest
from pydantic import ValidationError

from services.monitoring import schemas
from services.monitoring.store import VITALS
from services.monitoring.usecases import baseline
from tests.integration.monitoring.world import Chair, minutes

BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}


async def types(chair: Chair, **base: object) -> None:
    body = schemas.Baseline.model_validate(BASE | base)
    await chair._run(lambda unit: baseline.take(unit, chair.deps, chair.session_id, body))


@pytest.fixture
async def seated(chair: Chair) -> Chair:
    chair = await chair.seat(dose=False)
    chair.clock.advance(60)
    return chair


async def test_a_low_saturation_in_the_baseline_is_an_alarm_after_its_delay(seated: Chair) -> None:
    await types(seated, spo2=86)
    await seated.ticks(6)
    assert [alarm["rule"] for alarm in await seated.alarms(priority="high")] == ["spo2_critical_low"]


async def test_a_collapse_in_the_baseline_is_an_alarm_at_once(seated: Chair) -> None:
    await types(seated, heart_rate=0)
    assert "hr_collapse" in [alarm["rule"] for alarm in await seated.alarms()]


async def test_a_doubtful_value_in_the_baseline_asks_for_a_human(seated: Chair) -> None:
    await types(seated, respiratory_rate=38)
    assert "confirm:9279-1" in [alarm["rule"] for alarm in await seated.alarms()]


async def test_a_deep_sedation_in_the_baseline_is_an_alarm(seated: Chair) -> None:
    await types(seated, moaas=2)
    assert [alarm["rule"] for alarm in await seated.alarms()] == ["moaas_critical"]


async def test_a_sedation_in_the_baseline_is_an_observation_with_its_scales_version(seated: Chair) -> None:
    await types(seated, moaas=5)
    query = {"session_id": seated.session_id, "kind": "observation"}
    facts = [row["facts"] for row in await seated.mongo.plumbing("entries").find(query)]
    assert facts == [{"observation_code": "moaas", "score": 5, "scale_version": "moaas-0-5"}]


async def test_a_baseline_that_is_well_again_clears_what_the_first_one_raised(seated: Chair) -> None:
    await types(seated, spo2=86)
    await seated.ticks(6)
    (alarm,) = await seated.alarms(rule="spo2_critical_low")
    await seated.acknowledges(alarm["_id"])
    seated.clock.advance(60)
    await types(seated)
    assert [row["open"] for row in await seated.alarms(rule="spo2_critical_low")] == [False]


async def test_the_baseline_is_charted_as_measured_by_hand_when_it_was_taken(seated: Chair) -> None:
    earlier = seated.clock.clinical_now() - minutes(3)
    await types(seated, occurred_at=earlier)
    rows = await seated.mongo.plumbing(VITALS).find({"session_id": seated.session_id, "taken_at": earlier})
    assert {(row["sign"], row["value"], row["device"]) for row in rows} == {
        ("8480-6", 120, "manual"),
        ("8462-4", 80, "manual"),
        ("8867-4", 70, "manual"),
        ("59408-5", 98, "manual"),
    }


@pytest.mark.parametrize("base", [{"systolic": 301}, {"diastolic": 19}, {"systolic": 80, "diastolic": 120}])
def test_a_pressure_that_no_body_has_is_refused(base: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        schemas.Baseline.model_validate(BASE | base)
