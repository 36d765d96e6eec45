"""The load of a fault run: inquiries, episodes at the chair, and visits through all four services; until stopped."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from shared.events.envelope import rfc3339
from tests.faults.client import Client
from tests.faults.history import Command, Reading, Visit
from tests.faults.reference import BREATH, PULSE, SPO2, SYSTOLIC
from tests.faults.system import System

T = TypeVar("T")
PEOPLE = 8  # who answer alarms at the same time
UNITS = {SPO2: "%", PULSE: "/min", SYSTOLIC: "mm[Hg]", BREATH: "/min"}
NORMAL = {SPO2: 98, PULSE: 70, SYSTOLIC: 120, BREATH: 14}
READY = {"fasting": True, "escort_named": True, "well_today": True}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}
NURSE = "nurse-faults"
COURSES: Sequence[tuple[str, Sequence[float]]] = (
    *((sign, (0,)) for sign in UNITS),  # a collapse is an alarm at once
    (SPO2, (98, 85)),  # so is a fall by more than eight
    (SYSTOLIC, (120, 190)),
    (PULSE, (70, *[36] * 8)),  # five seconds below the limit
    (BREATH, (14, *[6] * 8)),
    (PULSE, (70, 38)),  # a dip is none
    (BREATH, (14, 32)),
)


class Traffic:
    """Everything that it asks is in the system's history."""

    def __init__(self, system: System, seed: int, ports: Mapping[str, int] | None = None) -> None:
        self._system, self.history, self._random = system, system.history, random.Random(seed)  # noqa: S311 - dice
        self.client = Client(system.stack, system.history, ports)
        self._numbers = itertools.count(1)
        self._sessions: list[str] = []
        self.stop = asyncio.Event()

    async def prepare(self) -> None:
        """The nurse has a pager, and is on call with a prescriber; there are rooms for what follows a session."""
        for person in (NURSE, "prescriber-faults"):
            path = f"/v1/staff-contacts/{person}"
            await self.client.insist("PUT", "notifications", path, "medical_director", {"pager": f"pager-{person}"})
        rota = {"nurse": [NURSE], "prescriber": ["prescriber-faults"]}
        await self.client.insist("PUT", "notifications", "/v1/on-call", "medical_director", rota)
        await self._place("room")

    async def _place(self, kind: str) -> str:
        body = {"kind": kind, "label": f"{kind} {uuid4().hex[:8]}"}
        return str((await self.client.post("scheduling", "/v1/resources", body, "front_desk"))["id"])

    async def run(self) -> None:
        """All three until `stop`, and until what was begun is done."""
        kinds = ((self.inquiry, 0.25), (self.episode, 1.0), (self.visit, 4.0))
        async with asyncio.TaskGroup() as group:
            for kind, every_s in kinds:
                group.create_task(self._again(group, kind, every_s))

    async def _again(self, group: asyncio.TaskGroup, kind: Callable[[], Awaitable[None]], every_s: float) -> None:
        while not self.stop.is_set():
            group.create_task(_whole(kind))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), every_s * self._random.uniform(0.5, 1.5))

    async def inquiry(self) -> None:
        """Each with a key and an address of its own."""
        command = Command(uuid4().hex, f"{uuid4().hex}@example.org")
        self.history.commands.append(command)
        body = {"channel": "phone", "contact": {"name": "F", "email": command.email}}
        headers = {"Idempotency-Key": command.key}
        answer = await self.client.insist("POST", "intake", "/v1/inquiries", "front_desk", body, headers)
        command.acknowledged_id = answer["id"]

    # At the chair

    async def episode(self) -> None:
        """A room each: a patient arrives, one sign leaves its limits or nearly so, the last reading is normal."""
        room, (sign, values) = f"room-{next(self._numbers)}-{uuid4().hex[:6]}", self._random.choice(COURSES)
        opened = await self.client.post("monitoring", "/v1/sessions", {"patient_id": str(uuid4())}, "nurse")
        session = opened["id"]
        await self._arrive(session, room)
        await self.client.post("monitoring", f"/v1/sessions/{session}/baseline", BASE, "nurse")
        for value in (*values, NORMAL[sign]):
            reading = Reading(room, session, sign, value, time.time())
            self.history.readings.append(reading)
            await self._measure(reading)
            if len(values) == 1 and value == 0:
                await self._look(reading)
            await asyncio.sleep(1)
        self._sessions.append(session)

    async def _arrive(self, session: str, room: str) -> None:
        arrival = {"identity_confirmed": True, "display_label": "F", "room": room, "chair": "1", "readiness": READY}
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": NURSE}]
        await self.client.post("monitoring", f"/v1/sessions/{session}/check-in", arrival, "nurse")

    async def _measure(self, reading: Reading) -> None:
        taken = rfc3339(self._system.stack.now())
        body = {"sign": reading.sign, "value": reading.value, "unit": UNITS[reading.sign], "taken_at": taken}
        path = f"/v1/sessions/{reading.session_id}/vitals"
        await self.client.insist("POST", "monitoring", path, "device", {"readings": [body | {"device": "manual"}]})
        reading.acknowledged_at = time.time()

    async def _look(self, reading: Reading) -> None:
        """An acknowledged collapse is on the board: whoever looks next sees it."""
        path = f"/v1/alarms?session_id={reading.session_id}"
        found = await self.client.insist("GET", "monitoring", path, "nurse")
        rules = [row["rule"] for row in found["items"]]
        seen = any(rule.endswith("_collapse") for rule in rules)
        self.history.shown.append((reading.session_id, reading.sign, seen))

    # Through all four services

    async def visit(self) -> None:
        """Registered, planned, booked; arrives, leaves; what follows is booked by itself."""
        visit, client = Visit(), self.client
        self.history.visits.append(visit)
        contact = {"birth_year": 1984, "contact": {"name": "V", "email": f"{uuid4().hex}@example.org"}}
        visit.patient_id = patient = (await client.post("intake", "/v1/patients", contact, "front_desk"))["id"]
        wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
        plan = (await client.post("intake", f"/v1/patients/{patient}/plans", wanted, "clinician"))["id"]
        await client.post("intake", f"/v1/plans/{plan}/activate", None, "prescriber", 1)
        visit.plan_id = plan
        await client.until(lambda: self._known(plan))
        visit.appointment_id = appointment = await self._book(str(patient), str(plan))
        path = f"/v1/sessions?appointment_id={appointment}"
        visit.session_id = session = (await client.until(lambda: self._items(path)))[0]["id"]
        await self._arrive(str(session), f"visit-{next(self._numbers)}-{uuid4().hex[:6]}")
        left = {"disposition": "left_unseen"}
        await client.post("monitoring", f"/v1/sessions/{session}/leave", left, "nurse")
        await client.post("monitoring", f"/v1/sessions/{session}/complete", None, "nurse")
        visit.completed = True

    async def _known(self, plan: str) -> bool:
        course = await self.client.insist("GET", "scheduling", f"/v1/courses/{plan}", "front_desk")
        return bool(course["known"])

    async def _items(self, path: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await self.client.insist("GET", "monitoring", path, "nurse"))["items"]
        return found

    async def _book(self, patient: str, plan: str) -> str:
        start = self._system.stack.now() + timedelta(hours=1)
        body = {"patient_id": patient, "plan_id": plan, "kind": "dosing", "resources": [await self._place("chair")]}
        body |= {"start": rfc3339(start), "end": rfc3339(start + timedelta(hours=3))}
        return str((await self.client.post("scheduling", "/v1/appointments", body, "front_desk"))["id"])

    # Afterwards

    async def answer_all(self) -> None:
        """Somebody accepts, by the link in the page or at the board, and attends every alarm; then the patients leave.

        Only what latches is sure to wait for its link: an alarm that has cleared by itself is paged no more.
        """
        links = await self.client.links()
        await _each(await self._open_alarms(), lambda row: self._accept(row, links))
        await self.client.until(self._all_accepted)
        await _each(await self._open_alarms(), lambda row: self._answer(row["_id"], "attend"))
        await _each(self._sessions, self._leave)

    async def _accept(self, row: Mapping[str, Any], links: Mapping[str, str]) -> None:
        link = links.get(row["_id"]) if row["open"] and row["priority"] == "high" else None
        if link and int(row["_id"][-1], 16) % 2:
            await self.client.until(partial(self.client.press, link))
            self.history.links.add(row["_id"])
        else:
            await self._answer(row["_id"], "acknowledge")

    async def _leave(self, session: str) -> None:
        gone = {"disposition": "transferred"}  # nobody writes to a patient whom intake has never seen
        await self.client.post("monitoring", f"/v1/sessions/{session}/leave", gone, "nurse")

    async def _open_alarms(self) -> list[dict[str, Any]]:
        rows = await self._system.rows("monitoring", "alarms")
        return [row for row in rows if not row.get("attended_at")]

    async def _all_accepted(self) -> bool:
        return all(row.get("acknowledged_at") for row in await self._open_alarms())

    async def _answer(self, alarm_id: str, verb: str) -> None:
        await self.client.insist("POST", "monitoring", f"/v1/alarms/{alarm_id}/{verb}", "nurse")


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Several people at once."""
    waiting = iter(items)

    async def person() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(PEOPLE):
            group.create_task(person())


async def _whole(kind: Callable[[], Awaitable[None]]) -> None:
    await kind()
