"""A service takes what its document says, and nothing that looks like it: each field is given every wrong type of JSON."""

import copy
import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, ValidationError

from services.monitoring.schemas import DeviceReadings, Readings
from shared.messaging.topics import SERVICES
from shared.web.app import create_app
from shared.web.examples import example
from tests.support.operations import DOCUMENTS

Json = Any
Place = tuple[str | int, ...]
Faults = Callable[[Json], list[Any]]
OTHERS: list[Json] = [
    *(None, True, False, 0, 1, -1, 1.5, 1767225600, 1767225600.5, "", "1", "1.5", "true", "null", "1767225600"),
    *("2026-03-02", "2026-03-02T00:00:00Z", "2026-03-02T15:00:00", "2026-03-02 15:00:00Z", "02/03/2026", "\u0663"),
    *([], {}, [1], ["x"], [[]], {"x": 1}),
]
FORMATS = jsonschema.FormatChecker(["date", "date-time"])


@FORMATS.checks("date-time")
def _has_a_zone(text: object) -> bool:
    return not isinstance(text, str) or (text[10:11] == "T" and text[-1:] == "Z")


def places(value: Json, at: Place = ()) -> Iterator[Place]:
    yield at
    if isinstance(value, dict | list) and value:
        for name, inner in value.items() if isinstance(value, dict) else [(0, value[0])]:
            yield from places(inner, (*at, name))


def here(value: Json, at: Place) -> Json:
    return here(value[at[0]], at[1:]) if at else value


def put(value: Json, at: Place, other: Json) -> Json:
    if not at:
        return other
    changed = copy.copy(value)
    changed[at[0]] = put(value[at[0]], at[1:], other)
    return changed


def disagreements(shown: Json, schema: Json, faults: Faults) -> Iterator[tuple[Place, Json, str]]:
    """Between the document and the service, but for rules between fields, which no schema tells."""
    says = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    for at in places(shown):
        whole = here(shown, at)
        unknown = [whole | {"unknown": 1}] if isinstance(whole, dict) else []
        for other in OTHERS + unknown:
            body = put(shown, at, other)
            found = faults(body)
            if not found and not says.is_valid(body):
                yield at, other, "is taken"
            elif says.is_valid(body) and {fault["type"] for fault in found} - {"value_error"}:
                yield at, other, "is refused"


@pytest.mark.parametrize("service", SERVICES)
def test_a_body_is_taken_as_the_document_says_it(service: str) -> None:
    app = create_app(service, [importlib.import_module(f"services.{service}.routes").router], None)
    document, wrong, fields = DOCUMENTS[service], list[Any](), 0
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or (body_field := route.body_field) is None:
            continue
        for method in route.methods or ():
            shown = document["paths"][context.path_format][method.lower()]["requestBody"]["content"]["application/json"]
            schema = {**shown["schema"], "components": document["components"]}

            def faults(body: Json, field: Any = body_field) -> list[Any]:
                return list(field.validate(body, loc=("body",))[1] or [])

            fields += len(list(places(shown["example"])))
            found = disagreements(shown["example"], schema, faults)
            wrong += [(method, context.path_format, *one) for one in found]
    assert wrong == [], "\n".join(map(str, wrong))
    assert fields > 15


@pytest.mark.parametrize("model", [Readings, DeviceReadings])
def test_a_reading_is_taken_as_the_document_says_it(model: type[BaseModel]) -> None:
    """These routes read the bytes themselves."""

    def faults(body: Json) -> list[Any]:
        try:
            model.model_validate_json(json.dumps(body))
        except ValidationError as error:
            return list(error.errors())
        return []

    schema = model.model_json_schema()
    assert list(disagreements(example(schema, schema), schema, faults)) == []
