"""What a process knows of the open sessions without the store: a read-only copy, refreshed every five seconds.

With the store gone it is the throw-away state on which this process judges the readings that it receives: shown as not
recorded, told in the beat, never written back (architecture, promise 2).
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo.errors import PyMongoError

from services.monitoring.alarms import RuleState, evaluate
from services.monitoring.combinations import concerned
from services.monitoring.engines import states_of
from services.monitoring.limits import Limits
from services.monitoring.schemas import Reading
from services.monitoring.store import engines_of, oldest_unsent_alarms, prove_writable, watched_sessions
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.devices import KINDS
from services.monitoring.usecases.readings import Delivery
from services.monitoring.vitals import MANUAL, Moment, confirmed_beyond, doubtful, judge
from shared.clock import Clock
from shared.errors import StillwaterError
from shared.events.monitoring import Priority
from shared.persistence.mongo import Document, Mongo
from shared.persistence.scope import system_scope

REFRESH_SECONDS = 5.0
ENDED_SECONDS = 60.0
UNSENT = timedelta(seconds=10)
_SCOPE = system_scope("-", "monitoring.memory")


@dataclass
class _Known:
    """One open session of any clinic: its document, the engine's states, and when it was evaluated last (real time).

    Until then `evaluated_at` is when it became known here: told in the beats it ages, so that a session which nobody
    evaluates is found. `newest`: by sign and device what was measured since the store is gone, and what was noted before.
    """

    row: Document
    states: dict[str, RuleState]
    evaluated_at: datetime
    newest: dict[str, dict[str, Moment]]


@dataclass(frozen=True)
class Unrecorded:
    """An alarm that arose while nothing could be written."""

    session_id: str
    rule: str
    priority: Priority
    since: datetime


class Memory:
    """`changed` is set when a beat should leave at once."""

    def __init__(self, mongo: Mongo, deps: Deps) -> None:
        self._mongo, self._deps = mongo, deps
        self._clock: Clock = mongo.clock
        self._known: dict[str, _Known] = {}
        self._holders: dict[tuple[str, str], str] = {}
        self._ended: dict[str, tuple[str, float]] = {}
        self._unrecorded: dict[tuple[str, str], tuple[str, Unrecorded]] = {}
        self._unsent: dict[str, datetime] = {}
        self._ahead = False  # of the store: readings were judged here that it has not
        self.store_gone = False
        self.changed = asyncio.Event()
        self.last_attempt = self._clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until `stop`; what cannot be refreshed stays as it is."""
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self.refresh()
            except (StillwaterError, PyMongoError, TimeoutError):
                self._lost()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)

    async def refresh(self) -> None:
        """Take the store's word for everything, if it takes ours; what is not open any more has ended.

        A store that can only be read knows nothing of what is being judged here, so nothing is taken from it then.
        """
        if self._ahead:
            await self._mongo.run(_SCOPE, prove_writable)
            self._ahead = False
        rows = {row["_id"]: row for row in await watched_sessions(self._mongo)}
        engines, unsent = await engines_of(self._mongo, list(rows)), await oldest_unsent_alarms(self._mongo)
        if self._ahead:  # meanwhile a write has failed
            return
        self._unsent = unsent
        now, real = self._clock.monotonic(), self._clock.system_now()
        for gone in set(self._known) - set(rows):
            self._ended[gone] = (self._known.pop(gone).row["clinic_id"], now)
        for identifier, row in rows.items():
            before = self._known.get(identifier)
            evaluated_at = before.evaluated_at if before else real
            scores = {
                code: {MANUAL: (score["at"], score["value"])} for code, score in (row.get("scores") or {}).items()
            }
            self._known[identifier] = _Known(row, states_of(engines.get(identifier)), evaluated_at, scores)
        self._holders = {
            (row["clinic_id"], row[kind]): name for name, row in rows.items() for kind in KINDS if row.get(kind)
        }
        self._ended = {name: item for name, item in self._ended.items() if now - item[1] < ENDED_SECONDS}
        self.store_gone = False
        self._unrecorded.clear()

    def _lost(self) -> None:
        if not self.store_gone:
            self.store_gone = True
            self.changed.set()

    def evaluated(self, session_ids: Iterable[str]) -> None:
        """These were evaluated just now, and it is stored."""
        now = self._clock.system_now()
        for identifier in session_ids:
            if identifier in self._known:
                self._known[identifier].evaluated_at = now

    def session_of(self, delivery: Delivery, reading: Reading) -> Document | None:
        """The clinic's open session that a reading is of, as it was known last."""
        known = self._known.get(self._named(delivery, reading) or "")
        return known.row if known and known.row["clinic_id"] == delivery.scope.clinic_id else None

    def judge(self, deliveries: Sequence[Delivery]) -> None:
        """Judge readings that could not be stored, on the copy; a new alarm is told with the next beat, at once."""
        self._lost()
        self._ahead = True
        now = self._clock.clinical_now()
        for delivery in deliveries:
            for session_id, readings in self._by_session(delivery).items():
                known = self._known.get(session_id)
                if known is not None and known.row["clinic_id"] == delivery.scope.clinic_id:
                    self._judge(known, readings, now)

    def _by_session(self, delivery: Delivery) -> dict[str, list[Reading]]:
        """As the copy knows who has which device."""
        found: dict[str, list[Reading]] = {}
        for reading in delivery.readings:
            named = self._named(delivery, reading)
            if named is not None:
                found.setdefault(named, []).append(reading)
        return found

    def _named(self, delivery: Delivery, reading: Reading) -> str | None:
        held = self._holders.get((delivery.scope.clinic_id, reading.device))
        return delivery.session_id or getattr(reading, "session_id", None) or held

    def _judge(self, known: _Known, readings: Sequence[Reading], now: datetime) -> None:
        found = self._deps.limits(known.row)
        for reading in readings:
            if judge(reading.sign, reading.value, reading.unit)[0] == "quarantined":
                continue
            self._doubt(known, reading, now)
            known.newest.setdefault(reading.sign, {})[reading.device] = (now, reading.value)
            self._evaluate(known, reading.sign, reading.value, reading.device, now, found)
            stirred = {limit.rule.sign for limit in found if limit.name in known.states}
            for combination in concerned(found.combinations, reading.sign, reading.value, stirred):
                self._evaluate(known, combination.sign, combination.count(known.newest, now), MANUAL, now, found)
        known.evaluated_at = self._clock.system_now()

    def _doubt(self, known: _Known, reading: Reading, now: datetime) -> None:
        """A value to confirm alarms here too, until a sure one, unless its alarm was recorded before the store was gone."""
        rule = f"confirm:{reading.sign}"
        if not doubtful(reading.sign, reading.value):
            self._unrecorded.pop((known.row["_id"], rule), None)
        elif confirmed_beyond(reading.sign, reading.value) is not None and rule not in (
            known.row.get("technical") or {}
        ):
            self._tell(known, rule, "medium", now)

    def _evaluate(self, known: _Known, sign: str, value: float, device: str, now: datetime, limits: Limits) -> None:
        known.states, transitions = evaluate(known.states, sign, value, now, limits, device=device)
        for transition in transitions:
            if transition.kind == "cleared":
                self._unrecorded.pop((known.row["_id"], transition.limit.name), None)
            else:
                self._tell(known, transition.limit.name, transition.limit.rule.priority, now)

    def _tell(self, known: _Known, rule: str, priority: Priority, now: datetime) -> None:
        key = (known.row["_id"], rule)
        self._unrecorded.setdefault(key, (known.row["clinic_id"], Unrecorded(*key, priority, now)))
        self.changed.set()

    def clinics(self) -> set[str]:
        """Every clinic of which a beat has something to say."""
        open_here = {known.row["clinic_id"] for known in self._known.values()}
        return open_here | {item[0] for item in self._ended.values()} | set(self._unsent)

    def unsent_since(self, clinic_id: str) -> datetime | None:
        """Since when alarms of the clinic have waited for the relay, where that is longer than any delay of its own."""
        since = self._unsent.get(clinic_id)
        return since if since and self._clock.system_now() - since > UNSENT else None

    def stamps(self, clinic_id: str) -> dict[str, datetime]:
        """The open sessions, and when this process evaluated each last, in real time; others may have done so later."""
        return {name: known.evaluated_at for name, known in self._known.items() if known.row["clinic_id"] == clinic_id}

    def ended(self, clinic_id: str) -> list[str]:
        return sorted(name for name, item in self._ended.items() if item[0] == clinic_id)

    def unrecorded(self, clinic_id: str) -> list[Unrecorded]:
        return [alarm for clinic, alarm in self._unrecorded.values() if clinic == clinic_id]
