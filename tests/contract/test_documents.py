"""The published language: what is committed is what the code says, and a change does not break a reader."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from docs.consumers import consumptions
from docs.generate import DOCS, broken, documents, main, reasons, stale, write
from shared.events import intake, monitoring, notifications, scheduling
from shared.events.envelope import Event
from shared.events.registry import EVENTS, REGISTRY
from shared.messaging.topics import topic_for

MADE = documents()


def test_no_event_breaks_its_readers() -> None:
    refused = reasons(broken(DOCS, MADE))
    assert not refused, "\n".join(refused)


def test_the_committed_documents_are_current() -> None:
    assert not stale(DOCS, MADE), "run `make docs` and read the difference"


@pytest.mark.parametrize("producer", [intake, scheduling, monitoring, notifications], ids=lambda made: made.__name__)
def test_whatever_a_producer_declares_is_registered(producer: ModuleType) -> None:
    """A class without its row would be sent, and be of an unknown type to all who read it."""
    declared = {
        made
        for name, made in vars(producer).items()
        if isinstance(made, type) and issubclass(made, Event) and made is not Event and not name.startswith("_")
    }
    assert declared == {event for event in EVENTS if event.__module__ == producer.__name__}


def test_events_carry_no_free_text_fields() -> None:
    forbidden = {"name", "email", "phone", "text", "note", "comment", "reason", "birth_date", "address"}
    for event in EVENTS:
        assert not forbidden & set(event.model_fields), event.__name__


def test_whoever_handles_an_event_may_read_its_topic() -> None:
    for one in consumptions(EVENTS):
        assert one.service in topic_for(one.event).readers, f"{one.service} handles {one.event.__name__}"


def test_the_catalogue_names_the_readers() -> None:
    text = (DOCS / "events.md").read_text()
    section = text.partition("\n## VitalsAbnormal\n")[2].partition("\n## ")[0]
    assert "Read by: notifications (`on_alarm`)" in section


# What `make docs` refuses

NAME = "org.stillwater.scheduling.AppointmentBooked.v1"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    write(tmp_path, MADE)
    return tmp_path


def change_snapshot(docs: Path, **properties: object) -> Path:
    """As if the committed schema had been another one."""
    path = docs / "schemas" / f"{NAME}.json"
    schema = json.loads(path.read_text())
    for name, item in properties.items():
        if item is None:
            del schema["properties"][name]
        else:
            schema["properties"][name] = item
    path.write_text(json.dumps(schema))
    return path


def test_a_breaking_change_is_refused_and_nothing_is_written(docs: Path) -> None:
    path = change_snapshot(docs, room_no={"type": "integer"})
    (docs / "events.md").write_text("old")
    before = path.read_text()
    with pytest.raises(SystemExit) as refused:
        main(docs)
    reason = f"{NAME}: room_no: field_removed (a new name is a removal too); make a new type"
    assert str(refused.value.code).startswith(reason)
    assert path.read_text() == before
    assert (docs / "events.md").read_text() == "old"


def test_a_compatible_change_is_written(docs: Path) -> None:
    path = change_snapshot(docs, plan_id=None)
    main(docs)
    assert path.read_text() == MADE[f"schemas/{NAME}.json"]


def test_a_check_names_what_is_stale_and_writes_nothing(docs: Path) -> None:
    (docs / "events.md").write_text("old")
    (docs / "asyncapi.yaml").unlink()
    with pytest.raises(
        SystemExit, match=r"asyncapi\.yaml, events\.md; run `make docs`|events\.md, asyncapi\.yaml; run `make docs`"
    ):
        main(docs, check=True)
    assert (docs / "events.md").read_text() == "old"


def test_a_new_type_gets_its_first_snapshot(docs: Path) -> None:
    path = docs / "schemas" / f"{NAME}.json"
    path.unlink()
    main(docs)
    assert path.read_text() == MADE[f"schemas/{NAME}.json"]


def test_a_type_that_is_no_longer_registered_is_refused(docs: Path) -> None:
    name = "org.stillwater.scheduling.Forgotten.v1"
    assert name not in REGISTRY
    (docs / "schemas" / f"{name}.json").write_text("{}")
    with pytest.raises(SystemExit, match=f"{name}: payload: field_removed"):
        main(docs)
