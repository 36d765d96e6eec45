"""What clinical content may hold: texts, numbers, truths, lists and names. Everything else is a fault with its line."""

import pytest

from shared.protocols import Fault, ProtocolError, read


def refused(text: str) -> list[Fault]:
    with pytest.raises(ProtocolError) as error:
        read(text, "own.yaml")
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
    assert read(text, "own.yaml")[0] == {"a": [1, 2.5, True, None, "x"], "b": {"c": "2026-11-01", 1: "y"}}
