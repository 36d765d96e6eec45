"""What a provider is told, and which of its answers are final."""

import asyncio
import json
from typing import Any

import httpx
from aiosmtpd.smtp import SMTP

from services.notifications.providers import HttpProvider, Refused, SmtpProvider, Unreached
from services.notifications.settings import NotificationsSettings


async def test_the_http_provider_sends_its_key_and_tells_final_from_passing_faults() -> None:
    seen: list[httpx.Request] = []
    answers = iter([200, 503, 429, 404])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(next(answers))

    payload = {"text": "t", "alarm": {"room": "Room 2", "chair": None, "link": "http://x/v1/links/t"}}
    faults: list[str] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = HttpProvider(client, "http://pager.test")
        for _ in range(4):
            try:
                await provider.send("key-1", "pager-n1", payload)
            except (Refused, Unreached) as error:
                faults.append(f"{type(error).__name__} {error.code}")
    assert faults == ["Unreached http_503", "Unreached http_429", "Refused http_404"]
    assert {request.headers["idempotency-key"] for request in seen} == {"key-1"}
    assert json.loads(seen[0].content) == {
        "to": "pager-n1",
        "text": "t",
        "room": "Room 2",
        "link": "http://x/v1/links/t",
    }


class _Mailbox:
    def __init__(self) -> None:
        self.reply, self.messages = "250 accepted", list[bytes]()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.messages.append(envelope.content)
        return self.reply


async def test_the_smtp_provider_makes_the_message_id_of_the_key() -> None:
    mailbox = _Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="localhost"), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        fields = {
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_from": "clinic@example.org",
            "environment": "local",
        }
        provider = SmtpProvider(NotificationsSettings.model_construct(**fields))
        payload = {"subject": "s", "text": "Grüße", "calendar": None, "method": "REQUEST"}
        await provider.send("key-1", "ada@example.org", payload)
        assert b"<key-1@example.org>" in mailbox.messages[0]
        faults = []
        for mailbox.reply in ("451 later", "550 no"):
            try:
                await provider.send("key-1", "ada@example.org", payload)
            except (Refused, Unreached) as error:
                faults.append(f"{type(error).__name__} {error.code}")
        assert faults == ["Unreached smtp_451", "Refused smtp_550"]
    finally:
        server.close()
        await server.wait_closed()
