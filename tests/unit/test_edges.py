"""Only the edge commits: a use case gets its unit of work and never begins or ends one."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE_CASES = sorted((ROOT / "services").glob("*/usecases/*.py"))


def runs(path: Path) -> list[int]:
    """The lines on which something is run as a unit of work, or a store is taken as an argument."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    begun = [node.lineno for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "run"]
    taken = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg == "mongo"]
    return begun + taken


@pytest.mark.parametrize("path", USE_CASES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_use_case_begins_no_unit_of_work(path: Path) -> None:
    assert runs(path) == []
