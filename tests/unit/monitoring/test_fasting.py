"""Fasting by hours per kind of intake, against clinical.md 5."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.monitoring.gate import reasons
from services.monitoring.protocol import DosingProtocol
from tests.unit.monitoring.test_gate import DEPS, ESKETAMINE, IM, IV, NOW, READY, dose, judged, open_gate

LOZENGE = DEPS.dosing({"protocol_version": "sublingual-2026-11"})


def eaten(hours_ago: dict[str, float], *, fasting: bool = True) -> dict[str, Any]:
    taken = {kind: NOW - timedelta(hours=hours) for kind, hours in hours_ago.items()}
    return READY | {"fasting": fasting, "last_intake": taken}


@pytest.mark.parametrize(
    ("protocol", "kind", "hours"),
    [
        (IV, "clear_liquids", 2),
        (IV, "light_meal", 6),
        (IV, "fatty_meal", 8),
        (IM, "light_meal", 6),
        (LOZENGE, "clear_liquids", 2),
        (LOZENGE, "light_meal", 4),
        (ESKETAMINE, "clear_liquids", 0.5),
        (ESKETAMINE, "light_meal", 2),
    ],
    ids=lambda item: getattr(item, "route", item),
)
def test_each_kind_of_intake_waits_as_long_as_the_route_asks_clinical_md_5(
    protocol: DosingProtocol, kind: str, hours: float
) -> None:
    assert judged(protocol, readiness=eaten({kind: hours})) == []
    assert judged(protocol, readiness=eaten({kind: hours - 0.01})) == [(f"fasting_{kind}", "overridable")]


def test_the_reason_says_which_intake_and_how_long_is_missing_and_nothing_else() -> None:
    found = reasons(IV.gate, replace(open_gate(IV), readiness=eaten({"clear_liquids": 3, "light_meal": 5.25})))
    assert [item.detail for item in found] == [
        "The patient had a light meal less than 6 h before the dose: 45 min are missing."
    ]


def test_the_hours_count_to_the_dose_and_not_to_its_writing_down() -> None:
    given = dose(35, at=NOW - timedelta(minutes=30))
    assert judged(IV, readiness=eaten({"light_meal": 6.25}), dose=given) == [("fasting_light_meal", "overridable")]


@pytest.mark.parametrize(
    ("hours_ago", "codes"),
    [
        ({}, ["not_fasting"]),
        ({"clear_liquids": 3}, ["not_fasting"]),
        ({"light_meal": 5}, ["fasting_light_meal"]),
        ({"clear_liquids": 3, "light_meal": 7}, []),
    ],
)
def test_who_had_not_fasted_at_check_in_has_once_a_meal_and_a_drink_are_long_enough_ago(
    hours_ago: dict[str, float], codes: list[str]
) -> None:
    assert [code for code, _ in judged(IV, readiness=eaten(hours_ago, fasting=False))] == codes


def test_what_was_signed_without_hours_asks_only_whether_the_patient_has_fasted() -> None:
    before = IV.model_copy(update={"gate": IV.gate.model_copy(update={"fasting_hours": None})})
    assert judged(before, readiness=eaten({"fatty_meal": 1})) == []
    assert judged(before, readiness=eaten({"fatty_meal": 1}, fasting=False)) == [("not_fasting", "overridable")]
