"""The tools that CONTRIBUTING promises are there, and pre-commit runs what `make lint` runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / ".pre-commit-config.yaml"
HOOKS: list[dict[str, Any]] = [hook for repo in yaml.safe_load(CONFIG.read_text())["repos"] for hook in repo["hooks"]]


def test_the_configuration_is_valid_and_needs_nothing_from_elsewhere() -> None:
    assert [repo["repo"] for repo in load_config(CONFIG)["repos"]] == ["local"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_calls_a_tool_of_the_pinned_environment(hook: dict[str, Any]) -> None:
    assert hook["language"] == "system"
    tool = hook["entry"].split()[0]
    assert tool.startswith(".venv/bin/")
    assert (ROOT / tool).exists()


def test_hooks_run_what_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nlint:")[2].partition("\ntest-unit:")[0]
    linted = set(re.findall(r"\.venv/bin/[\w-]+", recipe))
    assert {hook["entry"].split()[0] for hook in HOOKS} == linted


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_pins_what_is_asked_for_by_hash_and_names_no_index(name: str) -> None:
    asked = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in _lines(f"{name}.in") if not line.startswith("-")}
    text = (ROOT / f"{name}.txt").read_text()
    pinned = {line.partition("==")[0].partition("[")[0]: line for line in _lines(f"{name}.txt") if "==" in line}
    assert asked - set(pinned) == set()
    assert "index-url" not in text
    assert "://" not in text
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def _lines(name: str) -> list[str]:
    lines = (line.strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line and not line.startswith(("#", "--hash"))]
