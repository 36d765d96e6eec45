"""The board's state in one process, and the fan-out of its one change stream to every reader.

Alarm transitions carry the change stream's own position, so that whichever replica answers can go on after it (ADR 14).
Values are latest-wins: one frame per clinic every half second, encoded once for all its readers. Of values only those of
clinics that somebody looks at here are asked for.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from services.monitoring.board import FRAME_SECONDS, NOT_NOW, Chair, Latest, show_alarm, show_chair
from services.monitoring.board_beats import HeardBeats
from services.monitoring.board_readers import Reader
from services.monitoring.board_signs import recent_signs
from services.monitoring.memory import Memory
from services.monitoring.model import SessionProtocol
from services.monitoring.store import ALARMS, SESSIONS, VITALS, open_alarms, vault_keys, watched_sessions
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.placing import TRANSPORT_SECONDS
from shared.errors import StillwaterError, Unavailable
from shared.persistence.audit import audit
from shared.persistence.changes import Change, Changes, PositionLost
from shared.persistence.mongo import Document, Mongo, StoreFault, UnitOfWork
from shared.persistence.scope import Scope, system_scope
from shared.persistence.vault import Erased
from shared.web.streams import frame

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
LIFETIME_SECONDS = 900.0  # then the page comes again, and its token is looked at anew
SHRINK_SECONDS = 60.0
KEPT_TRANSITIONS = REPLAYED = 5000
REPLAY_SECONDS = 5.0
REPLAYS_AT_ONCE = 4
OWED = 1000
ARRIVED, DECIDED = "insert", "replace"  # a reading is written once, and whole again when a human decides about it
_WRITES = {"$in": ["insert", "update", "replace", "delete"]}


class Board:
    """One per process that answers requests. `store_gone` while nothing can be read: shown as such, at once."""

    def __init__(self, mongo: Mongo, deps: Deps, memory: Memory, heard: HeardBeats) -> None:
        self._mongo, self._deps, self._memory, self._heard = mongo, deps, memory, heard
        self._clock = mongo.clock
        self._chairs: dict[str, dict[str, Chair]] = {}
        self._readers: dict[str, set[Reader]] = {}
        self._latest: dict[str, Latest] = {}
        self._watched: frozenset[str] = frozenset()
        self._followed: frozenset[str] = frozenset()
        self._loaded: set[str] = set()
        self._kept: deque[tuple[str, str, bytes]] = deque(maxlen=KEPT_TRANSITIONS)
        self._owed: deque[tuple[Scope, datetime]] = deque(maxlen=OWED)
        self._position: str | None = None
        self._last_change = ""
        self._reopen = asyncio.Event()
        self._replays = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._lost, self._stopped = True, False
        self._told: dict[str, Document] = {}
        self.last_attempt = self._clock.monotonic()

    @property
    def store_gone(self) -> bool:
        return self._lost or self._memory.store_gone

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then every reader is told to come again, elsewhere."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(stop))
            group.create_task(self._pace(stop))
        self._stopped = True
        for reader in self._all_readers():
            reader.close("drain")

    # Readers

    async def join(self, clinic_id: str, seconds: float = LIFETIME_SECONDS) -> Reader:
        """From now on it gets every frame of its clinic, for so long at most. Raises Unavailable while the process is ending."""
        if self._stopped:
            raise Unavailable("This process is ending; come again.")
        if clinic_id not in self._watched:
            self._watched |= {clinic_id}
            self._reopen.set()
        if not self.store_gone and clinic_id not in self._loaded:
            try:
                await self._load_signs(clinic_id)
            except StoreFault as error:
                log.warning("board.signs", extra={"error": type(error).__name__})
        reader = Reader(clinic_id, self._clock.monotonic() + min(seconds, LIFETIME_SECONDS))
        self._readers.setdefault(clinic_id, set()).add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        readers = self._readers.get(reader.clinic_id, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(reader.clinic_id, None)

    async def noted(self, scope: Scope) -> None:
        """The audit row of this reading, committed before the answer; with the store gone it is owed and marked late."""
        if not self.store_gone:
            try:
                await self._mongo.run(scope, _note)
            except Unavailable:
                pass
            else:
                return
        self._owed.append((scope, self._clock.system_now()))

    def snapshot(self, clinic_id: str, missed: str | None) -> bytes:
        """Everything of a clinic's board. `missed`: why transitions before it could not be replayed, if they could not."""
        chairs = self._chairs.get(clinic_id, {}).values()
        shown = [self._show(chair) for chair in sorted(chairs, key=Chair.place)]
        if self._position is not None:
            self._kept.append((self._position, clinic_id, b""))
        about = {**self._status(clinic_id), "missed": missed, "chairs": shown}
        return frame("snapshot", about, self._position)

    async def since(self, clinic_id: str, position: str) -> Sequence[bytes] | None:
        """The clinic's alarm transitions after a position of any replica; None where they cannot be had any more.

        Join first: what comes meanwhile is in the reader's queue, perhaps a second time.
        """
        kept = [(at, chunk) for at, clinic, chunk in self._kept if clinic == clinic_id]
        found = next((number for number in reversed(range(len(kept))) if kept[number][0] == position), None)
        if found is not None:
            return [chunk for _, chunk in kept[found + 1 :] if chunk]
        try:
            async with asyncio.timeout(REPLAY_SECONDS), self._replays:
                return await self._replay(clinic_id, position)
        except (PositionLost, StoreFault, TimeoutError) as error:
            log.warning("board.replay", extra={"error": type(error).__name__})
            return None

    async def _replay(self, clinic_id: str, position: str) -> Sequence[bytes] | None:
        """Read until nothing more has come and the stream is at least at the last change that this process had seen.

        Not at its own position: a stream that has just been opened is a tick ahead of everything, until somebody writes.
        """
        match: Document = {"ns.coll": ALARMS, "operationType": _WRITES, "fullDocument.clinic_id": clinic_id}
        goal, found = self._last_change, list[bytes]()
        async with self._mongo.changes(match, after=position, wait_ms=50) as changes:
            while len(found) < REPLAYED:
                batch = await changes.batch()
                found += [_told(change, change.document) for change in batch if change.document is not None]
                if not batch and changes.position >= goal:
                    return found
        return None

    # The one change stream

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            try:
                await self._listen(stop)
            except PositionLost:
                log.warning("board.position_lost")
                self._position = None
            except (StillwaterError, StoreFault) as error:
                log.warning("board.lost", extra={"error": type(error).__name__})
                self._lost = True
                await _pause(stop, 1.0)

    async def _listen(self, stop: asyncio.Event) -> None:
        self._reopen.clear()
        watched = self._watched
        values: Document = {"ns.coll": VITALS, "operationType": {"$in": [ARRIVED, DECIDED]}}
        values["fullDocument.clinic_id"] = {"$in": sorted(watched)}
        match: Document = {"$or": [{"ns.coll": {"$in": [ALARMS, SESSIONS]}, "operationType": _WRITES}, values]}
        async with self._mongo.changes(match, after=self._position) as changes:
            if self._position is None:
                await self._load()
                self._position = changes.position
                self._lost = False
                self._begin_anew()
            for clinic_id in watched - self._followed:
                await self._load_signs(clinic_id)  # the stream before did not ask for them and is past them
            self._followed = watched
            while not stop.is_set() and not self._reopen.is_set():
                self.last_attempt = self._clock.monotonic()
                await self._take(changes)
                self._lost = False
                await self._pay()

    async def _take(self, changes: Changes) -> None:
        tolerance = self._tolerance()
        for change in await changes.batch():
            if change.document is not None:
                row = self._mongo.shapes.read(change.collection, change.document)
                if change.collection == VITALS and change.operation == DECIDED:
                    await self._retake(row)
                elif change.collection == VITALS:
                    self._take_reading(row, tolerance)
                elif change.collection == ALARMS:
                    self._take_alarm(change, row)
                else:
                    await self._take_session(row)
            self._position = self._last_change = change.position
        self._position = changes.position

    def _tolerance(self) -> timedelta:
        """By how much later than it was measured a value may come and be of now; 2 s of real time at least."""
        return max(NOT_NOW, self._clock.clinical_span(TRANSPORT_SECONDS))

    def _take_reading(self, row: Document, tolerance: timedelta) -> None:
        chair = self._chairs.get(row["clinic_id"], {}).get(row["session_id"])
        if chair is not None and chair.take(row, tolerance):
            self._latest.setdefault(row["clinic_id"], Latest()).note(row["session_id"], row["sign"])

    async def _retake(self, row: Document) -> None:
        """A human decided about a reading, or moved it: the sign shows the last value that stands now."""
        chair = self._chairs.get(row["clinic_id"], {}).get(row["session_id"])
        if chair is None:
            return
        sign, found = row["sign"], await recent_signs(self._mongo, row["clinic_id"], row["session_id"])
        stands = [item for item in found if item["newest"]["sign"] == sign]
        chair.retake(sign, [item[name] for item in stands for name in ("oldest", "newest")], self._tolerance())
        self._latest.setdefault(row["clinic_id"], Latest()).note(row["session_id"], sign)

    def _take_alarm(self, change: Change, row: Document) -> None:
        chair = self._chairs.get(row["clinic_id"], {}).get(row["session_id"])
        if chair is None or chair.judge(row):
            told = _told(change, row)
            self._kept.append((change.position, row["clinic_id"], told))
            self._tell(row["clinic_id"], told)

    async def _take_session(self, row: Document) -> None:
        chairs = self._chairs.setdefault(row["clinic_id"], {})
        known = chairs.get(row["_id"])
        if not row["watched"]:
            if chairs.pop(row["_id"], None) is not None:
                self._tell(row["clinic_id"], frame("gone", {"session_id": row["_id"]}))
            return
        if known is not None and known.row["version"] > row["version"]:
            return
        label = known.label if known and known.row["label_sealed"] == row["label_sealed"] else None
        if label is None:
            label = (await self._labels(row["clinic_id"], [row])).get(row["_id"])
        chair = known or Chair(row)
        chair.row, chair.label = row, label
        chairs[row["_id"]] = chair
        self._tell(row["clinic_id"], frame("chair", self._show(chair)))

    # What is read from the store

    async def _load(self) -> None:
        """Every watched session with its label and its open alarms."""
        by_clinic: dict[str, list[Document]] = {}
        for row in await watched_sessions(self._mongo):
            by_clinic.setdefault(row["clinic_id"], []).append(row)
        chairs: dict[str, dict[str, Chair]] = {}
        for clinic_id, rows in by_clinic.items():
            labels = await self._labels(clinic_id, rows)
            chairs[clinic_id] = {row["_id"]: Chair(row, labels.get(row["_id"])) for row in rows}
        for alarm in await open_alarms(self._mongo, sorted(by_clinic)):
            chair = chairs[alarm["clinic_id"]].get(alarm["session_id"])
            if chair is not None:
                chair.judge(alarm)
        self._chairs = chairs
        self._kept.clear()
        self._loaded.clear()
        for clinic_id in self._watched:
            await self._load_signs(clinic_id)

    async def _load_signs(self, clinic_id: str) -> None:
        chairs, tolerance = self._chairs.get(clinic_id, {}), self._tolerance()
        for row in await recent_signs(self._mongo, clinic_id):
            chair = chairs.get(row["newest"]["session_id"])
            if chair is None:
                continue
            sign = row["newest"]["sign"]
            if sign not in chair.signs:
                chair.take(row["oldest"], tolerance)
            if chair.take(row["newest"], tolerance):
                self._latest.setdefault(clinic_id, Latest()).note(chair.row["_id"], sign)
        self._loaded.add(clinic_id)

    async def _labels(self, clinic_id: str, rows: Sequence[Document]) -> dict[str, str]:
        """In clear, by session; an erased patient's is gone."""
        sealed = [row for row in rows if row["label_sealed"] is not None]
        reader = self._mongo.reader(system_scope(clinic_id, "monitoring.board"))
        vault, found = self._deps.vault, dict[str, str]()
        if len(sealed) > 1:
            vault.know(reader, await vault_keys(reader, [vault.keys_of(reader, row["patient_id"]) for row in sealed]))
        for row in sealed:
            try:
                found[row["_id"]] = str(await vault.decrypt(reader, row["patient_id"], row["label_sealed"]))
            except Erased:
                continue
        return found

    async def _pay(self) -> None:
        """The audit rows that were owed while the store was gone."""
        while self._owed:
            scope, at = self._owed[0]
            await self._mongo.run(scope, partial(_note, late_from=at))
            self._owed.popleft()

    # Frames

    async def _pace(self, stop: asyncio.Event) -> None:
        """Values and what has changed of the store every half second, a heartbeat every two."""
        beat_at = shrink_at = 0.0
        while not stop.is_set():
            now = self._clock.monotonic()
            for clinic_id in list(self._readers):
                self._send_values(clinic_id)
                self._send_beat(clinic_id, always=now >= beat_at)
            if now >= beat_at:
                beat_at = now + BEAT_SECONDS
            for reader in [one for one in self._all_readers() if now >= one.until]:
                reader.close("renew")
            if now >= shrink_at:
                shrink_at = now + SHRINK_SECONDS
                self._shrink()
            await _pause(stop, FRAME_SECONDS)

    def _send_values(self, clinic_id: str) -> None:
        latest = self._latest.get(clinic_id)
        values = latest.take(self._chairs.get(clinic_id, {})) if latest else {}
        if values:
            chairs = [self._chairs[clinic_id][name] for name in values]
            due = {chair.row["_id"]: chair.due for chair in chairs if chair.has_other_due(self._protocol(chair))}
            self._tell(clinic_id, frame("values", {"at": self._clock.clinical_now(), "values": values, "due": due}))

    def _send_beat(self, clinic_id: str, *, always: bool) -> None:
        status = self._status(clinic_id)
        known = {name: item for name, item in status.items() if name != "at"}
        if always or self._told.get(clinic_id, known) != known:
            self._tell(clinic_id, frame("beat", status))
        self._told[clinic_id] = known

    def _status(self, clinic_id: str) -> Document:
        """Clinical time, whether the store answers, and what could not be recorded."""
        found = [*self._memory.unrecorded(clinic_id), *self._heard.unrecorded(clinic_id)]
        once = {(alarm.session_id, alarm.rule): alarm for alarm in found}
        unrecorded = [
            {"session_id": one.session_id, "rule": one.rule, "priority": one.priority, "since": one.since}
            for one in once.values()
        ]
        store = "gone" if self.store_gone else "ok"
        return {"at": self._clock.clinical_now(), "store": store, "unrecorded": unrecorded}

    def _shrink(self) -> None:
        """Values of clinics that nobody looks at any more are not asked for."""
        idle = self._watched - set(self._readers)
        if idle:
            self._watched -= idle
            self._loaded -= idle
            for clinic_id in idle:
                self._latest.pop(clinic_id, None)
                self._told.pop(clinic_id, None)
                for chair in self._chairs.get(clinic_id, {}).values():
                    chair.signs.clear()
            self._reopen.set()

    def _begin_anew(self) -> None:
        """After a load nobody knows what was between: whoever looks is told so, with a fresh snapshot."""
        for clinic_id, readers in self._readers.items():
            fresh = self.snapshot(clinic_id, "too_old")
            for reader in readers:
                reader.put(fresh)

    def _tell(self, clinic_id: str, chunk: bytes) -> None:
        for reader in self._readers.get(clinic_id, ()):
            reader.put(chunk)

    def _all_readers(self) -> Iterable[Reader]:
        return [reader for readers in self._readers.values() for reader in readers]

    def _show(self, chair: Chair) -> Document:
        return show_chair(chair, self._protocol(chair))

    def _protocol(self, chair: Chair) -> SessionProtocol | None:
        """None where it is of a newer process's content: the chair is shown all the same."""
        try:
            return self._deps.protocol(chair.row)
        except KeyError:
            return None


def _told(change: Change, row: Document) -> bytes:
    return frame("alarm", show_alarm(row), change.position)


async def _note(unit: UnitOfWork, late_from: datetime | None = None) -> None:
    audit(unit, "board.read", "board", late_from=late_from)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
