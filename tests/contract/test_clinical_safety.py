"""`docs/clinical-safety.md` is kept true: every hazard has a control, tests that exist, and says what remains."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clinical-safety.md").read_text()
NODE = re.compile(r"^- `(tests/[\w/]+\.py)::(\w+)`$", re.MULTILINE)


def hazards(page: str) -> dict[str, str]:
    """Text by heading of the third level."""
    parts = re.split(r"^### ", re.sub(r"^## .*$", "", page, flags=re.MULTILINE), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def faults(text: str) -> list[str]:
    """What a hazard lacks."""
    said = [word for word in ("Control: ", "Shown by:\n", "Remains: ") if word not in text]
    shown = text.partition("Shown by:\n")[2].partition("\nRemains: ")[0]
    lines = [line for line in shown.splitlines() if line.strip()]
    wrong = [line for line in lines if not NODE.fullmatch(line)]
    gone = [f"{path}::{name}" for path, name in NODE.findall(shown) if not exists(path, name)]
    return [*said, *([] if lines else ["no test"]), *wrong, *gone]


def exists(path: str, name: str) -> bool:
    """Whether pytest would collect it: a function of that name at the top of that file."""
    if not (ROOT / path).is_file():
        return False
    tree = ast.parse((ROOT / path).read_text())
    return name.startswith("test_") and any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in tree.body
    )


@pytest.mark.parametrize("heading", hazards(PAGE))
def test_a_hazard_has_a_control_tests_that_exist_and_what_remains(heading: str) -> None:
    assert faults(hazards(PAGE)[heading]) == []


def test_hazards_are_numbered_and_rated() -> None:
    found = [re.match(r"H(\d+) .+ \(S[123]\)$", heading) for heading in hazards(PAGE)]
    assert [match and int(match[1]) for match in found] == list(range(1, len(found) + 1))
    assert len(found) > 15


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Control: c\nShown by:\n\nRemains: r", "no test"),
        (
            "Control: c\nShown by:\n- `tests/unit/test_rules.py::test_gone`\n\nRemains: r",
            "tests/unit/test_rules.py::test_gone",
        ),
        ("Control: c\nShown by:\n- by eye\n\nRemains: r", "- by eye"),
        ("Shown by:\n- `tests/unit/test_clock.py::test_a_rate_of_sixty_will_do`\n\nRemains: r", "Control: "),
        ("Control: c\nShown by:\n- `tests/unit/test_clock.py::test_a_rate_of_sixty_will_do`\n", "Remains: "),
    ],
)
def test_what_is_looked_for(text: str, fault: str) -> None:
    assert faults(text) == [fault]
