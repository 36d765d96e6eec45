"""What an OpenAPI document says beyond FastAPI's own words: problems, tokens, our headers, and examples."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from shared.web.bodies import LINES
from shared.web.call import ADMITTED
from shared.web.examples import example
from shared.web.form import is_public_form
from shared.web.idempotency import KEY_PATTERN
from shared.web.nurse import is_nurse_route
from shared.web.paging import NEWEST, PAGE_MAX, SORTS
from shared.web.problems import TYPE_BASE, Problem, problems

Object = dict[str, Any]
_NO_USE = ("HTTPValidationError", "ValidationError")
_PROBLEM = {
    "type": f"{TYPE_BASE}invalid",
    "title": "The input is not valid",
    "status": 422,
    "errors": [{"pointer": "/channel", "detail": "is required", "code": "missing"}],
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "RS256 or ES256, from the OIDC provider that the service is told; carries roles and clinics.",
}
_ID: Object = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_KEY: Object = {"type": "string", "pattern": KEY_PATTERN}
_ETAG: Object = {"type": "string", "pattern": '^"v[0-9]{1,15}"$'}
_PARAMETERS: dict[str, tuple[str, str, bool, Object]] = {
    "ClinicId": ("Clinic-Id", "Chooses the clinic where the token carries several.", False, _ID),
    "IdempotencyKey": (
        "Idempotency-Key",
        "The same key and body within 24 h get the first success again.",
        False,
        _KEY,
    ),
    "IfMatch": ("If-Match", "The ETag that was read; 412 when the resource has changed since.", False, _ETAG),
    "IfMatchNeeded": (
        "If-Match",
        "The ETag that was read; 428 without it, 412 when it has changed since.",
        True,
        _ETAG,
    ),
}
_PAGING: Object = {
    "Limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}},
    "Cursor": {"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "`next_cursor` as given"},
    "Sort": {
        "name": "sort",
        "in": "query",
        "schema": {"type": "string", "enum": list(SORTS), "default": NEWEST},
        "description": "`-` is newest first.",
    },
    "UpdatedSince": {
        "name": "updated_since",
        "in": "query",
        "schema": {"type": "string", "format": "date-time"},
        "description": "What has changed at or after this time.",
    },
}
_RATE = {
    "RateLimit": {"schema": {"type": "string"}, "description": '`"default";r=50;t=30`: 50 more, to last 30 s.'},
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": '`"default";q=100;w=60`: 100 in 60 s.'},
}


def describe(app: FastAPI, document: Object) -> None:
    """Adds to the document in place."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema | {"examples": [_PROBLEM]}
    for name in _NO_USE:
        schemas.pop(name, None)
    components["securitySchemes"] = {"bearer": _BEARER}
    components["parameters"] = {key: _header(*words) for key, words in _PARAMETERS.items()} | _PAGING
    components["headers"] = _RATE
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"][context.path_format][method.lower()]
                _guard(operation, route, method)
                _limit(operation, route)
                _show(operation, document)


def _header(name: str, description: str, required: bool, schema: Object) -> Object:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


def _guard(operation: Object, route: APIRoute, method: str) -> None:
    """Token and headers of a route that `admit` guards, or that the public form may use."""
    admitted = next((found for call in _calls(route.dependant) if (found := getattr(call, ADMITTED, None))), None)
    if admitted is not None:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = sorted(admitted)
    elif not is_public_form(route.endpoint):
        return
    operation["responses"].setdefault("404", problems(404)[404])  # the clinic asked for is not one of the token's
    if method == "POST" and not is_nurse_route(route.endpoint):
        operation["responses"].setdefault("409", problems(409)[409])  # a twin under the same key is still at it
    wanted = ["ClinicId"] + (["IdempotencyKey"] if method == "POST" and not _is_of_readings(operation) else [])
    if "412" in operation["responses"]:
        wanted.append("IfMatchNeeded" if "428" in operation["responses"] else "IfMatch")
    if "Listing" in str(operation["responses"].get("200")):
        wanted += ["Limit", "Cursor", "Sort", "UpdatedSince"]
    operation.setdefault("parameters", []).extend({"$ref": f"#/components/parameters/{key}"} for key in wanted)


def _is_of_readings(operation: Object) -> bool:
    """Each reading has a key of its own (ADR 11): said again it is a duplicate, under whatever header."""
    return LINES.decode() in operation.get("requestBody", {}).get("content", {})


def _limit(operation: Object, route: APIRoute) -> None:
    """How much may be asked; nothing on a nurse's route."""
    if is_nurse_route(route.endpoint):
        operation["x-nurse-route"] = True
    elif "security" in operation or is_public_form(route.endpoint):
        operation["responses"]["429"] = problems(429)[429]
        for answer in (operation["responses"][status] for status in operation["responses"] if status[0] == "2"):
            answer["headers"] = {
                **answer.get("headers", {}),
                **{k: {"$ref": f"#/components/headers/{k}"} for k in _RATE},
            }


def _calls(dependant: Dependant) -> Iterator[object]:
    for part in dependant.dependencies:
        yield part.call
        yield from _calls(part)


def _show(operation: Object, document: Object) -> None:
    """An example wherever a body is described; a field whose pattern nobody can guess leaves it out."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for holder in (operation.get("requestBody", {}), *answers):
        content = holder.get("content", {}).get("application/json", {})
        if content.get("schema") and not {"example", "examples"} & set(content):
            try:
                content["example"] = example(content["schema"], document)
            except ValueError:
                continue
