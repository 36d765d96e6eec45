"""One small process beside the services: an OIDC issuer, sinks for e-mail, SMS, pager, voice calls and webhooks, an OTLP receiver."""

import asyncio
import email
import email.policy
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import uvicorn
from aiosmtpd.smtp import SMTP
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, HTTPException, Request, Response

from deploy.local.login import OPEN, Codes, first_values, login_router
from deploy.local.otlp import Received, otlp_router
from deploy.local.processes import write_whole

TOKEN_SECONDS = 8 * 3600
KID = "local-1"


class Sinks:
    """What arrived, newest last; `seen` repeats are kept: they show a retry with the same id."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def add(self, kind: str, **fields: Any) -> None:
        self.messages.append(
            {"no": len(self.messages) + 1, "kind": kind, "at": datetime.now(UTC).isoformat(), **fields}
        )

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = [
            {"type": part.get_content_type(), "filename": part.get_filename(), "text": str(part.get_content())}
            for part in message.walk()
            if part.get_content_maintype() == "text"
        ]
        self.add(
            "email",
            to=list(envelope.rcpt_tos),
            subject=message["subject"],
            message_id=message["message-id"],
            parts=parts,
        )
        return "250 accepted"


def signing_key(path: Path) -> rsa.RSAPrivateKey:
    """The issuer's key, made once per stack."""
    if not path.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        write_whole(path, made.private_bytes(*form).decode())
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - we wrote it
    return key


def make_token(
    key: rsa.RSAPrivateKey, issuer: str, role: str, clinic: str, subject: str, patient_id: str | None = None
) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": "stillwater",
        "sub": subject,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    claims |= {"roles": [role], "clinics": clinic.split()} | ({"patient_id": patient_id} if patient_id else {})
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": KID})


def create(issuer: str, key: rsa.RSAPrivateKey, sinks: Sinks) -> FastAPI:
    app = FastAPI(title="Stillwater local companions")

    _add_issuer(app, issuer, key)

    @app.post("/sink/{kind}")
    async def receive(kind: str, request: Request) -> dict[str, str]:
        if kind not in {"sms", "pager", "voice", "webhook"}:
            raise HTTPException(404)
        sinks.add(kind, idempotency_key=request.headers.get("idempotency-key"), body=await request.json())
        return {"status": "accepted"}

    @app.get("/messages")
    async def messages(kind: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        return [row for row in sinks.messages[since:] if kind in (None, row["kind"])]

    app.include_router(otlp_router(Received()))
    return app


def _add_issuer(app: FastAPI, issuer: str, key: rsa.RSAPrivateKey) -> None:
    codes = Codes(lambda role, clinic, subject: _answer(make_token(key, issuer, role, clinic, subject)))
    app.include_router(login_router(codes))

    @app.get("/.well-known/openid-configuration")
    async def discovery(response: Response) -> dict[str, Any]:
        response.headers.update(OPEN)
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/jwks",
            "token_endpoint": f"{issuer}/token",
            "authorization_endpoint": f"{issuer}/authorize",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
        }

    @app.get("/jwks")
    async def jwks() -> dict[str, Any]:
        row = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {"keys": [{**row, "kid": KID, "use": "sig", "alg": "RS256"}]}

    @app.post("/token")
    async def token(request: Request, response: Response) -> dict[str, Any]:
        """For a code; or, with the role in the query, at once for whoever asks."""
        response.headers.update(OPEN)
        asked = dict(request.query_params)
        if "role" in asked:
            who = asked["role"], asked["clinic"], asked["subject"]
            return _answer(make_token(key, issuer, *who, asked.get("patient_id")))
        answer = codes.redeem(first_values((await request.body()).decode()))
        if answer is None:
            response.status_code = 400
            return {"error": "invalid_grant"}
        return answer


def _answer(token: str) -> dict[str, Any]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}


async def serve(home: Path, port: int, smtp_port: int) -> None:
    sinks = Sinks()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(sinks, hostname="localhost"), "127.0.0.1", smtp_port)
    app = create(f"http://127.0.0.1:{port}", signing_key(home / "issuer.pem"), sinks)
    config = uvicorn.Config(app, "127.0.0.1", port, log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
