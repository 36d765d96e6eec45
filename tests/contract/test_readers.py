"""Producers are closed, consumers tolerant (architecture.md section 3): for every event, at every place of its payload."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema
import pytest

from shared.events.envelope import Event
from shared.events.registry import EVENTS
from shared.web.examples import example, resolve

Place = tuple[str | int, ...]


def places(schema: Any, root: Any, here: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every part of the schema beside the path at which `example` puts its value."""
    while "$ref" in schema:
        schema = resolve(schema["$ref"], root)
    if "anyOf" in schema:
        yield from places(next(one for one in schema["anyOf"] if one.get("type") != "null"), root, here)
        return
    yield here, schema
    for name, item in schema.get("properties", {}).items():
        yield from places(item, root, (*here, name))
    if isinstance(schema.get("items"), dict):
        yield from places(schema["items"], root, (*here, 0))


def replaced(value: Any, place: Place, item: Any) -> Any:
    if not place:
        return item
    copy = deepcopy(value)
    copy[place[0]] = replaced(copy[place[0]], place[1:], item)
    return copy


def found(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


EXAMPLES = {event: (schema, example(schema, schema)) for event in EVENTS for schema in [event.model_json_schema()]}
CODES = [
    (event, place)
    for event, (schema, _) in EXAMPLES.items()
    for place, part in places(schema, schema)
    if "enum" in part or "const" in part
]
OBJECTS = [
    (event, place, part)
    for event, (schema, _) in EXAMPLES.items()
    for place, part in places(schema, schema)
    if part.get("type") == "object"
]


def named(item: Any) -> str:
    return (
        str(item.event_type())
        if hasattr(item, "event_type")
        else ".".join(map(str, item))
        if isinstance(item, tuple)
        else ""
    )


@pytest.mark.parametrize("event", EVENTS, ids=named)
def test_the_example_is_what_a_producer_may_send(event: type[Event]) -> None:
    schema, payload = EXAMPLES[event]
    jsonschema.Draft202012Validator(schema).validate(payload)
    event.model_validate_json(json.dumps(payload))


@pytest.mark.parametrize(("event", "place"), CODES, ids=named)
def test_a_code_of_the_future_is_read_as_unknown_and_never_written(event: type[Event], place: Place) -> None:
    payload = json.dumps(replaced(EXAMPLES[event][1], place, "invented_later"))
    assert found(event.read(payload.encode()), place) == "unknown"
    with pytest.raises(ValueError, match="literal_error"):
        event.model_validate_json(payload)


@pytest.mark.parametrize(("event", "place", "part"), OBJECTS, ids=named)
def test_a_field_of_the_future_is_ignored_and_never_written(event: type[Event], place: Place, part: Any) -> None:
    payload = EXAMPLES[event][1]
    with_more = payload
    for step in place:
        with_more = with_more[step]
    whole = json.dumps(replaced(payload, place, {**with_more, "invented_later": {"more": 1}}))
    assert event.read(whole.encode()) == event.read(json.dumps(payload).encode())
    with pytest.raises(ValueError, match="extra_forbidden"):
        event.model_validate_json(whole)
    assert part["additionalProperties"] is False
