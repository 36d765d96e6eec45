"""Every error as `application/problem+json` (RFC 9457); the input is never echoed."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.errors import (
    Conflict,
    FieldError,
    Invalid,
    StillwaterError,
    TooManyRequests,
    Unavailable,
    UnsupportedMedia,
)
from shared.persistence.mongo import DuplicateKey, StoreFault
from shared.web.bodies import FORM, media_type
from shared.web.nurse import NEVER, NURSE
from shared.web.paths import Methods

log = logging.getLogger(__name__)

TYPE_BASE = "urn:stillwater:problem:"
QUOTA_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "has a field that is not known",
    "json_invalid": "is not valid JSON",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}
NOT_ALLOWED = 405
_TITLES = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "This method is not allowed here")}


class FieldProblem(BaseModel):
    pointer: str
    detail: str
    code: str


class Problem(BaseModel):
    """RFC 9457 with our extensions: `errors` names fields, `reasons` says why the state forbids it."""

    model_config = ConfigDict(validate_by_name=True)

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = None
    reasons: list[dict[str, str]] | None = None
    violated_policies: list[str] | None = Field(default=None, alias="violated-policies")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems it may answer beside 400, 401, 422 and 503."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wanted = {400, 401, 403, 408, 413, 415, 422, 431, 503, *statuses}
    return {status: {"description": "Problem", "content": content.copy()} for status in sorted(wanted)}


def problem_response(error: StillwaterError, *, nurse: bool = False) -> Response:
    """On a nurse's route what must never stop her becomes 503: the same request again, and a fault for us to find."""
    if nurse and error.status in NEVER:
        log.error("http.nurse_stopped", extra={"code": error.code})
        error = Unavailable()
    body: dict[str, Any] = {"type": TYPE_BASE + error.code, "title": error.title, "status": error.status}
    if isinstance(error, TooManyRequests):
        body |= {"type": QUOTA_TYPE, "violated-policies": [error.policy]}
    if error.detail:
        body["detail"] = error.detail
    if error.errors:
        body["errors"] = [{"pointer": e.pointer, "detail": e.detail, "code": e.code} for e in error.errors]
    if error.reasons:
        body["reasons"] = list(error.reasons)
    headers = {"Cache-Control": "no-store", **error.headers}
    return Response(orjson.dumps(body), error.status, headers, media_type="application/problem+json")


def _invalid(error: RequestValidationError) -> Invalid:
    faults = []
    for fault in error.errors():
        where, *path = fault["loc"] or ("body",)
        if fault["type"] == "extra_forbidden":
            path = path[:-1]  # its name is the sender's own text
        steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path]
        pointer = "".join(f"/{step}" for step in steps) if where == "body" else f"{where}:{'/'.join(steps)}"
        faults.append(FieldError(pointer, _words(fault["type"], fault.get("ctx", {})), str(fault["type"])))
    return Invalid("The fields named in errors are not valid.", errors=faults)


def _words(code: str, bounds: Mapping[str, object]) -> str:
    """Words of our own: pydantic's may quote the input; `bounds` are those of the schema."""
    known = _WORDS.get(code)
    return known.format_map(bounds) if known else "does not match: " + code.replace("_", " ")


def install(app: FastAPI, methods: Methods) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, StillwaterError)  # noqa: S101 - registered for this class
        return problem_response(error, nurse=request.scope.get(NURSE, False))

    async def twice(request: Request, _: Exception) -> Response:
        return await ours(request, Conflict())

    async def store(request: Request, _: Exception) -> Response:
        return await ours(request, Unavailable())

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
        faults = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
        unread = "body" in faults and media_type(request.headers.get("content-type", "").encode()) == FORM
        return problem_response(UnsupportedMedia() if unread else _invalid(error))

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
        allow = {"Allow": methods.allow(request.scope["path"])} if error.status_code == NOT_ALLOWED else {}
        known = StillwaterError(headers={**(error.headers or {}), **allow})
        known.status = error.status_code
        known.code, known.title = _TITLES.get(error.status_code, ("http-error", "The request cannot be answered"))
        return problem_response(known)

    app.add_exception_handler(StillwaterError, ours)
    app.add_exception_handler(DuplicateKey, twice)
    app.add_exception_handler(StoreFault, store)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
