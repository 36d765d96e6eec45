"""Calls the providers. The attempt with its id is committed before the call; after a crash the same id is sent again."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from email.message import EmailMessage

import aiosmtplib
import httpx

from services.notifications.messages import calendar_file, compose, local_time
from services.notifications.settings import NotificationsSettings
from services.notifications.store import CONTACTS, MESSAGES
from services.notifications.usecases import Deps
from shared.errors import StillwaterError
from shared.events.notifications import NotificationDelivered
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import PAGES_SENT
from shared.telemetry.tracing import call_span, current_traceparent

log = logging.getLogger(__name__)

CLAIM_SECONDS = 15
SWEEP_SECONDS = 0.2
MAX_PAUSE_SECONDS = 300
TIMEOUT_SECONDS = 5.0


class Sender:
    """Pages and mail have a sender each, so that nothing queues before a page."""

    def __init__(self, mongo: Mongo, settings: NotificationsSettings, *, urgent: bool) -> None:
        self._mongo, self._settings, self._urgent = mongo, settings, urgent
        self._signal = asyncio.Event()
        self.deps: Deps

    def wake(self) -> None:
        self._signal.set()

    async def run(self, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            while not stop.is_set():
                try:
                    sent = await self.send_due(client)
                except StillwaterError as error:
                    log.warning("sender.failed", extra={"code": error.code})
                    sent = 0
                if not sent:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._signal.wait(), SWEEP_SECONDS)
                    self._signal.clear()

    async def send_due(self, client: httpx.AsyncClient) -> int:
        now = self._mongo.clock.system_now()
        query = {"state": "pending", "urgent": self._urgent, "next_at": {"$lte": now}}
        rows = await self._mongo.plumbing(MESSAGES).find(query, sort=[("next_at", 1)], limit=50)
        await asyncio.gather(*(self._send(client, row) for row in rows))
        return len(rows)

    async def _send(self, client: httpx.AsyncClient, row: Document) -> None:
        message = await self._claim(row)
        if message is None:
            return
        with call_span(f"deliver {message['channel']}", message["traceparent"], message["channel"]):
            try:
                await self._deliver(client, message)
                error = None
            except (httpx.HTTPError, aiosmtplib.SMTPException, OSError, TimeoutError) as fault:
                error = type(fault).__name__
            await self._result(message, error)

    async def _claim(self, row: Document) -> Document | None:
        """The attempt is a row before the call; a second sender that wants the same message loses here."""
        scope = system_scope(row["clinic_id"], "notifications.sender")

        async def work(unit: UnitOfWork) -> Document | None:
            message = await unit.collection(MESSAGES).get(row["_id"])
            now = unit.clock.system_now()
            if message["state"] != "pending" or message["next_at"] > now:
                return None
            attempts = [*message["attempts"], {"no": len(message["attempts"]) + 1, "at": now, "result": None}]
            after = {**message, "attempts": attempts, "next_at": now + timedelta(seconds=CLAIM_SECONDS)}
            after["version"] = message["version"] + 1
            await unit.collection(MESSAGES).replace_versioned(after)
            return after

        return await self._mongo.run(scope, work)

    async def _deliver(self, client: httpx.AsyncClient, message: Document) -> None:
        reader = self._mongo.reader(system_scope(message["clinic_id"], "notifications.sender"))
        if message["channel"] == "pager":
            body = await self.deps.vault.decrypt(reader, message["subject_id"], message["facts"]["secret"])
            headers = {"Idempotency-Key": message["_id"], "traceparent": current_traceparent() or ""}
            (await client.post(self._settings.pager_url, json=body, headers=headers)).raise_for_status()
            return
        sealed = (await reader.collection(CONTACTS).get(message["subject_id"]))["sealed"]
        contact = await self.deps.vault.decrypt(reader, message["subject_id"], sealed)
        await aiosmtplib.send(
            self._mail(message, contact),
            hostname=self._settings.smtp_host,
            port=self._settings.smtp_port,
            timeout=TIMEOUT_SECONDS,
            start_tls=None if self._settings.environment == "production" else False,
        )

    def _mail(self, message: Document, contact: dict[str, str]) -> EmailMessage:
        facts, texts = message["facts"], {"name": contact["name"]}
        calendar = None
        if "start" in facts:
            texts["start"] = local_time(facts["start"], facts["time_zone"])
        if "end" in facts:
            calendar = calendar_file(facts["appointment_id"], facts["start"], facts["end"], message["created_at"])
        template = self.deps.texts.templates[message["template"]]
        identifier = f"<{message['_id']}@stillwater>"
        return compose(template, texts, self._settings.smtp_from, contact["email"], identifier, calendar)

    async def _result(self, message: Document, error: str | None) -> None:
        scope = system_scope(message["clinic_id"], "notifications.sender").traced(current_traceparent())
        PAGES_SENT.labels(message["channel"], "failed" if error else "delivered").inc()

        async def work(unit: UnitOfWork) -> None:
            current = await unit.collection(MESSAGES).get(message["_id"])
            now, tries = unit.clock.system_now(), len(message["attempts"])
            current["attempts"][tries - 1]["result"] = error or "delivered"
            current["version"] += 1
            if error:
                current["next_at"] = now + timedelta(seconds=min(2.0**tries, MAX_PAUSE_SECONDS))
                current["state"] = "failed" if now > current["give_up_at"] else current["state"]
            else:
                current["state"] = "delivered"
                event = NotificationDelivered(
                    notification_id=message["_id"],
                    template=message["template"],
                    channel=message["channel"],
                    attempts=tries,
                )
                emit(unit, event, aggregate=f"message/{message['_id']}", version=current["version"])
            await unit.collection(MESSAGES).replace_versioned(current)

        await self._mongo.run(scope, work)
