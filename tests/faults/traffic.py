"""The load of a fault run: inquiries, episodes at the chair, and visits through all four services; until stopped."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import orjson

from shared.events.envelope import rfc3339
from tests.faults.client import AGAIN, Client
from tests.faults.gateway import Gateway, body_of, planned
from tests.faults.history import MANUAL, Command, Heard, Reading, Visit
from tests.faults.nurses import Nurses
from tests.faults.reference import PULSE, SPO2, SYSTOLIC
from tests.faults.system import System

READY = {"fasting": True, "escort_named": True, "well_today": True}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}
BASE_SIGNS = {SYSTOLIC: "systolic", "8462-4": "diastolic", PULSE: "heart_rate", SPO2: "spo2"}
NURSE = "nurse-faults"
ASLEEP_SECONDS = 3600.0
STAYING = 0.5


class Traffic:
    """Everything that it asks is in the system's history."""

    def __init__(self, system: System, seed: int, ports: Mapping[str, int] | None = None) -> None:
        self._system, self.history, self._random = system, system.history, random.Random(seed)  # noqa: S311 - dice
        self.client = Client(system.stack, system.history, ports)
        self._numbers = itertools.count(1)
        self._nurses = Nurses(system, self.client)
        self._staying: list[str] = []
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
        kinds = ((self.inquiry, 0.5, 4), (self.episode, 2.0, 8), (self.visit, 5.0, 3))
        async with asyncio.TaskGroup() as group:
            for kind, every_s, at_once in kinds:
                group.create_task(self._again(group, kind, every_s, at_once))

    async def _again(
        self, group: asyncio.TaskGroup, kind: Callable[[], Awaitable[None]], every_s: float, at_once: int
    ) -> None:
        """A clinic has so many chairs: who comes after a fault waits, so that no load piles up that nothing could carry."""
        room = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with room:
                await self._whole(kind)

        while not self.stop.is_set():
            async with room:
                if not self.stop.is_set():
                    group.create_task(one())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), every_s * self._random.uniform(0.5, 1.5))

    async def _whole(self, kind: Callable[[], Awaitable[None]]) -> None:
        """What cannot be done is written down for the checker, and the others go on."""
        try:
            await kind()
        except Exception as error:  # noqa: BLE001
            self.history.broken.append(f"{kind}: {type(error).__name__}: {error}")

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
        """A room each: a patient arrives, one sign leaves its limits or nearly so, the last reading is normal; somebody comes."""
        name = f"{next(self._numbers)}-{uuid4().hex[:6]}"
        room, plan = f"room-{name}", planned(self._random, f"monitor-{name}")
        opened = await self.client.post("monitoring", "/v1/sessions", {"patient_id": str(uuid4())}, "nurse")
        session = opened["id"]
        await self._arrive(session, room, plan.device)
        await self._baseline(session, room)
        gateway = Gateway(room, session, plan, self._random, partial(self._deliver, plan.device), self._look)
        await gateway.watch(self.history.readings, self.stop)
        if plan.device != MANUAL:
            await self._sleep(session, plan.device)
        await self._nurses.answer(session)
        if self._random.random() < STAYING:
            self._staying.append(session)
        else:
            await self._leave(session)

    async def _arrive(self, session: str, room: str, monitor: str = MANUAL) -> None:
        arrival = {"identity_confirmed": True, "display_label": "F", "room": room, "chair": "1", "readiness": READY}
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": NURSE}]
        arrival |= {"monitor": monitor} if monitor != MANUAL else {}
        await self.client.post("monitoring", f"/v1/sessions/{session}/check-in", arrival, "nurse")

    async def _baseline(self, session: str, room: str) -> None:
        """What is typed into it are readings too, of the time at which it was taken."""
        at = round(time.time(), 3)
        typed = [Reading(room, session, sign, BASE[name], at, sent_at=at) for sign, name in BASE_SIGNS.items()]
        self.history.readings += typed
        body = BASE | {"occurred_at": rfc3339(datetime.fromtimestamp(at, UTC))}
        await self.client.post("monitoring", f"/v1/sessions/{session}/baseline", body, "nurse")
        for reading in typed:
            reading.acknowledged_at = time.time()
            reading.answers.append("stored")

    async def _deliver(self, device: str, readings: Sequence[Reading]) -> list[str] | None:
        """By hand to the session, by a gateway to the route of gateways, as lines or not; what was said of each reading."""
        path = "/v1/vitals" if device != MANUAL else f"/v1/sessions/{readings[0].session_id}/vitals"
        rows = [body_of(reading) for reading in readings]
        lines = device != MANUAL and self._random.random() < 0.5
        body = b"\n".join(map(orjson.dumps, rows)) if lines else {"readings": rows}
        began = time.time()
        answer = await self.client.ask("POST", "monitoring", path, "device", body)
        told = None
        if answer is not None and answer.is_success:
            told = [orjson.loads(line) for line in answer.content.splitlines()] if lines else answer.json()["results"]
        elif answer is not None:
            assert answer.status_code in AGAIN, (path, answer.status_code, answer.text)
        known = any(row["result"] == "stored" for row in told or ())
        self.history.heard.append(Heard(readings[0].session_id, device, began, time.time(), known))
        if told is None:
            return None
        return [" ".join([row["result"], *([row["reason"]] if "reason" in row else [])]) for row in told]

    async def _sleep(self, session: str, device: str) -> None:
        """The monitor says that it will be silent, with a reading that is known already."""
        last = [reading for reading in self.history.readings if reading.device == device][-1]
        body = {"readings": [body_of(last)], "interval_s": ASLEEP_SECONDS}
        began = time.time()
        told = await self.client.insist("POST", "monitoring", "/v1/vitals", "device", body)
        last.answers.append(told["results"][0]["result"])
        self.history.heard.append(Heard(session, device, began, time.time(), known=False))

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
        """What rang for nobody's session in particular, or too late for its nurse; then the patients leave."""
        await self._whole(self._nurses.answer_all)
        async with asyncio.TaskGroup() as group:
            for session in self._staying:
                group.create_task(self._whole(partial(self._leave, session)))

    async def _leave(self, session: str) -> None:
        gone = {"disposition": "transferred"}  # nobody writes to a patient whom intake has never seen
        await self.client.post("monitoring", f"/v1/sessions/{session}/leave", gone, "nurse")
