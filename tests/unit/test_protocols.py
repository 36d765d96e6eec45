"""Faults in clinical content say where they are."""

from pathlib import Path

import pytest

from services.monitoring.protocol import DosingProtocol
from services.monitoring.wiring import PROTOCOLS
from shared.protocols import ProtocolError, load


def broken(folder: Path, old: str, new: str) -> str:
    text = (PROTOCOLS / "iv.yaml").read_text()
    assert old in text
    path = folder / "iv.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProtocolError) as refused:
        load(path, DosingProtocol)
    return str(refused.value)


def line_of(words: str) -> int:
    lines = (PROTOCOLS / "iv.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if words in line)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("max_diastolic: 90", "max_diastolic: much", "gate.max_diastolic", "max_diastolic"),
        ("{factor: 10, least_s: 10,", "{factor: 10, leats_s: 10,", "signals.leats_s", "factor"),
    ],
)
def test_a_fault_names_file_line_and_field(tmp_path: Path, old: str, new: str, field: str, words: str) -> None:
    assert f"iv.yaml:{line_of(words)}: {field}: " in broken(tmp_path, old, new)


def test_a_missing_field_is_named_at_what_surrounds_it(tmp_path: Path) -> None:
    said = broken(tmp_path, "  min_aldrete: 9\n", "  # nothing\n")
    assert f"iv.yaml:{line_of('discharge:')}: discharge.min_aldrete: Field required" in said


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = broken(tmp_path, "  max_diastolic: 90", "  x: 1")
    assert [line.split(": ")[1] for line in said.splitlines()] == ["gate.max_diastolic", "gate.x"]


def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1\nb: [1\n")
    with pytest.raises(ProtocolError, match="line 3"):
        load(path, DosingProtocol)
