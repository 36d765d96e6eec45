"""The published language: what is committed is what the code says, and a change does not break a reader."""

import json

import pytest

from docs.generate import DOCS, documents
from shared.events.registry import EVENTS, REGISTRY


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_committed_document_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == documents()[name], "run `make docs` and read the difference"


def test_no_published_event_type_has_gone() -> None:
    committed = {path.stem for path in (DOCS / "schemas").glob("*.json")}
    assert committed == set(REGISTRY)


def test_events_carry_no_free_text_fields() -> None:
    forbidden = {"name", "email", "phone", "text", "note", "comment", "reason", "birth_date", "address"}
    for event in EVENTS:
        assert not forbidden & set(event.model_fields), event.__name__


def test_every_operation_documents_its_problems() -> None:
    for path in (DOCS / "openapi").glob("*.json"):
        for operations in json.loads(path.read_text())["paths"].values():
            for operation in operations.values():
                assert {"400", "401", "422", "503"} <= set(operation["responses"]), operation["operationId"]
