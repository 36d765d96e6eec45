"""Whatever changes something, said as a careful client would: with a key and twice, with If-Match after having read."""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from pymongo import MongoClient

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from shared.ids import new_id
from tests.support.eventually import eventually
from tests.support.operations import OPERATIONS, Operation

STALE = {"If-Match": '"v999"'}
OTHER_BODY = "This Idempotency-Key was used with another body."


@dataclass
class Request:
    """One request that can be said again; `trace` names what it left in the store."""

    http: httpx.Client
    method: str
    url: str
    content: bytes
    headers: dict[str, str]
    trace: str = field(default_factory=lambda: secrets.token_hex(16))

    def send(self, content: bytes | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        traced = {"traceparent": f"00-{self.trace}-{'b' * 16}-01", "Content-Type": "application/json"}
        said = self.content if content is None else content
        return self.http.request(self.method, self.url, content=said, headers=self.headers | traced | (headers or {}))


class Walk:
    """One clinic of its own on the running services; what is not as promised is gathered by the promise."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.clinic = stack, new_id()
        self.ids: dict[str, str] = {}
        self.walked: set[str] = set()
        self.badly_repeated: list[str] = []
        self.badly_matched: list[str] = []
        self.cacheable: set[str] = set()
        self._http = httpx.Client(verify=NO_TLS, timeout=15, event_hooks={"response": [self._heard]})
        self._store = MongoClient[Any](stack.mongodb_uri)

    def close(self) -> None:
        self._store.close()
        self._http.close()

    def do(self, name: str, body: Any = None, role: str = "", **ids: str) -> Any:
        """The operation with this body, else with the document's example; what it answers."""
        operation = OPERATIONS[name]
        request = self._request(name, body, role or operation.role, **ids)
        self._refused(name, request)
        if operation.takes("IfMatchNeeded"):
            request.headers |= self._match(operation, request.headers, **ids)
        elif "x-nurse-route" in operation.said:
            request.headers |= STALE  # which stops no nurse
        if operation.takes("IdempotencyKey"):
            request.headers |= {"Idempotency-Key": str(uuid4())}
        first = request.send()
        assert first.is_success, (name, first.status_code, first.text, self.badly_matched)
        if operation.takes("IdempotencyKey"):
            self._repeated(name, request, first)
        self.walked.add(name)
        return first.json() if first.content else None

    def ask(self, name: str, role: str = "", whose: str | None = None, query: str = "") -> httpx.Response:
        """The operation as the document shows it, once and of what the way has left, by whoever it is; `whose` is a patient's token."""
        operation = OPERATIONS[name]
        request = self._request(name, None, role or operation.role, whose)
        if operation.takes("IfMatchNeeded"):
            request.headers |= self._match(operation, self._bearer(operation.role))
        request.url += query
        return request.send()

    def tried(self, name: str, body: Any, **ids: str) -> httpx.Response:
        """The operation with a body that must change nothing."""
        operation = OPERATIONS[name]
        request = self._request(name, body, operation.role, **ids)
        if operation.takes("IfMatchNeeded"):
            request.headers |= self._match(operation, request.headers, **ids)
        answer = request.send()
        assert self._left(operation.service, request) == (0, 0), name
        return answer

    def _request(self, name: str, body: Any, role: str, whose: str | None = None, **ids: str) -> Request:
        operation = OPERATIONS[name]
        said = operation.example if body is None else body
        content = b"" if said is None else json.dumps(said).encode()
        url = self.stack.url(operation.service) + operation.path.format_map(self.ids | ids)
        return Request(self._http, operation.method, url, content, self._bearer(role, whose))

    def _match(self, operation: Operation, bearer: dict[str, str], **ids: str) -> dict[str, str]:
        url = self.stack.url(operation.service) + operation.reads.format_map(self.ids | ids)
        return {"If-Match": self._http.get(url, headers=bearer).headers["ETag"]}

    def _heard(self, answer: httpx.Response) -> None:
        if answer.is_success and answer.headers.get("cache-control") != "no-store":
            self.cacheable.add(f"{answer.request.method} {answer.request.url.path}")

    def made(self, name: str, body: Any = None, role: str = "", **ids: str) -> str:
        """The id of what it made."""
        return str(self.do(name, body, role, **ids)["id"])

    def _refused(self, name: str, request: Request) -> None:
        """With a stale version, and without one where it is demanded."""
        operation = OPERATIONS[name]
        demanded = operation.takes("IfMatchNeeded")
        if demanded or operation.takes("IfMatch"):
            told = [request.send(headers=STALE).status_code, *([request.send().status_code] if demanded else [])]
            if told != [412, 428][: len(told)] or self._left(operation.service, request) != (0, 0):
                self.badly_matched.append(f"{name}: {told}")

    def _repeated(self, name: str, request: Request, first: httpx.Response) -> None:
        """The same answer once more, or the refusal of another body; nothing more is left."""
        service = OPERATIONS[name].service
        before = self._left(service, request)
        again, other = request.send(), request.send(request.content + b" " if request.content else b"{}")
        same = [(one.status_code, one.content, *map(one.headers.get, ("location", "etag"))) for one in (first, again)]
        marks = [one.headers.get("idempotent-replayed") for one in (first, again)]
        refused = other.status_code, other.json().get("detail")
        told, audited = self._left(service, request)
        if same[0] != same[1] or marks != [None, "true"] or refused != (422, OTHER_BODY):
            self.badly_repeated.append(f"{name}: {same} {marks} {refused}")
        if (told, audited) != before or not audited:
            self.badly_repeated.append(f"{name} has left {before}, then {(told, audited)}")

    def _left(self, service: str, request: Request) -> tuple[int, int]:
        """Events and rows of the audit of this request: no person changes anything without one. Not what follows from it."""
        heads = [dict(row["headers"]) for row in self._store[service].outbox.find({"clinic_id": self.clinic})]
        mine = [head for head in heads if request.trace.encode() in bytes(head["ce_traceparent"])]
        done = {"clinic_id": self.clinic, "trace": {"$regex": request.trace}, "role": {"$ne": "system"}}
        told = sum("ce_causationid" not in head for head in mine)
        return told, self._store[service].audit.count_documents(done)

    def read(self, path: str, service: str) -> Any:
        answer = self._http.get(self.stack.url(service) + path, headers=self._bearer("nurse"))
        assert answer.is_success, answer.text
        return answer.json()

    def first(self, path: str, service: str) -> dict[str, Any]:
        """The first row of a list, as soon as there is one."""
        rows: list[dict[str, Any]] = self.until(lambda: self.read(path, service)["items"])
        return rows[0]

    def until(self, look: Callable[[], Any]) -> Any:
        async def looked() -> Any:
            return look()

        return asyncio.run(eventually(looked, 30))

    def _bearer(self, role: str, patient_id: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.token(role, f'{role}-1', self.clinic, patient_id)}"}
