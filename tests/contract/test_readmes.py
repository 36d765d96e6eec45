"""A service's README names what is there: its use cases, its routes and what it tells on the alarm lane."""

from pathlib import Path

import pytest

from shared.events.registry import EVENTS
from shared.messaging.topics import SERVICES

ROOT = Path(__file__).parents[2]
LINES = 45  # a screen


def readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


def modules(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__", "deps"}


@pytest.mark.parametrize("folder", ["usecases", "routes"])
@pytest.mark.parametrize("service", SERVICES)
def test_it_names_every_file(service: str, folder: str) -> None:
    text = readme(service)
    assert {name for name in modules(ROOT / "services" / service / folder) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_it_names_what_goes_out_on_the_alarm_lane(service: str) -> None:
    text = readme(service)
    alarms = {event.__name__ for event in EVENTS if event.LANE == "alarm" and service == event.SERVICE}
    assert {name for name in alarms if name not in text} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_a_screen_long(service: str) -> None:
    assert len(readme(service).splitlines()) <= LINES
