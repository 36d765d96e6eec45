"""The tables of clinical.md section 2, row by row; the source is in each test's name."""

import pytest
from pydantic import ValidationError

from services.monitoring.scales import ALDRETE, PADSS, RATINGS, SCALES
from services.monitoring.schemas_entries import Observation

BEST = {name: dict.fromkeys(scale.items, scale.highest) for name, scale in SCALES.items()}


@pytest.mark.parametrize("score", range(6))
def test_moaas_bmc_anesthesiology_2022_clinical_md_2_each_score(score: int) -> None:
    seen = Observation.model_validate({"observation_code": "moaas", "score": score})
    assert seen.facts() == {"observation_code": "moaas", "score": score, "scale_version": "moaas-0-5"}


@pytest.mark.parametrize("score", [-1, 6, None])
def test_moaas_bmc_anesthesiology_2022_clinical_md_2_has_no_other_score(score: int | None) -> None:
    with pytest.raises(ValidationError):
        Observation.model_validate({"observation_code": "moaas", "score": score})


@pytest.mark.parametrize("item", ALDRETE)
@pytest.mark.parametrize(("value", "total"), [(0, 8), (1, 9), (2, 10)])
def test_aldrete_1995_clinical_md_2_each_item_counts_from_0_to_2(item: str, value: int, total: int) -> None:
    assert SCALES["aldrete"].total(BEST["aldrete"] | {item: value}) == total


def test_aldrete_1995_clinical_md_2_has_five_items_and_ends_at_0_and_10() -> None:
    assert ALDRETE == ("activity", "breathing", "circulation", "consciousness", "saturation")
    assert SCALES["aldrete"].total(dict.fromkeys(ALDRETE, 0)) == 0


@pytest.mark.parametrize("item", PADSS)
@pytest.mark.parametrize(("value", "total"), [(0, 8), (1, 9), (2, 10)])
def test_padss_chung_1995_clinical_md_2_each_item_counts_from_0_to_2(item: str, value: int, total: int) -> None:
    assert SCALES["padss"].total(BEST["padss"] | {item: value}) == total


def test_padss_chung_1995_clinical_md_2_bleeding_is_fixed_at_2() -> None:
    assert SCALES["padss"].total(dict.fromkeys(PADSS, 0)) == 2
    assert SCALES["padss"].version == "padss-bleeding-free"


@pytest.mark.parametrize("item", ["1", "2", "6", "7", "15", "22"])
@pytest.mark.parametrize("value", range(5))
def test_cadss6_rodrigues_2021_clinical_md_2_each_item_counts_from_0_to_4(item: str, value: int) -> None:
    assert SCALES["cadss6"].total(dict.fromkeys(SCALES["cadss6"].items, 0) | {item: value}) == value


def test_cadss6_rodrigues_2021_clinical_md_2_ends_at_24() -> None:
    assert SCALES["cadss6"].total(BEST["cadss6"]) == 24


def test_cadss_bremner_2014_clinical_md_2_has_23_subjective_items_and_ends_at_92() -> None:
    assert (len(SCALES["cadss"].items), SCALES["cadss"].total(BEST["cadss"])) == (23, 92)


@pytest.mark.parametrize("name", sorted(SCALES))
@pytest.mark.parametrize("wrong", ["none", "missing", "unknown", "above", "below"])
def test_a_scale_takes_all_of_its_own_items_and_nothing_else(name: str, wrong: str) -> None:
    best, scale = BEST[name], SCALES[name]
    first = scale.items[0]
    answers = {
        "none": {},
        "missing": {item: value for item, value in best.items() if item != first},
        "unknown": best | {"mood": 1},
        "above": best | {first: scale.highest + 1},
        "below": best | {first: -1},
    }[wrong]
    with pytest.raises(ValueError, match="item"):
        scale.total(answers)


def test_a_total_is_computed_and_kept_with_the_version_of_its_scale() -> None:
    items = BEST["aldrete"] | {"saturation": 1}
    facts = Observation.model_validate({"observation_code": "aldrete", "items": items}).facts()
    assert (facts["score"], facts["scale_version"]) == (9, "aldrete-1995")


@pytest.mark.parametrize("code", sorted(RATINGS))
def test_a_rating_too_is_kept_with_the_version_of_its_scale_clinical_md_2(code: str) -> None:
    facts = Observation.model_validate({"observation_code": code, "score": 4}).facts()
    assert facts == {"observation_code": code, "score": 4, "scale_version": RATINGS[code].version}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"observation_code": "aldrete", "score": 10}, "score"),
        ({"observation_code": "aldrete", "score": 10, "items": BEST["aldrete"]}, "score"),
        ({"observation_code": "padss"}, "items"),
        ({"observation_code": "cadss6", "items": BEST["aldrete"]}, "items"),
        ({"observation_code": "moaas"}, "score"),
        ({"observation_code": "moaas", "score": 6}, "score"),
        ({"observation_code": "pain", "score": 11}, "score"),
        ({"observation_code": "pain", "score": 3, "items": {"1": 1}}, "items"),
    ],
)
def test_an_observation_that_does_not_fit_its_scale_is_refused_at_the_field(
    body: dict[str, object], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Observation.model_validate(body)
    assert field in {fault["loc"][0] for fault in refused.value.errors()}
