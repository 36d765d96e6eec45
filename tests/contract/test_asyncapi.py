"""docs/asyncapi.yaml is AsyncAPI 3.0 by the official schema, and says what the tables say."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from docs.consumers import consumptions
from docs.generate import DOCS
from shared.events.registry import EVENTS
from shared.messaging.topics import SERVICES, TOPICS, topic_for
from shared.web.examples import resolve

OFFICIAL = jsonschema.Draft7Validator(json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text()))
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_valid() -> None:
    assert [error.message for error in OFFICIAL.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("asyncapi",), "2.6.0"),
        (("operations", "intake.send.stillwater.intake.v1", "action"), "publish"),
        (("channels", "stillwater.intake.v1", "address"), 5),
        (("servers", "kafka", "protocol"), None),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_the_official_schema_finds_faults(path: tuple[str, ...], wrong: object) -> None:
    broken = deepcopy(DOCUMENT)
    where = broken
    for step in path[:-1]:
        where = where[step]
    where[path[-1]] = wrong
    assert list(OFFICIAL.iter_errors(broken))


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > len(EVENTS)
    for reference in found:
        assert reference.startswith("#/")
        assert resolve(reference, DOCUMENT), reference


def test_an_operation_names_messages_of_its_own_channel() -> None:
    for name, operation in DOCUMENT["operations"].items():
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/"), name


def test_every_topic_is_a_channel_with_all_its_events() -> None:
    assert set(DOCUMENT["channels"]) == {topic.name for topic in TOPICS}
    for event in EVENTS:
        channel = DOCUMENT["channels"][topic_for(event).name]
        assert channel["messages"][event.__name__]["$ref"].endswith(event.event_type())


def test_operations_are_what_the_services_send_and_handle() -> None:
    said = {
        (name.partition(".")[0], operation["action"], channel, message["$ref"].rpartition("/")[2])
        for name, operation in DOCUMENT["operations"].items()
        for channel in [operation["channel"]["$ref"].rpartition("/")[2]]
        for message in operation["messages"]
    }
    sent = {(event.SERVICE, "send", topic_for(event).name, event.__name__) for event in EVENTS}
    handled = {(one.service, "receive", topic_for(one.event).name, one.event.__name__) for one in consumptions(EVENTS)}
    assert said == sent | handled
    assert {service for service, *_ in handled} == set(SERVICES)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type())
def test_examples_are_valid_records(event: Any) -> None:
    message = DOCUMENT["components"]["messages"][event.event_type()]
    shown = message["examples"][0]
    root = {"components": DOCUMENT["components"]}
    for schema, value in ((message["payload"], shown["payload"]), (message["headers"], shown["headers"])):
        jsonschema.Draft7Validator({**schema, **root}).validate(value)
    other = {**shown["headers"], "ce_type": "org.stillwater.other.v1"}
    assert not jsonschema.Draft7Validator({**message["headers"], **root}).is_valid(other)
    assert message["bindings"]["kafka"]["key"]["type"] == "string"
