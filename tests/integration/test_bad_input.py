"""Bad input gets the right problem, changes nothing, and is never a 5xx."""

import contextlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pymongo import MongoClient

from deploy.local import companions
from deploy.local.companions import KID
from deploy.local.stack import CLINIC, Stack

CONTACT = {"name": "Grace", "email": "grace@example.org"}
FORM = {"contact": CONTACT}
UNKNOWN = "01920000-0000-7000-8000-00000000dead"
MARKER = "secret-marker"
JSON = {"Content-Type": "application/json"}
STORED = ("inquiries", "patients", "plans", "outbox", "idempotency", "data_keys", "timers")


@pytest.fixture
def http(stack: Stack) -> httpx.Client:
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk')}"}
    return httpx.Client(base_url=stack.url("intake"), headers=headers, timeout=15)


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[None]:
    """Nothing was made: whatever a request of the test did is rolled back or was never begun."""
    with MongoClient[dict[str, object]](stack.mongodb_uri) as client:

        def counts() -> dict[str, int]:
            return {name: client["intake"][name].count_documents({}) for name in STORED}

        before = counts()
        yield
        assert counts() == before


def refused(answer: httpx.Response, status: int) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["status"] == status
    assert answer.json()["type"].startswith("urn:stillwater:problem:")
    assert MARKER not in answer.text
    assert MARKER not in repr(answer.headers)


def form(**changed: object) -> bytes:
    return json.dumps({"contact": {**CONTACT, **changed}}).encode()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"contact": "' + MARKER.encode() + b'",}', 400),
        (b'{"contact": NaN}', 400),
        (b'{"contact": -Infinity}', 400),
        (b'{"contact": 1e999}', 400),
        (b'{"contact": 99999999999999999999}', 400),
        (form(name=f"{MARKER}\x00"), 400),
        (form(name=f"{MARKER}\x1b[2J"), 400),
        (form(name=f"{MARKER}\x9f"), 400),
        (form(name=f"{MARKER}\ud800"), 400),
        (form(name=MARKER).replace(b"@", b"\xff"), 400),
        (form(name=MARKER).replace(b"@", b"\xed\xa0\x80"), 400),
        (form(name=MARKER).decode().encode("utf-16"), 400),
        (b"\xef\xbb\xbf" + form(), 400),
        (form().replace(b'"name"', b'"name": "' + MARKER.encode() + b'", "name"'), 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 33 + b"1" + b"}" * 33, 400),
        (form(name=MARKER * 3000), 400),
        (json.dumps([1] * 10_001).encode(), 400),
        (b"x" * (1024 * 1024 + 1), 413),
        (b"", 422),
        (b"{}", 422),
        (b"null", 422),
        (b"[]", 422),
        (b'"' + MARKER.encode() + b'"', 422),
        (form(**{MARKER: 1}), 422),
        (form(**{f"{MARKER}/~": {"deeper": 1}}), 422),
        (form(name=5), 422),
        (form(name=None), 422),
        (form(name=""), 422),
        (form(name=MARKER * 200), 422),
        (form(email=MARKER), 422),
        (form(phone=f"+1{MARKER}"), 422),
        (form(language=MARKER), 422),
        (form()[:-1] + b', "self_referred": "yes"}', 422),
        (form()[:-1] + b', "self_referred": 1}', 422),
        (form()[:-1] + b', "channel": "' + MARKER.encode() + b'"}', 422),
        (form()[:-1] + b', "channel": ["phone"]}', 422),
    ],
)
def test_a_bad_body_is_a_problem_without_an_echo(http: httpx.Client, body: bytes, status: int) -> None:
    refused(http.post("/v1/inquiries", content=body, headers=JSON), status)


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
        refused(http.post("/v1/inquiries", content=chunks(), headers=JSON), 413)
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
    refused(http.post("/v1/inquiries", content=form(), headers=headers), status)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", ["Authorization", "Clinic-Id", "Content-Type", "Idempotency-Key", "Publishable-Key"])
def test_a_header_that_comes_twice_is_a_bad_request(stack: Stack, http: httpx.Client, name: str) -> None:
    once = {"Authorization": http.headers["Authorization"], **JSON, "Clinic-Id": CLINIC}
    given = {**once, "Idempotency-Key": "k", "Publishable-Key": "pk"}[name]
    pairs = [*((key, text) for key, text in once.items() if key != name), (name, given), (name, given)]
    refused(httpx.post(f"{stack.url('intake')}/v1/inquiries", content=form(), headers=pairs), 400)


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
    refused(http.get(raw), status)


@pytest.mark.parametrize(
    "at",
    [
        *("2026-03-01T12:00:00", "2026-03-01", "1767225600", 1767225600, "2026-02-30T12:00:00Z", MARKER, None),
        *("0001-01-01T00:00:00Z", "9999-12-31T22:00:00Z", "2016-12-31T23:59:60Z"),
    ],
)
def test_a_time_needs_its_zone(stack: Stack, at: object) -> None:
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk')}"}
    visit = {"patient_id": UNKNOWN, "kind": "consultation", "resources": [UNKNOWN], "start": at}
    visit["end"] = "2026-03-01T13:00:00Z"
    answer = httpx.post(f"{stack.url('scheduling')}/v1/appointments", json=visit, headers=headers)
    refused(answer, 422)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/start"]


HS256 = b'{"alg":"HS256","kid":"local-1"}'


def b64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(stack: Stack, **changed: object) -> dict[str, object]:
    """`None` leaves a claim out."""
    now = int(time.time())
    base = {"iss": stack.issuer, "aud": "stillwater", "sub": "x", "iat": now, "exp": now + 60}
    whole = base | {"roles": ["front_desk"], "clinics": [CLINIC]} | changed
    return {name: value for name, value in whole.items() if value is not None}


def token(stack: Stack, **changed: object) -> str:
    key = companions.signing_key(stack.home / "issuer.pem")
    return jwt.encode(claims(stack, **changed), key, algorithm="RS256", headers={"kid": KID})


def test_forged_and_foreign_tokens_are_refused(stack: Stack) -> None:
    good = token(stack)
    public = httpx.get(f"{stack.issuer}/jwks").content
    header, payload = (urlsafe_b64encode(text).decode().rstrip("=") for text in (HS256, b64(good.split(".")[1])))
    mac = urlsafe_b64encode(hmac.digest(public, f"{header}.{payload}".encode(), "sha256")).decode().rstrip("=")
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own_public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own_key.public_key()))
    forged = {
        "alg none": urlsafe_b64encode(b'{"alg":"none","kid":"local-1"}').decode().rstrip("=")
        + "."
        + good.split(".")[1]
        + ".",
        "key confusion": f"{header}.{payload}.{mac}",
        "expired": token(stack, exp=int(time.time()) - 60),
        "wrong audience": token(stack, aud="other"),
        "wrong issuer": token(stack, iss="http://elsewhere"),
        "changed": good[:-8] + "AAAAAAAA",
        "roles of the wrong type": token(stack, roles="front_desk"),
        "rubbish": "a.b.c",
        "roles that nobody has": token(stack, roles=["root"]),
        "no clinics": token(stack, clinics=None),
        "unknown key": jwt.encode({"sub": "x"}, own_key, algorithm="RS256", headers={"kid": "other"}),
        "own key under a known name": jwt.encode(claims(stack), own_key, algorithm="RS256", headers={"kid": KID}),
        "its own key inside": jwt.encode(
            claims(stack),
            own_key,
            algorithm="RS256",
            headers={"kid": KID, "jwk": own_public, "jku": "http://127.0.0.1:1/"},
        ),
        "not yet": token(stack, nbf=int(time.time()) + 600),
        "no end": token(stack, exp=None),
        "no subject": token(stack, sub=None),
    }
    url = f"{stack.url('intake')}/v1/inquiries"
    answers = {
        name: httpx.get(url, headers={"Authorization": f"Bearer {text}"}).status_code for name, text in forged.items()
    }
    assert answers == dict.fromkeys(forged, 401) | {"roles that nobody has": 403}
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Bearer {good}"}).status_code == 200


def test_a_replayed_key_gives_the_same_answer_and_refuses_another_body(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first, second = (http.post("/v1/inquiries", json=FORM, headers=headers) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert second.headers["idempotent-replayed"] == "true"
    refused(http.post("/v1/inquiries", json={"contact": {**CONTACT, "name": MARKER}}, headers=headers), 422)


@pytest.mark.parametrize(
    "query",
    [
        *("cursor=AAAA", "cursor=%FF", "cursor=", f"cursor={MARKER}", "limit=0", "limit=201", "limit=abc", "limit=²"),
        *(f"{MARKER}=1", f"state={MARKER}", "state=%00", "state[$ne]=open", f"sort={MARKER}", "limit=1&limit=2"),
        *(f"updated_since={MARKER}", "updated_since=2026-03-01T12:00:00", "updated_since=0"),
    ],
)
def test_a_forged_cursor_or_an_unknown_parameter_is_a_bad_request(http: httpx.Client, query: str) -> None:
    refused(http.get(f"/v1/inquiries?{query}"), 400)


def test_a_cursor_is_good_for_its_own_list(stack: Stack, http: httpx.Client) -> None:
    for _ in range(3):
        http.post("/v1/inquiries", json=FORM)
    cursor = http.get("/v1/inquiries?limit=1").json()["next_cursor"]
    assert http.get(f"/v1/inquiries?limit=2&cursor={cursor}").status_code == 200
    text = urlsafe_b64decode(cursor).decode()
    forged = urlsafe_b64encode(text.replace("T", "U", 1).encode()).decode()
    for query in (f"cursor={forged}", f"state=open&cursor={cursor}", f"sort=updated_at&cursor={cursor}"):
        refused(http.get(f"/v1/inquiries?{query}"), 400)
    refused(http.get(f"/v1/patients?cursor={cursor}"), 400)
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk', clinic=UNKNOWN)}"}
    refused(http.get(f"/v1/inquiries?cursor={cursor}", headers=headers), 400)


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


def test_what_belongs_to_another_clinic_is_hidden(stack: Stack, http: httpx.Client) -> None:
    inquiry = http.post("/v1/inquiries", json=FORM).json()["id"]
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk', clinic=UNKNOWN)}"}
    assert http.get(f"/v1/inquiries/{inquiry}", headers=headers).status_code == 404
    assert http.get(f"/v1/inquiries/{inquiry}").status_code == 200


def test_a_stale_or_missing_etag_changes_nothing(stack: Stack, http: httpx.Client) -> None:
    inquiry = http.post("/v1/inquiries", json=FORM).json()["id"]
    patient = http.post(f"/v1/inquiries/{inquiry}/convert", json={"birth_year": 1980}).json()["id"]
    doctor = {"Authorization": f"Bearer {stack.token('prescriber', 'doc')}"}
    wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
    plan = http.post(f"/v1/patients/{patient}/plans", json=wanted, headers=doctor).json()["id"]
    path = f"/v1/plans/{plan}/activate"
    assert http.post(path, headers=doctor).status_code == 428
    for tag in ('"v9"', 'W/"v1"', "v1", '"vx"', '"v-1"', '"v²"', "*", '"v1", "v2"', f'"v{"9" * 30}"', f'"{MARKER}"'):
        refused(http.post(path, headers=httpx.Headers(doctor | {"If-Match": tag}, encoding="utf-8")), 412)
    assert http.get(f"/v1/plans/{plan}", headers=doctor).json()["state"] == "draft"
    above = http.post(f"/v1/patients/{patient}/plans", json=wanted | {"dose_mg_per_kg": 1.1}, headers=doctor)
    assert (above.status_code, above.json()["errors"][0]["pointer"]) == (422, "/dose_mg_per_kg")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/inquiries", 405)])
def test_unknown_paths_and_methods_are_problems_too(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
