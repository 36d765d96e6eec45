"""Pages without a store: rota and pager addresses are kept in memory, refreshed every five seconds.

When an alarm cannot be written, its people are paged all the same, under the ids that the rows will have: on return the
record is handled, the same pages are sent under the same ids, and the providers see repetitions. A page prefers a
duplicate to a loss (architecture, promise 1).
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymongo.errors import PyMongoError

from services.notifications import escalation as rules
from services.notifications.messages import alarm_kind, text_of
from services.notifications.providers import Provider, Refused, Unreached
from services.notifications.store import clinics_with_staff
from services.notifications.usecases import directory
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.directory import Book
from services.notifications.usecases.paging import FALLBACK, ways
from shared.errors import StillwaterError
from shared.events.envelope import Envelope, Event, rfc3339
from shared.events.monitoring import EmergencyCalled, SignalLost, StaffRef, VitalsAbnormal
from shared.ids import derived_id
from shared.persistence.mongo import Document, Mongo
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import PAGES_SENT

log = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
KEPT = timedelta(hours=1)  # a store that can be read and not written to ends no ladder
NOBODY = Book({}, {})


@dataclass(frozen=True)
class _Tried:
    """An event that could not be recorded: since when, and the pages that were sent for it."""

    since: datetime
    sent: set[str] = field(default_factory=set)


class PagerBook:
    """One per worker; `page` is called for an alarm whose transaction failed, as often as it is tried again."""

    def __init__(self, mongo: Mongo, deps: Deps, providers: Mapping[str, Sequence[Provider]]) -> None:
        self._mongo, self._deps, self._providers = mongo, deps, providers
        self.last_attempt = mongo.clock.monotonic()
        self._books: dict[str, Book] = {}
        self._tried: dict[str, _Tried] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until `stop`; what cannot be refreshed stays as it is."""
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            with contextlib.suppress(StillwaterError, PyMongoError):
                await self.refresh()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)

    async def refresh(self) -> None:
        found: dict[str, Book] = {}
        for clinic_id in await clinics_with_staff(self._mongo):
            self.last_attempt = self._mongo.clock.monotonic()
            reader = self._mongo.reader(system_scope(clinic_id, "notifications.memory"))
            found[clinic_id] = await directory.open_book(reader, self._deps)
        self._books = found
        until = self._mongo.clock.clinical_now() - KEPT
        self._tried = {event_id: tried for event_id, tried in self._tried.items() if tried.since > until}

    async def page(self, envelope: Envelope, event: Event) -> None:
        """Send every step that is due by now and was not sent from here yet."""
        book = self._books.get(envelope.clinic_id, NOBODY)
        tried = self._tried.setdefault(envelope.id, _Tried(self._mongo.clock.clinical_now()))
        if isinstance(event, EmergencyCalled):
            facts: Document = {"kind": "EMERGENCY", "what": event.code, "room": event.room, "chair": event.chair}
            cause = f"emergency:{event.session_id}:{event.at.isoformat()}"
            for person in list(book.routes) or [FALLBACK]:
                identifier = derived_id("page", envelope.clinic_id, cause, person)
                await self._send(tried, identifier, book.routes.get(person), facts, event.at)
        elif isinstance(event, VitalsAbnormal | SignalLost):
            await self._ladder(envelope, event, tried, book)

    async def _ladder(self, envelope: Envelope, event: VitalsAbnormal | SignalLost, tried: _Tried, book: Book) -> None:
        """The same steps that the escalation would take, by its own rules."""
        since = tried.since
        escalation = derived_id("escalation", envelope.clinic_id, event.alarm_id)
        reached = {role: [person for person in people if person in book.routes] for role, people in book.rota.items()}
        responsible, facts, raised_at = _said(event, since)
        staff = [person.model_dump() for person in responsible if person.staff_id in book.routes]
        state = rules.begin(event.priority, since)
        ladder = self._deps.policy.ladder(event.priority)
        now = self._mongo.clock.clinical_now()
        while (due := rules.due_of_step(ladder, since, state.step + 1)) is not None and due <= now:
            taken = rules.take(self._deps.policy, state, staff, reached)
            state = taken.state
            for person in taken.people or (FALLBACK,):
                for kind, routes in ways(book, taken, person):
                    identifier = derived_id(kind, escalation, str(state.run), str(state.step), person)
                    await self._send(tried, identifier, routes, facts, raised_at)

    async def _send(
        self,
        tried: _Tried,
        identifier: str,
        routes: Sequence[Sequence[str]] | None,
        facts: Document,
        raised_at: datetime,
    ) -> None:
        if identifier in tried.sent:
            return
        channel, to = (routes or [["pager", self._deps.fallback_pager]])[0]
        now = self._mongo.clock.clinical_now()
        alarm = {"priority": "high", **facts, "raised_at": rfc3339(raised_at)}
        text = text_of(channel, alarm, raised_at, now, self._deps.policy.old_after_s)
        key = derived_id("attempt", identifier, "0", f"{channel}.0")
        try:
            await self._providers[channel][0].send(key, to, {"text": text, "alarm": alarm})
        except (Refused, Unreached) as error:
            log.warning("memory.page_failed", extra={"code": error.code, "channel": channel})
            return
        tried.sent.add(identifier)
        PAGES_SENT.labels(channel, "from_memory").inc()
        log.warning("memory.paged", extra={"channel": channel})


def _said(event: VitalsAbnormal | SignalLost, since: datetime) -> tuple[Sequence[StaffRef], Document, datetime]:
    """Who is responsible, what the page says, and when it was raised. Of a device that is silent the place is not known here."""
    about: Document = {"alarm_id": event.alarm_id, "priority": event.priority}
    if isinstance(event, SignalLost):
        return (), {**about, "kind": "signal lost", "what": event.source}, since
    place = {"room": event.room, "chair": event.chair, "what": event.rule}
    signs = [sign.model_dump() for sign in event.signs]
    return (
        event.responsible_staff,
        {**about, **place, "kind": alarm_kind(event.category), "signs": signs},
        event.raised_at,
    )
