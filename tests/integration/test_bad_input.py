"""Bad input gets the right problem, changes nothing, and is never a 5xx."""

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import uuid4

import httpx
import jwt
import pytest

from deploy.local import companions
from deploy.local.stack import CLINIC, Stack

CONTACT = {"name": "Grace", "email": "grace@example.org"}
FORM = {"contact": CONTACT}
UNKNOWN = "01920000-0000-7000-8000-00000000dead"


@pytest.fixture
def http(stack: Stack) -> httpx.Client:
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk')}"}
    return httpx.Client(base_url=stack.url("intake"), headers=headers, timeout=15)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"contact": NaN}', 400),
        (b'{"contact": "\\u0000"}', 400),
        (b'{"contact": "\\ud800"}', 400),
        (b'"\xff"', 400),
        (b"[" * 100 + b"]" * 100, 400),
        (b"x" * (1024 * 1024 + 1), 413),
        (b"{}", 422),
        (b"null", 422),
        (b'{"contact": {"name": "G", "email": "g@x", "extra": 1}}', 422),
        (b'{"contact": {"name": 5, "email": "g@x"}}', 422),
        (b'{"contact": {"name": "G", "email": "secret-marker"}}', 422),
    ],
)
def test_a_bad_body_is_a_problem_without_an_echo(http: httpx.Client, body: bytes, status: int) -> None:
    answer = http.post("/v1/inquiries", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "secret-marker" not in answer.text
    assert answer.json()["type"].startswith("urn:stillwater:problem:")


def test_another_media_type_is_unsupported(http: httpx.Client) -> None:
    assert http.post("/v1/inquiries", content=b"<a/>", headers={"Content-Type": "text/xml"}).status_code == 415


HS256 = b'{"alg":"HS256","kid":"local-1"}'


def b64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def token(stack: Stack, **claims: object) -> str:
    now = int(time.time())
    base = {"iss": stack.issuer, "aud": "stillwater", "sub": "x", "iat": now, "exp": now + 60}
    whole = base | {"roles": ["front_desk"], "clinics": [CLINIC]} | claims
    key = companions.signing_key(stack.home / "issuer.pem")
    return jwt.encode(whole, key, algorithm="RS256", headers={"kid": companions.KID})


def test_forged_and_foreign_tokens_are_refused(stack: Stack) -> None:
    good = token(stack)
    public = httpx.get(f"{stack.issuer}/jwks").content
    header, payload = (urlsafe_b64encode(text).decode().rstrip("=") for text in (HS256, b64(good.split(".")[1])))
    mac = urlsafe_b64encode(hmac.digest(public, f"{header}.{payload}".encode(), "sha256")).decode().rstrip("=")
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
    }
    url = f"{stack.url('intake')}/v1/inquiries"
    answers = {
        name: httpx.get(url, headers={"Authorization": f"Bearer {text}"}).status_code for name, text in forged.items()
    }
    assert answers == dict.fromkeys(forged, 401)
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Bearer {good}"}).status_code == 200


def test_a_replayed_key_gives_the_same_answer_and_refuses_another_body(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first, second = (http.post("/v1/inquiries", json=FORM, headers=headers) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert second.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/inquiries", json={"contact": {**CONTACT, "name": "Other"}}, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    "query", ["cursor=AAAA", "cursor=%FF", "limit=0", "limit=201", "limit=abc", "limit=²", "unknown=1"]
)
def test_a_forged_cursor_or_an_unknown_parameter_is_a_bad_request(http: httpx.Client, query: str) -> None:
    assert http.get(f"/v1/inquiries?{query}").status_code == 400


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
    for tag in ('"v9"', 'W/"v1"', "v1", '"vx"'):
        assert http.post(path, headers=doctor | {"If-Match": tag}).status_code == 412
    assert http.get(f"/v1/plans/{plan}", headers=doctor).json()["state"] == "draft"
    above = http.post(f"/v1/patients/{patient}/plans", json=wanted | {"dose_mg_per_kg": 1.1}, headers=doctor)
    assert (above.status_code, above.json()["errors"][0]["pointer"]) == (422, "/dose_mg_per_kg")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/inquiries", 405)])
def test_unknown_paths_and_methods_are_problems_too(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
