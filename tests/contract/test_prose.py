"""What people read names only files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "deploy", "docs", "services", "shared", "tests")
READ = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "adr").glob("*.md")),
    *sorted((ROOT / "services").glob("*/README.md")),
]
MADE_WHEN_RUN = ("bench/results.json", ".env")
FILE = r"[\w.*<>/-]+\.(?:py|yaml|yml|md|sh|json|txt|toml|in)"
FOLDER = rf"(?:{'|'.join(FOLDERS)})/[\w.*<>/-]+|[\w.*<>/-]+/"


def named(text: str) -> list[str]:
    """Every word in backticks, outside of code blocks, that looks like a file or a folder; and every link to one."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    words = [word for quoted in re.findall(r"`([^`\n]+)`", plain) for word in quoted.split()]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", plain) if "://" not in link]
    found = [word for word in words if re.fullmatch(f"{FILE}|{FOLDER}", word) and not word.startswith("/")]
    return [word for word in [*found, *links] if word not in MADE_WHEN_RUN]


def exists(word: str, page: Path) -> bool:
    """Beside the page, from the root, or, for a bare name, anywhere in the sources."""
    pattern = re.sub(r"<\w+>", "*", word).rstrip("/")
    if any(list(base.glob(pattern)) for base in (page.parent, ROOT)):
        return True
    return "/" not in pattern and any(list((ROOT / folder).rglob(pattern)) for folder in FOLDERS)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    assert [word for word in named(page.read_text()) if not exists(word, page)] == []


def test_what_is_looked_for() -> None:
    text = "`shared/clock.py`, `tests/gone/` `python -m x`, `a.py b.yaml`, `/v1/x` `application/json`\n```\n`c.py`\n```"
    assert named(text) == ["shared/clock.py", "tests/gone/", "a.py", "b.yaml"]
    assert not exists("tests/integration/test_messaging.py", ROOT / "docs" / "adr" / "0001.md")
