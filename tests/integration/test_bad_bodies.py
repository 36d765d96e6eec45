"""What is wrong in its bytes or its shape is refused in the same way by every service, and by the routes that parse by themselves."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.ids import new_id
from tests.support.problems import MARKER, refused

ID = "01920000-0000-7000-8000-00000000beef"
READING = {"sign": "8480-6", "value": 120, "unit": "mm[Hg]", "taken_at": "2026-03-02T15:00:00Z", "device": "m1"}
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Route:
    """A request that is taken as it stands, by `role`; `text` is a field of it that holds a text."""

    service: str
    method: str
    path: str
    role: str
    body: Mapping[str, Any]
    text: str
    makes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.service}{self.path}"


CREATING = (
    Route(
        *("intake", "POST", "/v1/patients", "front_desk"),
        {"birth_year": 1984, "contact": {"name": "x", "email": "ada@example.org"}},
        "name",
        ("patients", "outbox", "idempotency", "data_keys", "timers"),
    ),
    Route(
        *("scheduling", "POST", "/v1/resources", "front_desk"),
        {"kind": "room", "label": "x", "location_id": ID},
        "label",
        ("resources", "outbox", "idempotency", "timers", "claims"),
    ),
    Route(
        *("monitoring", "POST", "/v1/sessions", "nurse"),
        {"patient_id": ID, "kind": "preparation"},
        "kind",
        ("sessions", "entries", "engines", "idempotency"),
    ),
    Route(
        *("notifications", "PUT", "/v1/staff-contacts/x", "front_desk"),
        {"email": "ada@example.org", "pager": "x"},
        "pager",
        ("staff_contacts", "contacts", "data_keys"),
    ),
)
VITALS = tuple(
    Route("monitoring", "POST", path, "device", {"readings": [READING]}, "device", ("vitals", "engines", "alarms"))
    for path in ("/v1/vitals", f"/v1/sessions/{ID}/vitals")
)

Bent = Callable[[bytes, bytes], bytes]
"""What a wrong body is made of: the body as it should be, and the name and begin of its field of text."""

BYTES: dict[str, Bent] = {
    "broken": lambda body, _: body[:-1],
    "trailing comma": lambda body, _: body[:-1] + b",}",
    "no number": lambda body, _: body[:-1] + b',"x":NaN}',
    "infinity": lambda body, _: body[:-1] + b',"x":-Infinity}',
    "number beyond range": lambda body, _: body[:-1] + b',"x":1e999}',
    "integer beyond range": lambda body, _: body[:-1] + b',"x":99999999999999999999}',
    "null character": lambda body, text: body.replace(text, text + b"\\u0000"),
    "control character": lambda body, text: body.replace(text, text + b"\\u001b[2J"),
    "later control character": lambda body, text: body.replace(text, text + b"\\u009f"),
    "raw control character": lambda body, text: body.replace(text, text + b"\x07"),
    "lone surrogate": lambda body, text: body.replace(text, text + b"\\ud800"),
    "bad utf-8": lambda body, text: body.replace(text, text + b"\xff"),
    "surrogate in utf-8": lambda body, text: body.replace(text, text + b"\xed\xa0\x80"),
    "utf-16": lambda body, _: body.decode().encode("utf-16"),
    "byte order mark": lambda body, _: b"\xef\xbb\xbf" + body,
    "a name twice": lambda body, _: body[:-1] + b"," + body[1:],
    "deep": lambda body, _: body[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": lambda body, _: body[:-1] + b',"x":' + b'{"a":' * 33 + b"1" + b"}" * 34,
    "long list": lambda body, _: body[:-1] + b',"x":[' + b"1," * 10_000 + b"1]}",
    "long text": lambda body, text: body.replace(text, text + b"x" * 40_000),
}
SHAPES: dict[str, Bent] = {
    "null": lambda *_: b"null",
    "a list": lambda *_: b"[]",
    "a text": lambda *_: b'"' + MARKER.encode() + b'"',
    "an unknown field": lambda body, _: body[:-1] + b',"' + MARKER.encode() + b'":1}',
    "a wrong type": lambda body, text: body.replace(
        text, text.partition(b":")[0] + b':["' + MARKER.encode() + b'"],"y":"'
    ),
}


OWN = new_id()
"""A clinic in which nothing else happens meanwhile."""


@pytest.fixture(scope="module")
def counts(stack: Stack) -> Iterator[Callable[[Route], dict[str, int]]]:
    with MongoClient[dict[str, object]](stack.mongodb_uri) as client:
        yield lambda route: {
            name: client[route.service][name].count_documents({"clinic_id": OWN}) for name in route.makes
        }


def ask(stack: Stack, route: Route, body: bytes, kind: str = "application/json") -> httpx.Response:
    headers = {"Authorization": f"Bearer {stack.token(route.role, 'somebody', OWN)}", "Content-Type": kind}
    with httpx.Client(base_url=stack.url(route.service), headers=headers, timeout=15, verify=NO_TLS) as client:
        return client.request(route.method, route.path, content=body)


def written(route: Route) -> tuple[bytes, bytes]:
    """The body, and its field of text up to the first characters of the value."""
    body = json.dumps(route.body, separators=(",", ":")).encode()
    begin = body.index(f'"{route.text}":"'.encode())
    return body, body[begin : begin + len(route.text) + 5]


@pytest.mark.parametrize("route", CREATING, ids=str)
def test_a_good_body_is_taken(stack: Stack, route: Route) -> None:
    """So that the others are refused for what is wrong in them."""
    assert ask(stack, route, written(route)[0]).status_code in (200, 201, 204)


@pytest.mark.parametrize(("bends", "status"), [(BYTES, 400), (SHAPES, 422)], ids=["bytes", "shape"])
@pytest.mark.parametrize("route", CREATING + VITALS, ids=str)
def test_what_is_wrong_is_refused_and_changes_nothing(
    stack: Stack, counts: Callable[[Route], dict[str, int]], route: Route, bends: Mapping[str, Bent], status: int
) -> None:
    before, good = counts(route), written(route)
    answers = {name: refused(ask(stack, route, bend(*good))) for name, bend in bends.items()}
    assert answers == dict.fromkeys(bends, status)
    assert counts(route) == before


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
@pytest.mark.parametrize("route", CREATING + VITALS, ids=str)
def test_a_body_beyond_a_mebibyte_is_too_large(
    stack: Stack, counts: Callable[[Route], dict[str, int]], route: Route, kind: str
) -> None:
    before = counts(route)
    assert refused(ask(stack, route, b"x" * (1024 * 1024 + 1), kind)) == 413
    assert counts(route) == before


def test_a_wrong_line_is_refused_alone_and_nothing_of_it_is_stored(
    stack: Stack, counts: Callable[[Route], dict[str, int]]
) -> None:
    route, line = VITALS[0], json.dumps(READING | {"session_id": str(uuid4())}, separators=(",", ":")).encode()
    wrong = {name: bend(line, b'"device":"m') for name, bend in BYTES.items() if b"\n" not in bend(line, b"-")}
    before = counts(route)
    answer = ask(stack, route, b"\n".join([*wrong.values(), line]), NDJSON)
    told = [json.loads(row)["reason"] for row in answer.content.splitlines()]
    assert (answer.status_code, told) == (200, ["malformed"] * len(wrong) + ["session_unknown"])
    assert counts(route) == before


@pytest.mark.parametrize("path", [route.path for route in VITALS])
@pytest.mark.parametrize("at", ["2026-03-02T15:00:00", "2026-03-02", 1767225600, "1767225600", None, MARKER])
def test_a_reading_needs_the_zone_of_its_time(
    stack: Stack, counts: Callable[[Route], dict[str, int]], path: str, at: object
) -> None:
    route = next(route for route in VITALS if route.path == path)
    before = counts(route)
    answer = ask(stack, route, json.dumps({"readings": [READING | {"taken_at": at}]}).encode())
    assert (refused(answer), answer.json()["errors"][0]["pointer"]) == (422, "/readings/0/taken_at")
    assert counts(route) == before
