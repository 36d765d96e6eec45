"""The providers behind the channels. Each call carries an id that lets the provider see a repetition."""

from collections.abc import Mapping, Sequence
from typing import Protocol as Interface

import aiosmtplib
import httpx

from services.notifications.messages import Text, compose
from services.notifications.settings import NotificationsSettings
from shared.persistence.mongo import Document
from shared.telemetry.tracing import current_traceparent

TIMEOUT_SECONDS = 5.0
_AGAIN = frozenset({408, 409, 425, 429})


class Refused(Exception):
    """The provider will never take this message; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Unreached(Exception):
    """Not delivered as far as is known: worth trying again with the same id."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Provider(Interface):
    async def send(self, key: str, to: str, payload: Document) -> None:
        """Returns when the provider accepted it. Raises Refused, Unreached."""


class HttpProvider:
    """SMS, pagers and voice calls: POST with the Idempotency-Key header; 2xx is accepted, 4xx is final, the rest is tried again."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, url

    async def send(self, key: str, to: str, payload: Document) -> None:
        alarm = payload.get("alarm", {})
        body = {
            "to": to,
            "text": payload["text"],
            **{name: item for name, item in alarm.items() if item not in (None, "", [])},
        }
        headers = {"Idempotency-Key": key} | ({"traceparent": parent} if (parent := current_traceparent()) else {})
        try:
            answer = await self._client.post(self._url, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unreached(type(error).__name__) from None
        if answer.is_success:
            return
        final = answer.is_client_error and answer.status_code not in _AGAIN
        raise (Refused if final else Unreached)(f"http_{answer.status_code}")


class SmtpProvider:
    """E-mail; the Message-ID is made of the attempt's key. A 5yz reply is final, a 4yz reply is tried again (RFC 5321)."""

    def __init__(self, settings: NotificationsSettings) -> None:
        self._settings = settings

    async def send(self, key: str, to: str, payload: Document) -> None:
        settings = self._settings
        domain = settings.smtp_from.rpartition("@")[2]
        text = Text(subject=payload["subject"], text=payload["text"])
        try:
            mail = compose(settings.smtp_from, to, f"<{key}@{domain}>", text, payload["calendar"], payload["method"])
            await aiosmtplib.send(
                mail,
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_username,
                password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
                timeout=TIMEOUT_SECONDS,
                start_tls=settings.environment == "production",
            )
        except aiosmtplib.SMTPResponseException as error:
            raise (Refused if error.code >= 500 else Unreached)(f"smtp_{error.code}") from None  # noqa: PLR2004
        except aiosmtplib.SMTPRecipientsRefused as error:
            final = all(refused.code >= 500 for refused in error.recipients)  # noqa: PLR2004
            raise (Refused if final else Unreached)("recipient_refused") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unreached(type(error).__name__) from None
        except ValueError:
            raise Refused("not_composable") from None


def providers(settings: NotificationsSettings, client: httpx.AsyncClient) -> Mapping[str, Sequence[Provider]]:
    """By channel, in the order in which they are tried."""
    return {
        "email": [SmtpProvider(settings)],
        "sms": [HttpProvider(client, url) for url in settings.urls("sms")],
        "pager": [HttpProvider(client, url) for url in settings.urls("pager")],
        "voice": [HttpProvider(client, url) for url in settings.urls("voice")],
    }
