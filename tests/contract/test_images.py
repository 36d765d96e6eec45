"""What the images hold, read from `Dockerfile` and `.dockerignore`, and what is installed in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KEPT_OUT = (ROOT / ".dockerignore").read_text().split()
NOT_IN_GIT = (ROOT / ".gitignore").read_text().split()
SOURCES = [path for name in ("shared", "services", "deploy") for path in (ROOT / name).rglob("*.*")]
LOCKS = ("requirements", "requirements-dev")


def copied(stage: str) -> list[str]:
    """What a stage takes from the repository; what it takes from another stage is no part of it."""
    text = DOCKERFILE.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0]
    return [line.split()[1] for line in re.findall(r"^(COPY .*)$", text, re.MULTILINE) if "--from=" not in line]


def kept_out(path: str) -> bool:
    """As the builder reads the patterns of `.dockerignore`: from the root, a folder with all that it holds."""
    patterns = [re.escape(one).replace(r"\*\*/", "(?:.*/)?") for one in KEPT_OUT]
    return any(re.fullmatch(f"{pattern}(?:/.*)?", path) for pattern in patterns)


def test_an_image_of_a_service_holds_that_service_and_shared_alone() -> None:
    assert copied("service") == ["shared", "services/__init__.py", "services/${SERVICE}"]


def test_the_image_of_the_jobs_holds_the_sources_alone() -> None:
    assert copied("init") == ["shared", "services", "deploy"]


@pytest.mark.parametrize("name", NOT_IN_GIT)
def test_what_git_does_not_keep_gets_into_no_image(name: str) -> None:
    """The replica set's key lies below `deploy`, which the image of the jobs holds."""
    assert kept_out(name.rstrip("/"))
    assert "/" in name.rstrip("/") or kept_out(f"deploy/{name}"), "only at the top"


def test_no_source_is_kept_out() -> None:
    kept = [str(path.relative_to(ROOT)) for path in SOURCES if "__pycache__" not in path.parts]
    assert {path for path in kept if kept_out(path)} <= set(NOT_IN_GIT)


def pinned(lock: str) -> dict[str, str]:
    """Name to version and hashes, each as one line."""
    lines = re.sub(r"\\\n\s*", "", (ROOT / f"{lock}.txt").read_text()).splitlines()
    found = [re.fullmatch(r"([\w.-]+)==(\S.*)", line) for line in lines if line and not line.startswith("#")]
    assert all(found), "a line that pins nothing"
    return {canonical(match[1]): match[2] for match in found if match}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(lock: str) -> list[str]:
    """The names in the `.in` file and in those that it includes."""
    lines = (ROOT / f"{lock}.in").read_text().split("\n")
    included = [name for line in lines if line.startswith("-r ") for name in asked(line[3:].removesuffix(".in"))]
    names = [re.match(r"[\w.-]+", line) for line in lines if line and not line.startswith(("-", "#"))]
    return [*included, *(canonical(name[0]) for name in names if name)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_its_hashes_and_names_no_index(lock: str) -> None:
    assert [name for name, rest in pinned(lock).items() if "--hash=sha256:" not in rest] == []
    text = (ROOT / f"{lock}.txt").read_text()
    assert re.findall(r"^(?:-i|--(?:extra-)?index-url|--find-links).*|https?://\S+", text, re.MULTILINE) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_is_in_the_lock(lock: str) -> None:
    assert [name for name in asked(lock) if name not in pinned(lock)] == []


def test_the_images_hold_what_was_tested() -> None:
    tested = pinned("requirements-dev")
    assert {name: rest for name, rest in pinned("requirements").items() if tested.get(name) != rest} == {}
