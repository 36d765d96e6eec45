"""The listener of every test run finds what it is there for; planted commands, as the driver tells of them."""

from pathlib import Path
from typing import Any

import pytest
from pymongo.monitoring import CommandStartedEvent

from tests.support.concerns import DURABLE, Concerns, found_in

TXN = {"autocommit": False}
SNAPSHOT = {"readConcern": {"level": "snapshot"}}
SOUND: list[dict[str, Any]] = [
    {"insert": "things", "writeConcern": DURABLE},
    {"update": "things", **TXN, "startTransaction": True, **SNAPSHOT},
    {"delete": "things", **TXN},
    {"commitTransaction": 1, **TXN, "writeConcern": DURABLE},
    {"find": "things", "readConcern": {"level": "majority"}},
    {"aggregate": "things", **TXN, "startTransaction": True, **SNAPSHOT},
]
LOST: list[tuple[dict[str, Any], str]] = [
    ({"insert": "things"}, "insert of things without its concern"),
    ({"findAndModify": "things", "writeConcern": {"w": 1}}, "findAndModify of things without its concern"),
    ({"update": "things", "writeConcern": {"w": "majority"}}, "update of things without its concern"),
    ({"commitTransaction": 1, **TXN}, "commitTransaction without its concern"),
    ({"insert": "things", **TXN, "startTransaction": True}, "insert of things without a snapshot"),
    ({"find": "things"}, "find of things without a majority"),
    ({"aggregate": "things", "readConcern": {"level": "local"}}, "aggregate of things without a majority"),
    ({"find": "things", **TXN, "startTransaction": True}, "find of things without a snapshot"),
]


def heard(command: dict[str, Any]) -> Concerns:
    concerns = Concerns()
    concerns.started(CommandStartedEvent(command, "intake", 1, ("127.0.0.1", 1), 1))
    return concerns


@pytest.mark.parametrize("command", SOUND, ids=lambda command: next(iter(command)))
def test_what_states_its_concern_is_sound(command: dict[str, Any]) -> None:
    assert (heard(command).bad, heard(command).seen) == ([], 1)


@pytest.mark.parametrize(("command", "said"), LOST, ids=[said for _, said in LOST])
def test_what_does_not_is_found(command: dict[str, Any], said: str) -> None:
    assert heard(command).bad == [said]


@pytest.mark.parametrize("command", [{"find": "things", **TXN}, {"ping": 1}, {"getMore": 1}])
def test_what_reads_on_is_nobodys_concern(command: dict[str, Any]) -> None:
    assert heard(command).seen == 0


def test_what_the_processes_wrote_down_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "intake-1").write_text("3")
    (tmp_path / "monitoring-2").write_text("4\ninsert of things without its concern")
    assert found_in(tmp_path) == (7, ["insert of things without its concern"])
