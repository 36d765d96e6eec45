"""What the contracts of import-linter cannot say: which files are called pure, and how little they take from the store."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    one["name"]: one
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
PURE: list[str] = CONTRACTS["Pure files know no store, no broker, no web and no clock"]["source_modules"]
PAGES = sorted((ROOT / "services").glob("*/README.md"))


def taken_from_the_store(module: str) -> set[str]:
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.name for node in nodes if (node.module or "").startswith("shared.persistence") for name in node.names}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_file_knows_the_type_of_a_document_alone(module: str) -> None:
    assert taken_from_the_store(module) <= {"Document"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_a_readme_calls_pure_is_held_to_it(page: Path) -> None:
    rows = re.findall(r"^\| (.*?) \| pure\b", page.read_text(), re.MULTILINE)
    named = [f"services.{page.parent.name}.{name}" for row in rows for name in re.findall(r"`(\w+)\.py`", row)]
    assert named
    assert [name for name in named if name not in PURE] == []
