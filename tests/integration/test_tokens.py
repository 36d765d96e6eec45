"""A process that has just started refuses no good token, however many come at once."""

import asyncio

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.web.auth import Tokens


async def test_those_who_come_while_the_keys_are_fetched_wait_for_them(stack: Stack) -> None:
    tokens = Tokens(stack.issuer, "stillwater", f"{stack.issuer}/jwks", SystemClock())
    bearer = f"Bearer {stack.token('nurse', 'nurse-1')}"
    found = await asyncio.gather(*(tokens.principal(bearer) for _ in range(20)))
    assert {principal.subject for principal in found} == {"nurse-1"}
