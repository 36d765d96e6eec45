"""The four OpenAPI documents: valid 3.1, and an integrator finds problems, headers and an example at every operation."""

import importlib
import inspect
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.middleware.base import BaseHTTPMiddleware

from shared.messaging.topics import SERVICES
from shared.web.app import create_app
from shared.web.call import ADMITTED
from tests.support.operations import ALL, DOCUMENTS

OPERATIONS = [(one.service, one.method, one.path, one.said) for one in ALL]
NAMES = [one.name for one in ALL]
BY_LINK = {"show_link", "use_link"}
WITHOUT_TOKEN = {"receive_inquiry", *BY_LINK}
CHANGING = {"put", "patch", "delete"}
PUBLIC = {
    "intake": {"/v1/inquiries"},
    "monitoring": {"/board", "/board/login.json", "/board/{name}"},
    "notifications": {"/v1/links/{token}"},
}
KNOWN_BEFORE_ITS_EVENT = {"get_course", "book_whole_course"}


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_valid(service: str) -> None:
    document = DOCUMENTS[service]
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_validator_finds_faults() -> None:
    broken = json.loads(json.dumps(DOCUMENTS["intake"]))
    broken["paths"]["/v1/inquiries"]["get"]["responses"] = {"200": {}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


@pytest.mark.parametrize("service", SERVICES)
def test_operation_ids_are_unique(service: str) -> None:
    names = [operation["operationId"] for one, _, _, operation in OPERATIONS if one == service]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("method", "path", "operation"), [rest for _, *rest in OPERATIONS], ids=NAMES)
def test_an_operation_says_what_an_integrator_needs(method: str, path: str, operation: Any) -> None:
    answers = operation["responses"]
    assert operation["summary"]
    assert any(status.startswith("2") for status in answers)
    assert {"400", "401", "403", "408", "413", "415", "422", "431", "503"} <= set(answers)
    if "{" in path and method != "put" and operation["operationId"] not in KNOWN_BEFORE_ITS_EVENT:
        assert "404" in answers
    for status, answer in answers.items():
        if status[0] in "45" and set(answer["content"]) != {"text/html"}:  # a page for a person
            schema = answer["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, status
            assert set(answer["content"]) == {"application/problem+json"}
    keyed = {"$ref": "#/components/parameters/IdempotencyKey"} in operation.get("parameters", [])
    readings = "application/x-ndjson" in operation.get("requestBody", {}).get("content", {})
    assert keyed == (method == "post" and operation["operationId"] not in BY_LINK and not readings)
    if keyed and "x-nurse-route" not in operation:
        assert {"404", "409"} <= set(answers)
    token = operation["operationId"] not in WITHOUT_TOKEN
    assert operation.get("security") == ([{"bearer": []}] if token else None)
    for name in ("IfMatch", "IfMatchNeeded"):
        parameter = {"$ref": f"#/components/parameters/{name}"}
        needed = "428" in answers if name == "IfMatchNeeded" else "412" in answers and "428" not in answers
        assert (parameter in operation.get("parameters", [])) == needed


def bodies(operation: Any) -> Iterator[Any]:
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for holder in (operation.get("requestBody"), *answers):
        if holder and "application/json" in holder.get("content", {}):
            yield holder["content"]["application/json"]


@pytest.mark.parametrize(("service", "method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_every_body_has_a_schema_and_a_valid_example(service: str, method: str, path: str, operation: Any) -> None:
    components = {"components": DOCUMENTS[service]["components"]}
    for body in bodies(operation):
        assert body["schema"], f"{method} {path}: give the route a response_model"
        assert "example" in body, f"{method} {path}: a field with a pattern needs examples"
        jsonschema.Draft202012Validator({**body["schema"], **components}).validate(body["example"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_request_that_is_shown_is_one_that_is_taken(service: str) -> None:
    """By the service itself, which is stricter than the schema: `1900.0` is no year."""
    app = create_app(service, [importlib.import_module(f"services.{service}.routes").router], None)
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.body_field is not None:
            for method in route.methods or ():
                shown = DOCUMENTS[service]["paths"][context.path_format][method.lower()]["requestBody"]["content"]
                found = route.body_field.validate(shown["application/json"]["example"], loc=("body",))
                refused = [fault for fault in found[1] or [] if fault["type"] != "value_error"]
                assert refused == [], context.path_format


@pytest.mark.parametrize("service", SERVICES)
def test_the_example_of_a_problem_is_a_problem(service: str) -> None:
    components = DOCUMENTS[service]["components"]
    schema = components["schemas"]["Problem"]
    for shown in schema["examples"]:
        jsonschema.Draft202012Validator({**schema, "components": components}).validate(shown)


def test_what_replaces_or_removes_demands_if_match_but_for_what_adr_17_names() -> None:
    changing = [(service, path, operation) for service, method, path, operation in OPERATIONS if method in CHANGING]
    free = {f"{service}{path}" for service, path, operation in changing if "428" not in operation["responses"]}
    assert free == {
        "scheduling/v1/holds/{hold_id}",
        "notifications/v1/on-call",
        "notifications/v1/staff-contacts/{staff_id}",
    }
    assert len(changing) > len(free) + 5


def test_an_operator_may_call_what_the_clinics_profile_needs_and_nothing_of_a_patient() -> None:
    allowed = {
        f"{service}{path}" for service, _, path, operation in OPERATIONS if "operator" in operation.get("x-roles", ())
    }
    assert allowed == {f"intake/v1/clinic{part}" for part in ("", "/locations", "/services")}


@pytest.mark.parametrize("service", SERVICES)
def test_no_middleware_stands_between_a_request_and_its_own_task(service: str) -> None:
    """`BaseHTTPMiddleware` runs the endpoint in a task of its own: context and cancellation are lost (pitfalls 2.3, 21)."""
    app = create_app(service, [importlib.import_module(f"services.{service}.routes").router], None)
    kinds = [item.cls for item in app.user_middleware]
    assert kinds
    assert not [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseHTTPMiddleware)]


@pytest.mark.parametrize("service", SERVICES)
def test_what_needs_no_token_is_named_hidden_or_not(service: str) -> None:
    app = create_app(service, [importlib.import_module(f"services.{service}.routes").router], None)
    free = {
        context.path_format
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and not _admits(context.original_route.dependant)
    }
    assert free == PUBLIC.get(service, set())


def _admits(dependant: Dependant) -> bool:
    """Whether somewhere below a role is asked for."""
    return hasattr(dependant.call, ADMITTED) or any(_admits(below) for below in dependant.dependencies)


@pytest.mark.parametrize("service", SERVICES)
def test_who_demands_if_match_says_so(service: str) -> None:
    """A route that reads the expected version answers 412 and 428."""
    app = create_app(service, [importlib.import_module(f"services.{service}.routes").router], None)
    for context in iter_route_contexts(app.routes):
        if not isinstance(context.original_route, APIRoute) or not context.original_route.include_in_schema:
            continue
        demands = "call.expected_version()" in inspect.getsource(context.original_route.endpoint)
        for method in context.original_route.methods or ():
            answers = DOCUMENTS[service]["paths"][context.path_format][method.lower()]["responses"]
            assert {"412", "428"} <= set(answers) or not demands, context.path_format
