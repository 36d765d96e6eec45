"""A service's README fits on a screen, and what it lists is what the code has."""

import importlib
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from docs.consumers import consumptions
from shared.events.registry import EVENTS
from shared.messaging.topics import SERVICES

ROOT = Path(__file__).parents[2]
ROWS, COLUMNS = 50, 120
BUSINESS = [event for event in EVENTS if not event.__name__.startswith("ServiceTrouble")]


def page(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


def sentence(service: str, begin: str) -> str:
    """From these words to the full stop at the end of a sentence, or of a line's last word."""
    return re.split(r"\. [A-Z]|\.\n|\n\n", page(service).partition(begin)[2])[0]


def patterns(text: str) -> list[str]:
    return re.findall(r"`([A-Z]\w+\*?)`", text)


def stands_for(pattern: str) -> set[str]:
    return {event.__name__ for event in EVENTS if fnmatchcase(event.__name__, pattern)}


def said(text: str) -> set[str]:
    return set().union(*(stands_for(pattern) for pattern in patterns(text)))


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_fits_on_a_screen(service: str) -> None:
    rows = sum(max(1, -(-len(line) // COLUMNS)) for line in page(service).splitlines())
    assert rows <= ROWS


@pytest.mark.parametrize("service", SERVICES)
def test_the_events_that_come_in_are_those_with_a_handler(service: str) -> None:
    text = page(service).partition("In by event:")[2].partition("\n\n")[0]
    text = re.split(r"\bOut\b", text)[0]
    assert said(text) == {one.event.__name__ for one in consumptions(EVENTS) if one.service == service}


@pytest.mark.parametrize("service", ["intake", "monitoring"])
def test_the_events_of_the_alarm_lane_are_named(service: str) -> None:
    sent = {event.__name__ for event in BUSINESS if service == event.SERVICE and event.LANE == "alarm"}
    assert said(sentence(service, "Out on the alarm lane:")) == sent


def test_the_events_that_scheduling_sends_are_named() -> None:
    sent = {event.__name__ for event in BUSINESS if event.SERVICE == "scheduling"}
    assert said(sentence("scheduling", "Out:")) == sent


@pytest.mark.parametrize("service", SERVICES)
def test_every_timer_is_named(service: str) -> None:
    handlers = dict(importlib.import_module(f"services.{service}.handlers").TIMER_HANDLERS)
    if service == "monitoring":
        handlers |= importlib.import_module("services.monitoring.usecases.due").SCHEDULE_TIMERS
    assert [kind for kind in handlers if f"`{kind}`" not in page(service)] == []


@pytest.mark.parametrize("folder", ["usecases", "routes"])
@pytest.mark.parametrize("service", SERVICES)
def test_every_file_of_a_layer_is_named(service: str, folder: str) -> None:
    row = page(service).partition(f"| `{folder}/` |")[2].partition("\n")[0]
    files = {path.stem for path in (ROOT / "services" / service / folder).glob("*.py")} - {"__init__", "deps"}
    assert [name for name in sorted(files) if f"`{name}`" not in row] == []


@pytest.fixture(scope="module")
def operations() -> dict[tuple[str, str], Any]:
    paths = json.loads((ROOT / "docs" / "openapi" / "intake.json").read_text())["paths"]
    return {(path, method): row for path, rows in paths.items() for method, row in rows.items()}


def test_every_path_of_intake_is_named(operations: dict[tuple[str, str], Any]) -> None:
    words = {word for path, _ in operations for word in path.split("/")[2:] if not word.startswith("{")}
    assert [word for word in sorted(words) if not re.search(rf"(?<![\w-]){word}(?![\w-])", page("intake"))] == []


def test_what_changes_something_of_intake_without_if_match_is_named(operations: dict[tuple[str, str], Any]) -> None:
    changes = {key: row for key, row in operations.items() if key[1] != "get" and "201" not in row["responses"]}
    free = {path for (path, _), row in changes.items() if "IfMatch" not in json.dumps(row["parameters"])}
    named = re.findall(r"`([a-z-]+)`", sentence("intake", "Without If-Match:"))
    assert sorted(named) == sorted({path.rpartition("/")[2] for path in free})
