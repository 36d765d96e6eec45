"""The table of clinical.md section 3.4, row by row."""

import pytest

from services.monitoring.scales import news2

WELL = {"9279-1": 16.0, "59408-5": 98.0, "8480-6": 120.0, "8867-4": 70.0, "8310-5": 37.0}


@pytest.mark.parametrize(
    ("sign", "value", "score"),
    [
        ("9279-1", 8, 3),
        ("9279-1", 9, 1),
        ("9279-1", 12, 0),
        ("9279-1", 20, 0),
        ("9279-1", 21, 2),
        ("9279-1", 25, 3),
        ("59408-5", 91, 3),
        ("59408-5", 92, 2),
        ("59408-5", 94, 1),
        ("59408-5", 96, 0),
        ("8480-6", 90, 3),
        ("8480-6", 91, 2),
        ("8480-6", 101, 1),
        ("8480-6", 111, 0),
        ("8480-6", 219, 0),
        ("8480-6", 220, 3),
        ("8867-4", 40, 3),
        ("8867-4", 41, 1),
        ("8867-4", 51, 0),
        ("8867-4", 91, 1),
        ("8867-4", 111, 2),
        ("8867-4", 131, 3),
        ("8310-5", 35.0, 3),
        ("8310-5", 35.1, 1),
        ("8310-5", 36.1, 0),
        ("8310-5", 38.1, 1),
        ("8310-5", 39.1, 2),
    ],
)
def test_news2_rcp_2017_each_band(sign: str, value: float, score: int) -> None:
    found = news2(WELL | {sign: value}, on_oxygen=False, alert=True)
    assert found is not None
    assert found[0] == score


@pytest.mark.parametrize(
    ("value", "on_air", "on_oxygen"),
    [
        (83, 3, 3),
        (84, 2, 2),
        (85, 2, 2),
        (86, 1, 1),
        (87, 1, 1),
        (88, 0, 0),
        (92, 0, 0),
        (93, 0, 1),
        (94, 0, 1),
        (95, 0, 2),
        (96, 0, 2),
        (97, 0, 3),
    ],
)
def test_news2_rcp_2017_spo2_scale_2_for_a_target_of_88_to_92(value: float, on_air: int, on_oxygen: int) -> None:
    for given, score in ((False, on_air), (True, on_oxygen + 2)):
        found = news2(WELL | {"59408-5": value}, on_oxygen=given, alert=True, spo2_scale=2)
        assert found is not None
        assert found[0] == score


def test_news2_rcp_2017_oxygen_consciousness_and_response() -> None:
    assert news2(WELL, on_oxygen=True, alert=True) == (2, "low")
    assert news2(WELL, on_oxygen=False, alert=False) == (3, "low_medium")
    assert news2(WELL, on_oxygen=True, alert=False) == (5, "medium")
    assert news2(WELL | {"9279-1": 25, "8867-4": 131}, on_oxygen=False, alert=True) == (6, "medium")
    assert news2(WELL | {"9279-1": 25, "8867-4": 131, "59408-5": 94}, on_oxygen=False, alert=True) == (7, "high")


def test_news2_rcp_2017_a_missing_parameter_is_no_score() -> None:
    assert news2({name: value for name, value in WELL.items() if name != "8310-5"}, on_oxygen=False, alert=True) is None
