"""The tools that CONTRIBUTING promises are there, and pre-commit runs what `make lint` runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / ".pre-commit-config.yaml"
LINT = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\ntest-unit:")[0]
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
    linted = set(re.findall(r"\.venv/bin/[\w-]+", LINT))
    assert {hook["entry"].split()[0] for hook in HOOKS} == linted


def test_the_help_and_the_guide_name_every_check() -> None:
    """A hook's name is what people call the tool."""
    told = (
        LINT.partition("\n")[0],
        (ROOT / "CONTRIBUTING.md").read_text().partition("\nmake lint")[2].partition("\n")[0],
    )
    for line in told:
        assert [hook["name"] for hook in HOOKS if hook["name"] not in line] == []


def test_lint_says_what_a_check_found() -> None:
    assert "/dev/null" not in LINT
