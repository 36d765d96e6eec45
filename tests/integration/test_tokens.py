"""A process that has just started refuses no good token, however many come at once."""

import asyncio
import contextlib
import time

import jwt

from deploy.local import companions
from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import Unauthorized
from shared.web.auth import Tokens
from tests.support.eventually import eventually


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
