"""No forged token is taken anywhere; and a process that has just started refuses no good one, however many come at once."""

import asyncio
import contextlib
import hmac
import json
import re
import time
from base64 import urlsafe_b64encode
from http import HTTPStatus
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pymongo import MongoClient

from deploy.local import companions
from deploy.local.companions import KID
from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import Unauthorized
from shared.messaging.topics import SERVICES
from shared.web.auth import Role, Tokens
from tests.support.eventually import eventually
from tests.support.operations import ALL

NOBODYS = "01920000-0000-7000-8000-0000000c4444"
ELSEWHERE = "01920000-0000-7000-8000-0000000c1111"
SOMETHING = "01920000-0000-7000-8000-00000000beef"
NONE = b'{"alg":"none","kid":"local-1"}'
HS256 = b'{"alg":"HS256","kid":"local-1"}'


def claims(stack: Stack, **changed: object) -> dict[str, object]:
    """`None` leaves a claim out."""
    now = int(time.time())
    base = {"iss": stack.issuer, "aud": "stillwater", "sub": "x", "iat": now, "exp": now + 60}
    whole = base | {"roles": list(Role), "patient_id": SOMETHING, "clinics": [NOBODYS]} | changed
    return {name: value for name, value in whole.items() if value is not None}


def token(stack: Stack, **changed: object) -> str:
    key = companions.signing_key(stack.home / "issuer.pem")
    return jwt.encode(claims(stack, **changed), key, algorithm="RS256", headers={"kid": KID})


def forgeries(stack: Stack) -> dict[str, str]:
    good, now = token(stack), int(time.time())
    public = httpx.get(f"{stack.issuer}/jwks").content
    pem = (
        companions.signing_key(stack.home / "issuer.pem")
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    payload = good.split(".")[1]
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own_public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own_key.public_key()))
    inside = {"kid": KID, "jwk": own_public, "jku": "http://127.0.0.1:1/"}
    return {
        "none at all": "",
        "alg none": f"{encoded(NONE)}.{payload}.",
        "key confusion": confused(payload, public),
        "key confusion with the key as PEM": confused(payload, pem),
        "expired": token(stack, exp=now - 60),
        "wrong audience": token(stack, aud="other"),
        "wrong issuer": token(stack, iss="http://elsewhere"),
        "changed": good[:-8] + "AAAAAAAA",
        "roles of the wrong type": token(stack, roles="front_desk"),
        "rubbish": "a.b.c",
        "no clinics": token(stack, clinics=None),
        "unknown key": jwt.encode({"sub": "x"}, own_key, algorithm="RS256", headers={"kid": "other"}),
        "own key under a known name": jwt.encode(claims(stack), own_key, algorithm="RS256", headers={"kid": KID}),
        "its own key inside": jwt.encode(claims(stack), own_key, algorithm="RS256", headers=inside),
        "not yet": token(stack, nbf=now + 600),
        "no end": token(stack, exp=None),
        "no subject": token(stack, sub=None),
    }


def encoded(text: bytes) -> str:
    return urlsafe_b64encode(text).decode().rstrip("=")


def confused(payload: str, key: bytes) -> str:
    signed = f"{encoded(HS256)}.{payload}"
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), 'sha256'))}"


def kept_of(client: MongoClient[Any], clinic: str) -> dict[str, int]:
    """What any service has of a clinic: its documents, rows that wait to be sent, traces of its requests."""
    names = [(service, name) for service in SERVICES for name in client[service].list_collection_names()]
    counts = {
        f"{service}.{name}": client[service][name].count_documents({"clinic_id": clinic}) for service, name in names
    }
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("service", SERVICES)
def test_no_operation_takes_a_forged_token_and_nothing_changes(stack: Stack, service: str) -> None:
    taken, asked, forged_tokens = [], 0, forgeries(stack)
    operations = [one for one in ALL if one.service == service and one.needs_token]
    with httpx.Client(base_url=stack.url(service), timeout=15) as client, MongoClient[Any](stack.mongodb_uri) as store:
        for one in operations:
            url = re.sub(r"\{\w+\}", SOMETHING, one.path)
            for name, forged in forged_tokens.items():
                headers = {"Authorization": f"Bearer {forged}".strip(), "If-Match": '"v1"'}
                with client.stream(one.method, url, json=one.example, headers=headers) as answer:
                    problem = answer.headers.get("content-type") == "application/problem+json"
                asked += 1
                if answer.status_code != HTTPStatus.UNAUTHORIZED or not problem:
                    taken.append((one.method, one.path, name, answer.status_code))
        assert taken == [], "\n".join(map(str, taken))
        assert kept_of(store, NOBODYS) == {}
    assert asked > 100


def test_a_good_token_is_taken_and_one_of_roles_that_nobody_has_is_forbidden(stack: Stack) -> None:
    """So that the forged ones are refused for what is wrong in them."""
    for service, path in {
        "intake": "inquiries",
        "scheduling": "staff",
        "monitoring": "sessions",
        "notifications": "tasks",
    }.items():
        url = f"{stack.url(service)}/v1/{path}"
        for roles, status in ((list(Role), 200), (["root"], 403)):
            bearer = token(stack, roles=roles, clinics=[ELSEWHERE])
            assert httpx.get(url, headers={"Authorization": f"Bearer {bearer}"}).status_code == status, (service, roles)


async def test_those_who_come_while_the_keys_are_fetched_wait_for_them(stack: Stack) -> None:
    tokens = Tokens(stack.issuer, "stillwater", f"{stack.issuer}/jwks", SystemClock())
    bearer = f"Bearer {stack.token('nurse', 'nurse-1')}"
    found = await asyncio.gather(*(tokens.principal(bearer) for _ in range(20)))
    assert {principal.subject for principal in found} == {"nurse-1"}


async def test_a_token_that_was_good_is_refused_when_it_has_expired(stack: Stack) -> None:
    tokens = Tokens(stack.issuer, "stillwater", f"{stack.issuer}/jwks", SystemClock())
    key, now = companions.signing_key(stack.home / "issuer.pem"), int(time.time())
    claims = {"iss": stack.issuer, "aud": "stillwater", "sub": "n", "roles": ["nurse"], "clinics": ["c"]}
    token = jwt.encode(claims | {"iat": now, "exp": now - 3}, key, "RS256", {"kid": companions.KID})
    assert (await tokens.principal(f"Bearer {token}")).subject == "n", "within the leeway of 5 s"

    async def refused() -> bool:
        with contextlib.suppress(Unauthorized):
            return not await tokens.principal(f"Bearer {token}")
        return True

    await eventually(refused, 4)
