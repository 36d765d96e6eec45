"""The local issuer's way in for pages: OIDC authorization code with PKCE (RFC 7636, S256), and a choice of who to be.

A development tool: whoever reaches it may be anybody. It redirects to loopback alone.
"""

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, HTTPException, Request, Response

CODE_SECONDS = 60
CLINIC = "01920000-0000-7000-8000-000000000001"
ROLES = ("nurse", "clinician", "prescriber", "medical_director", "front_desk")
OPEN = {"Access-Control-Allow-Origin": "*"}  # tokens are asked for by pages of other origins; nothing rests on cookies
_KEPT = ("client_id", "redirect_uri", "state", "code_challenge")
MakeToken = Callable[[str, str, str], dict[str, Any]]  # role, clinic, subject -> the answer


@dataclass(frozen=True)
class _Code:
    """What was agreed to; good for one use within a minute."""

    client_id: str
    redirect_uri: str
    challenge: str
    role: str
    clinic: str
    subject: str
    until: float


class Codes:
    def __init__(self, make_token: MakeToken) -> None:
        self._make, self._codes = make_token, dict[str, _Code]()

    def issue(self, asked: dict[str, str], role: str, clinic: str, subject: str) -> str:
        code, until = secrets.token_urlsafe(32), time.monotonic() + CODE_SECONDS
        self._codes[code] = _Code(
            asked["client_id"], asked["redirect_uri"], asked["code_challenge"], role, clinic, subject, until
        )
        return code

    def redeem(self, given: dict[str, str]) -> dict[str, Any] | None:
        """The tokens; None for a code that is unknown, used, late, or somebody else's."""
        code = self._codes.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        if code is None or time.monotonic() > code.until or not secrets.compare_digest(challenge, code.challenge):
            return None
        if (given.get("client_id"), given.get("redirect_uri")) != (code.client_id, code.redirect_uri):
            return None
        return self._make(code.role, code.clinic, code.subject)


def first_values(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


def _asked(given: dict[str, str]) -> dict[str, str]:
    """Raises HTTPException: a redirect that cannot be trusted is never followed, not even to tell of the fault."""
    target = urlsplit(given.get("redirect_uri", ""))
    if target.scheme != "http" or target.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise HTTPException(400, "redirect_uri must be on loopback")
    if given.get("response_type", "code") != "code" or given.get("code_challenge_method", "S256") != "S256":
        raise HTTPException(400, "code with S256 alone")
    if not all(given.get(name) for name in _KEPT):
        raise HTTPException(400, f"needed: {', '.join(_KEPT)}")
    return {name: given[name] for name in _KEPT}


def login_router(codes: Codes) -> APIRouter:
    router = APIRouter()

    @router.get("/authorize")
    async def choose(request: Request) -> Response:
        asked = _asked(dict(request.query_params))
        hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(text)}">' for name, text in asked.items())
        roles = "".join(f"<option>{role}</option>" for role in ROLES)
        fields = (
            f'<p><label>Role <select name="role">{roles}</select></label></p>'
            f'<p><label>Clinic <input name="clinic" size="40" value="{CLINIC}"></label></p>'
            '<p><label>Who <input name="subject" placeholder="nurse-1"></label></p>'
        )
        form = f'<form method="post">{hidden}{fields}<button type="submit">Sign in</button></form>'
        page = f'<!doctype html><html lang="en"><title>Sign in</title><h1>Local sign-in</h1>{form}</html>'
        return Response(page, media_type="text/html", headers={"Cache-Control": "no-store"})

    @router.post("/authorize")
    async def chosen(request: Request) -> Response:
        given = first_values((await request.body()).decode())
        asked, role = _asked(given), given.get("role", "nurse")
        if role not in ROLES:
            raise HTTPException(400, "unknown role")
        subject = given.get("subject") or f"{role}-1"
        code = codes.issue(asked, role, given.get("clinic") or CLINIC, subject)
        target = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        return Response(status_code=303, headers={"Location": target, "Cache-Control": "no-store"})

    return router
