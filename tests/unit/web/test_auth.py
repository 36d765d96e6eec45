"""Tokens against a provider's keys, whatever else it publishes and however slowly it answers; and in which role one acts."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.clock import SystemClock
from shared.errors import BadRequest, NotFound, Unauthorized, Unavailable
from shared.web.auth import Principal, Role, Tokens
from tests.support.eventually import eventually

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP256R1())
SECRET = b"known to everybody, for it stands among the keys"
ODD = [
    {"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc", "n": "AQAB", "e": "AQAB"},
    {"kty": "new", "kid": "tomorrow"},
    {"kty": "oct", "kid": "symmetric", "k": urlsafe_b64encode(SECRET).decode()},
    {"kid": "nothing"},
]


def published(kid: str, key: Any = KEY) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if key is KEY else jwt.algorithms.ECAlgorithm
    row: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return row | {"kid": kid}


def token(kid: str = "k1", key: Any = KEY, algorithm: str = "RS256", **changed: Any) -> str:
    now = int(time.time())
    claims = {"iss": "i", "aud": "a", "sub": "s", "iat": now, "exp": now + 60, "roles": ["nurse"], "clinics": ["c"]}
    return "Bearer " + jwt.encode(claims | changed, key, algorithm=algorithm, headers={"kid": kid})


class Wound(SystemClock):
    """A clock that a test puts forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@asynccontextmanager
async def provider(answer: Callable[[], Awaitable[bytes]], clock: SystemClock | None = None) -> AsyncIterator[Tokens]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await answer()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Tokens("i", "a", f"http://127.0.0.1:{port}/jwks", clock or SystemClock())


async def test_a_provider_may_publish_keys_that_sign_no_token_of_ours() -> None:
    async def answer() -> bytes:
        return json.dumps({"keys": [*ODD, published("k1"), published("k2", OTHER)]}).encode()

    async with provider(answer) as tokens:
        assert (await tokens.principal(token())).subject == "s"
        assert (await tokens.principal(token("k2", OTHER, "ES256"))).subject == "s"
        for kid in ("enc", "symmetric", "tomorrow"):
            with pytest.raises(Unauthorized):
                await tokens.principal(token(kid))
        for bad in (token("k2"), token("k1", OTHER, "ES256"), token("symmetric", SECRET, "HS256")):
            with pytest.raises(Unauthorized):
                await tokens.principal(bad)


async def test_a_flood_of_unknown_keys_asks_the_provider_once() -> None:
    asked = 0

    async def answer() -> bytes:
        nonlocal asked
        asked += 1
        return json.dumps({"keys": [published("k1")]}).encode()

    async with provider(answer) as tokens:
        await tokens.principal(token())
        refused = await asyncio.gather(
            *(tokens.principal(token(f"unknown-{number}")) for number in range(50)), return_exceptions=True
        )
        assert {type(error) for error in refused} == {Unauthorized}
        assert (await tokens.principal(token())).subject == "s"
    assert asked == 1


async def test_a_key_that_is_new_at_the_provider_is_fetched() -> None:
    keys, clock = [published("k1")], Wound()

    async def answer() -> bytes:
        return json.dumps({"keys": keys}).encode()

    async with provider(answer, clock) as tokens:
        await tokens.principal(token())
        keys.append(published("k2", OTHER))
        clock.ahead = 6
        assert (await tokens.principal(token("k2", OTHER, "ES256"))).subject == "s"


@pytest.mark.parametrize("broken", [b"not now", b'{"keys": []}', b"{}"])
async def test_the_last_good_keys_are_kept_while_the_provider_has_none(broken: bytes) -> None:
    bodies, clock = [json.dumps({"keys": [published("k1")]}).encode(), broken], Wound()

    async def answer() -> bytes:
        return bodies.pop(0)

    async with provider(answer, clock) as tokens:
        await tokens.principal(token())
        clock.ahead = 6
        with pytest.raises(Unauthorized):
            await tokens.principal(token("unknown"))
        assert not bodies
        assert (await tokens.principal(token(sub="another"))).subject == "another"


async def test_a_patients_token_that_names_no_patient_is_refused() -> None:
    async def answer() -> bytes:
        return json.dumps({"keys": [published("k1")]}).encode()

    async with provider(answer) as tokens:
        assert (await tokens.principal(token(roles=["patient"], patient_id="p"))).patient_id == "p"
        for nobody in ({}, {"patient_id": ""}, {"patient_id": None}):
            with pytest.raises(Unauthorized):
                await tokens.principal(token(roles=["patient"], **nobody))


def test_the_clinic_is_chosen_where_a_token_has_several() -> None:
    two = Principal("s", frozenset({Role.NURSE}), frozenset({"east", "west"}))
    assert two.clinic("west") == "west"
    with pytest.raises(BadRequest):
        two.clinic(None)
    with pytest.raises(NotFound):
        two.clinic("north")
    assert Principal("s", frozenset({Role.NURSE}), frozenset({"east"})).clinic(None) == "east"


async def test_who_waits_for_keys_that_cannot_be_had_waits_once() -> None:
    """Twenty at a fresh process, each with a fetch of its own, would hold a nurse for a minute."""
    asked, all_wait = 0, asyncio.Event()

    async def answer() -> bytes:
        nonlocal asked
        asked += 1
        await all_wait.wait()
        return b"not now"

    async with provider(answer) as tokens:
        callers = [asyncio.create_task(tokens.principal(token())) for _ in range(20)]

        async def one_asks() -> bool:
            return asked == 1

        await eventually(one_asks)
        all_wait.set()
        refused = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(error) for error in refused} == {Unavailable}
    assert asked == 1


@pytest.mark.parametrize(
    ("roles", "admitted", "acts_as"),
    [
        ({Role.NURSE}, set(Role), Role.NURSE),
        ({Role.NURSE, Role.PRESCRIBER}, {Role.NURSE, Role.PRESCRIBER}, Role.PRESCRIBER),
        ({Role.FRONT_DESK, Role.NURSE}, {Role.NURSE, Role.PRESCRIBER}, Role.NURSE),
        ({Role.CLINICIAN, Role.PATIENT}, set(Role), Role.CLINICIAN),
        ({Role.OPERATOR}, {Role.NURSE}, None),
        (set(), set(Role), None),
    ],
)
def test_who_has_several_roles_acts_in_the_one_that_may_do_most_here(
    roles: set[Role], admitted: set[Role], acts_as: Role | None
) -> None:
    assert Principal("s", frozenset(roles), frozenset()).role(frozenset(admitted)) == acts_as
