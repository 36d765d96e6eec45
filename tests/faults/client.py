"""A client that does not give up: what is not acknowledged is sent again, with the same key, until it is."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from deploy.local.stack import Stack
from tests.faults.history import Asked, History
from tests.support.eventually import eventually

T = TypeVar("T")
AGAIN = {0, 408, 409, 429, *range(500, 600)}  # 408: a process that was stopped had no time for the body
LINES = {"Content-Type": "application/x-ndjson"}
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 180.0
ROLES = ("front_desk", "device", "medical_director", "clinician", "prescriber", "nurse")


class Client:
    """One person of each role, a connection per request. `ports`: where a service is asked, when not at its own port."""

    def __init__(self, stack: Stack, history: History, ports: Mapping[str, int] | None = None) -> None:
        self.history, self._stack, self._ports = history, stack, ports or {}
        self._tokens = {role: stack.token(role, f"{role}-faults") for role in ROLES}
        self._http = httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_keepalive_connections=0))

    async def close(self) -> None:
        await self._http.aclose()

    async def post(self, service: str, path: str, body: Any, role: str, version: int | None = None) -> Any:
        """With a key of its own; until it is done."""
        headers = {"Idempotency-Key": uuid4().hex}
        headers |= {"If-Match": f'"v{version}"'} if version else {}
        return await self.insist("POST", service, path, role, body, headers)

    async def insist(
        self,
        method: str,
        service: str,
        path: str,
        role: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Until a success; raises AssertionError for an answer that no repetition mends, NotInTime without any."""

        async def done() -> httpx.Response | None:
            answer = await self.ask(method, service, path, role, body, headers)
            if answer is None or answer.is_success:
                return answer
            assert answer.status_code in AGAIN, (method, path, answer.status_code, answer.text)
            return None

        answer = await self.until(done)
        return answer.json() if answer.content else {}

    async def ask(
        self,
        method: str,
        service: str,
        path: str,
        role: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response | None:
        """Once; None without an answer. It is written down either way. Bytes are sent as lines (NDJSON)."""
        port = self._ports.get(service, self._stack.ports[service])
        lines = body if isinstance(body, bytes) else None
        sent = {"Authorization": f"Bearer {self._tokens[role]}", **(LINES if lines else {}), **(headers or {})}
        url, given = f"http://127.0.0.1:{port}{path}", None if lines else body
        began, answer = time.time(), None
        try:
            answer = await self._http.request(method, url, content=lines, json=given, headers=sent)
        except Exception:  # noqa: BLE001 - whatever becomes of it while a server dies: nobody knows the outcome
            return None
        finally:
            status = answer.status_code if answer else 0
            self.history.asked.append(Asked(service, path, began, time.time(), status))
        return answer

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds, when it finds something. Raises NotInTime: no fault keeps anybody waiting for longer."""
        return await eventually(look, PATIENCE_SECONDS, PAUSE_SECONDS)

    async def messages(self, since: int) -> list[dict[str, Any]]:
        """What the sinks were given, without the first `since`."""
        url = f"{self._stack.issuer}/messages"
        answer = await self._http.get(url, params={"since": since}, timeout=PATIENCE_SECONDS)
        found: list[dict[str, Any]] = answer.json()
        return found

    async def press(self, link: str) -> bool:
        """The button behind a one-time link."""
        try:
            answer = await self._http.post(link)
        except httpx.HTTPError:
            return False
        return answer.status_code in (200, 404, 410)
