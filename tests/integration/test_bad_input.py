"""Fields, headers, ids and parameters that are none get the right problem and change nothing (bytes: test_bad_bodies)."""

import contextlib
import json
from collections.abc import Iterator

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.plain import NO_TLS
from deploy.local.stack import CLINIC, Stack
from tests.support.problems import MARKER, refused

CONTACT = {"name": "Grace", "email": "grace@example.org"}
FORM = {"contact": CONTACT}
UNKNOWN = "01920000-0000-7000-8000-00000000dead"
JSON = {"Content-Type": "application/json"}
STORED = ("inquiries", "patients", "plans", "outbox", "idempotency", "data_keys", "timers")


@pytest.fixture
def http(stack: Stack) -> httpx.Client:
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk')}"}
    return httpx.Client(verify=NO_TLS, base_url=stack.url("intake"), headers=headers, timeout=15)


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[None]:
    """Nothing was made: whatever a request of the test did is rolled back or was never begun."""
    with MongoClient[dict[str, object]](stack.mongodb_uri) as client:

        def counts() -> dict[str, int]:
            return {name: client["intake"][name].count_documents({}) for name in STORED}

        before = counts()
        yield
        assert counts() == before


def form(**changed: object) -> bytes:
    return json.dumps({"contact": {**CONTACT, **changed}}).encode()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        form(**{f"{MARKER}/~": {"deeper": 1}}),
        form(name=5),
        form(name=None),
        form(name=""),
        form(name=MARKER * 200),
        form(email=MARKER),
        form(phone=f"+1{MARKER}"),
        form(language=MARKER),
        form()[:-1] + b', "self_referred": "yes"}',
        form()[:-1] + b', "self_referred": 1}',
        form()[:-1] + b', "channel": "' + MARKER.encode() + b'"}',
        form()[:-1] + b', "channel": ["phone"]}',
    ],
)
def test_a_bad_field_is_a_problem_without_an_echo(http: httpx.Client, body: bytes) -> None:
    assert refused(http.post("/v1/inquiries", content=body, headers=JSON)) == 422


@pytest.mark.usefixtures("unchanged")
def test_a_huge_body_in_chunks_is_cut(http: httpx.Client) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 65_536

    with contextlib.suppress(
        httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError
    ):  # the server has closed already
        assert refused(http.post("/v1/inquiries", content=chunks(), headers=JSON)) == 413
    assert sent < 1000


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/xml"}, 415),
        ({"Content-Type": "application/jsonp"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (JSON | {"Content-Encoding": "gzip"}, 415),
        (JSON | {"Idempotency-Key": MARKER * 40}, 400),
        (JSON | {"Clinic-Id": UNKNOWN}, 404),
        (JSON | {"Clinic-Id": MARKER}, 404),
        (JSON | {"Publishable-Key": MARKER}, 401),
    ],
)
def test_a_bad_header_is_a_problem(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert refused(http.post("/v1/inquiries", content=form(), headers=headers)) == status


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", ["Authorization", "Clinic-Id", "Content-Type", "Idempotency-Key", "Publishable-Key"])
def test_a_header_that_comes_twice_is_a_bad_request(stack: Stack, http: httpx.Client, name: str) -> None:
    once = {"Authorization": http.headers["Authorization"], **JSON, "Clinic-Id": CLINIC}
    given = {**once, "Idempotency-Key": "k", "Publishable-Key": "pk"}[name]
    pairs = [*((key, text) for key, text in once.items() if key != name), (name, given), (name, given)]
    assert refused(httpx.post(f"{stack.url('intake')}/v1/inquiries", content=form(), headers=pairs)) == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/inquiries/../../etc/passwd", 404),
        ("/v1/inquiries/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
        ("/v1/inquiries/..%5c..%5cwindows", 422),
        (f"/v1/inquiries/{MARKER}", 422),
        ("/v1/inquiries/%00", 422),
        ("/v1/inquiries/%ff%fe", 422),
        ("/v1/inquiries/%7B%22$gt%22:%22%22%7D", 422),
        (f"/v1/inquiries/{UNKNOWN.upper()}", 422),
        (f"/v1/inquiries/{UNKNOWN}%0a", 422),
        (f"/v1/inquiries/{UNKNOWN}", 404),
        ("/v1/inquiries/" + "a" * 8000, 422),
        (f"/{MARKER}", 404),
    ],
)
def test_an_id_that_is_none_finds_nothing(stack: Stack, http: httpx.Client, path: str, status: int) -> None:
    raw = httpx.URL(stack.url("intake")).copy_with(raw_path=path.encode())
    assert refused(http.get(raw)) == status


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=abc", "limit=²"),
        *(f"{MARKER}=1", f"state={MARKER}", "state=%00", "state[$ne]=open", f"sort={MARKER}", "limit=1&limit=2"),
    ],
)
def test_an_unknown_parameter_or_value_is_a_bad_request(http: httpx.Client, query: str) -> None:
    assert refused(http.get(f"/v1/inquiries?{query}")) == 400


def test_pages_follow_each_other_without_gap(http: httpx.Client) -> None:
    made = {http.post("/v1/inquiries", json=FORM).json()["id"] for _ in range(5)}
    seen: list[str] = []
    url = "/v1/inquiries?limit=2"
    while url and not made <= set(seen):
        answer = http.get(url)
        seen += [row["id"] for row in answer.json()["items"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    assert made <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/inquiries", 405)])
def test_unknown_paths_and_methods_are_problems_too(http: httpx.Client, method: str, path: str, status: int) -> None:
    assert refused(http.request(method, path)) == status
