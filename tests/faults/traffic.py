"""Clients that do not give up: what is not acknowledged is sent again, with the same key, until it is."""

import asyncio
import contextlib
import itertools
import random
import time
from typing import Any
from uuid import uuid4

import httpx

from shared.events.envelope import rfc3339
from tests.faults.history import Command, Episode, History
from tests.faults.system import System

SIGNS = (("59408-5", "%", 98), ("8867-4", "/min", 70), ("8480-6", "mm[Hg]", 120), ("9279-1", "/min", 14))
READY = {"fasting": True, "escort_named": True, "well_today": True}
BASE = {"systolic": 120, "diastolic": 80, "heart_rate": 70, "spo2": 98, "weight_kg": 70}
AGAIN = {429, 500, 502, 503, 504, 409}
NURSE = "nurse-faults"


class Traffic:
    """Inquiries and collapses side by side, until stopped."""

    def __init__(self, system: System, history: History, seed: int) -> None:
        self._system, self._history, self._random = system, history, random.Random(seed)  # noqa: S311 - a test's dice
        stack = system.stack
        self._tokens = {
            role: stack.token(role, f"{role}-faults") for role in ("front_desk", "device", "medical_director")
        }
        self._tokens["nurse"] = stack.token("nurse", NURSE)
        self._client = httpx.AsyncClient(timeout=20)
        self._rooms = itertools.count(1)
        self.stop = asyncio.Event()

    async def close(self) -> None:
        await self._client.aclose()

    async def insist(self, method: str, service: str, path: str, body: Any, role: str, key: str = "") -> Any:
        """Until a success; raises AssertionError for an answer that no repetition mends."""
        headers = {"Authorization": f"Bearer {self._tokens[role]}"} | ({"Idempotency-Key": key} if key else {})
        while True:
            with contextlib.suppress(httpx.HTTPError):
                url = f"http://127.0.0.1:{self._system.part(f'{service}-api').port}{path}"
                answer = await self._client.request(method, url, json=body, headers=headers)
                if answer.is_success:
                    return answer.json() if answer.content else {}
                assert answer.status_code in AGAIN, (method, path, answer.status_code, answer.text)
                assert answer.status_code != 500, answer.text
            await asyncio.sleep(0.2)

    async def prepare(self) -> None:
        """The nurse has a pager."""
        await self.insist(
            "PUT", "notifications", f"/v1/staff-contacts/{NURSE}", {"pager": "pager-faults"}, "medical_director"
        )

    async def inquiries(self, per_second: float) -> None:
        """Each with a key and an address of its own."""
        tasks = []
        while not self.stop.is_set():
            tasks.append(asyncio.create_task(self._inquiry()))
            await asyncio.sleep(self._random.expovariate(per_second))
        await asyncio.gather(*tasks)

    async def _inquiry(self) -> None:
        command = Command(uuid4().hex, f"{uuid4().hex}@example.org")
        self._history.commands.append(command)
        body = {"channel": "phone", "contact": {"name": "F", "email": command.email}}
        answer = await self.insist("POST", "intake", "/v1/inquiries", body, "front_desk", command.key)
        command.acknowledged_id = answer["id"]

    async def episodes(self, every_s: float) -> None:
        """A room each: a patient arrives, one sign collapses, the next reading is normal again."""
        tasks = []
        while not self.stop.is_set():
            tasks.append(asyncio.create_task(self._episode()))
            await asyncio.sleep(every_s * self._random.uniform(0.5, 1.5))
        await asyncio.gather(*tasks)

    async def _episode(self) -> None:
        room, (sign, unit, normal) = f"room-{next(self._rooms)}", self._random.choice(SIGNS)
        opened = await self.insist(
            "POST", "monitoring", "/v1/sessions", {"patient_id": str(uuid4())}, "nurse", uuid4().hex
        )
        session = opened["id"]
        arrival = {"identity_confirmed": True, "display_label": "F", "room": room, "chair": "1", "readiness": READY}
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": NURSE}]
        for verb, body in (("check-in", arrival), ("baseline", BASE)):
            await self.insist("POST", "monitoring", f"/v1/sessions/{session}/{verb}", body, "nurse", uuid4().hex)
        episode = Episode(room, session, sign, time.time())
        self._history.episodes.append(episode)
        await self._measure(session, sign, unit, 0)
        episode.acknowledged_at = time.time()
        await asyncio.sleep(1)
        await self._measure(session, sign, unit, normal)

    async def _measure(self, session: str, sign: str, unit: str, value: float) -> None:
        now = rfc3339(self._system.stack.now())
        reading = {"sign": sign, "value": value, "unit": unit, "taken_at": now, "device": "manual"}
        await self.insist("POST", "monitoring", f"/v1/sessions/{session}/vitals", {"readings": [reading]}, "device")

    async def answer_all(self) -> None:
        """Somebody accepts and attends every alarm, so that nothing goes on escalating."""
        for row in await self._system.rows("monitoring", "alarms"):
            for verb in ("acknowledge", "attend"):
                if not row.get(f"{verb}d_at" if verb == "acknowledge" else "attended_at"):
                    await self.insist("POST", "monitoring", f"/v1/alarms/{row['_id']}/{verb}", None, "nurse")
