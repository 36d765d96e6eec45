"""What clinical content may hold: texts, numbers, truths, lists and names. Everything else is a fault with its line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from shared.protocols import Fault, Protocol, ProtocolError, parse, read


class Spray(Protocol):
    mg: float
    most: int | None = None
    shaken: bool = False
    minutes: Sequence[float] = ()
    by_route: Mapping[str, float] = {}


def of_yaml(text: str) -> Any:
    return read(text, "own.yaml")[0]


def spray(text: str) -> Spray:
    return parse(text, "own.yaml", Spray)


def refused(text: str, reads: Callable[[str], Any] = of_yaml) -> list[Fault]:
    with pytest.raises(ProtocolError) as error:
        reads(text)
    return list(error.value.faults)


@pytest.mark.parametrize(
    "value",
    [
        "!!timestamp x",
        "2026-11-01",
        "!!binary a2V0YW1pbmU=",
        "!!set {b}",
        "!!omap [1]",
        "!!pairs [1]",
        "!!python/object:os.system x",
        "!own x",
        "[1, !!timestamp x]",
        "{c: !!timestamp x}",
        "{2026-11-01: 1}",
        "{!!timestamp x: 1}",
        "{<<: {c: 1}}",
        "=",
    ],
)
def test_what_no_protocol_holds_is_a_fault_with_its_line(value: str) -> None:
    assert [(fault.line, fault.code) for fault in refused(f"a: 1\nb: {value}\n")] == [(2, "tag")]


@pytest.mark.parametrize(
    "value", ["!!int x", "!!int ''", "!!int _", "0b_", "!!float ''", "!!bool x", "!!map x", "!!str [1]", "!!seq {b: 1}"]
)
def test_what_is_not_what_it_says_is_no_yaml(value: str) -> None:
    assert [fault.code for fault in refused(f"a: 1\nb: {value}\n")] == ["yaml_invalid"]


def test_what_a_protocol_holds_is_read() -> None:
    text = 'a: [1, 2.5, true, null, x]\nb: {c: "2026-11-01", 1: y}\n'
    assert of_yaml(text) == {"a": [1, 2.5, True, None, "x"], "b": {"c": "2026-11-01", 1: "y"}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mg", "true"),
        ("mg", '"28"'),
        ("most", "true"),
        ("most", '"3"'),
        ("most", "2.0"),
        ("shaken", "1"),
        ("shaken", '"yes"'),
        ("minutes", "[5, true]"),
        ("by_route", "{nasal: true}"),
    ],
)
def test_a_truth_is_no_number_and_a_text_is_neither(field: str, value: str) -> None:
    others = "" if field == "mg" else "\nmg: 28"
    (fault,) = refused(f"{field}: {value}{others}", spray)
    assert (fault.line, fault.steps[0]) == (1, field)


def test_a_whole_number_is_a_number() -> None:
    assert spray("mg: 28\nminutes: [5, 7.5]\nby_route: {nasal: 2}").mg == 28.0
