"""What is not as it was given: ETags that are stale, cursors that are forged; at every operation."""

import asyncio
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from pymongo import MongoClient
from starlette.datastructures import URL, QueryParams

from deploy.local.stack import Stack
from shared.ids import new_id
from shared.keys import read_key
from shared.messaging.topics import SERVICES
from shared.web.paging import asked
from tests.integration.audit.test_reads import Desk, a_life
from tests.integration.test_other_clinic import BODIES, ELSEWHERE, a_protocol, a_resource
from tests.support.eventually import eventually
from tests.support.operations import ALL, Operation
from tests.support.problems import MARKER, refused

STALE = ('"v99"', 'W/"v1"', "v1", '"vx"', '"v-1"', '"v²"', "*", '"v1", "v2"', f'"v{"9" * 30}"', f'"{MARKER}"')
QUIET: tuple[str, ...] = (
    "inquiries",
    "patients",
    "plans",
    "consents",
    "risks",
    "clinics",
    "resources",
    "appointments",
    "holds",
)
QUIET += ("courses", "staff", "protocols", "preferences", "staff_contacts", "rota", "groups")
AT = "2026-03-02T15:00:00+00:00"
WITHOUT_ZONE = ("2026-03-01T12:00:00", "2026-03-01T12:00:00.000", "2026-03-01", "1767225600", "")


def body_of(one: Operation) -> bytes:
    body = BODIES.get(one.name, one.example)
    return b"" if body is None else json.dumps(body).encode()


class Clinic(Desk):
    """One of its own, with one of everything."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, new_id())
        self.ids, self.tokens = dict[str, str](), dict[str, str]()

    async def opens(self) -> None:
        self.ids = await a_life(self)
        self.ids |= {"resource_id": await a_resource(self), "protocol_id": a_protocol(self), "closure_id": new_id()}
        self.ids["alarm_id"] = await self.alarm(self.ids["session_id"])
        self.ask("front_desk", "POST", "scheduling", "/v1/staff", {"staff_id": "nurse-1", "roles": ["nurse"]})
        self.ask("front_desk", "PUT", "notifications", "/v1/staff-contacts/nurse-1", {"pager": "p"})
        path = f"/v1/plans/{self.ids['plan_id']}/activate"
        self.ask("prescriber", "POST", "intake", path, **{"If-Match": '"v1"'})
        await eventually(self.knows_the_course, 30)
        self.group = self.ask("nurse", "POST", "monitoring", "/v1/sessions", {"kind": "group"})["id"]
        joined = {"patient_id": self.ids["patient_id"]}
        path = f"/v1/sessions/{self.group}/participants"
        self.member = self.ask("nurse", "POST", "monitoring", path, joined)["id"]

    async def knows_the_course(self) -> bool:
        path = f"/v1/courses/{self.ids['plan_id']}"
        return bool(self.ask("front_desk", "GET", "scheduling", path)["known"])

    def path(self, template: str) -> str:
        ids = defaultdict(new_id, self.ids)
        if "{group_id}" in template:
            ids = ids | {"group_id": self.group, "session_id": self.member}
        return template.format_map(ids)

    def send(self, one: Operation, path: str, content: bytes = b"", **headers: Any) -> httpx.Response:
        said = {"Content-Type": "application/json"} if content else {}
        said |= {"Authorization": f"Bearer {self.token(one)}", **headers}
        url = self.stack.url(one.service) + path
        return self.client.request(one.method, url, content=content, headers=httpx.Headers(said, encoding="utf-8"))

    def token(self, one: Operation) -> str:
        """A caller for each operation, so that none comes to the end of a quota."""
        if one.name not in self.tokens:
            self.tokens[one.name] = self.stack.token(one.role, f"caller-{one.name}", self.clinic)
        return self.tokens[one.name]

    def rows(self) -> dict[str, Any]:
        """What only people change, whole."""
        with MongoClient[Any](self.stack.mongodb_uri) as client:
            return {
                f"{service}.{name}": list(client[service][name].find({"clinic_id": self.clinic}).sort("_id"))
                for service in SERVICES
                for name in QUIET
            }


@pytest.fixture(scope="module")
def clinic(stack: Stack) -> Iterator[Clinic]:
    made = Clinic(stack)
    asyncio.run(made.opens())
    yield made
    made.client.close()


def test_nothing_is_changed_under_a_stale_etag_or_without_one(clinic: Clinic) -> None:
    wrong, tried = [], 0
    before = clinic.rows()
    for one in (one for one in ALL if one.answers(412)):
        path, body = clinic.path(one.path), body_of(one)
        told = [(tag, refused(clinic.send(one, path, body, **{"If-Match": tag}))) for tag in STALE]
        wrong += [(one.name, tag, got) for tag, got in told if got != 412]
        if one.answers(428) and (got := refused(clinic.send(one, path, body))) != 428:
            wrong.append((one.name, "none", got))
        tried += 1
    assert wrong == [], "\n".join(map(str, wrong))
    assert clinic.rows() == before
    assert tried > 25


def cursor(stack: Stack, service: str, clinic: str, path: str) -> str:
    """One as the service makes it."""
    signing_key = read_key(stack.environment(service)[f"{service.upper()}_SIGNING_KEY"])

    def mac(*parts: str) -> str:
        return hmac.new(signing_key, "\x1f".join((clinic, *parts)).encode(), hashlib.sha256).hexdigest()

    page = asked(QueryParams(), URL(stack.url(service) + path), [], mac)
    return page._cursor(orjson.dumps([AT, "x"]).decode())


def test_a_cursor_is_good_for_its_list_and_clinic_and_a_time_has_its_zone(clinic: Clinic) -> None:
    wrong, asked_of = [], 0
    for one in (one for one in ALL if one.takes("Cursor")):
        service, path = one.service, clinic.path(one.path)
        good = cursor(clinic.stack, service, clinic.clinic, path)
        forged = {
            "of another clinic": cursor(clinic.stack, service, ELSEWHERE, path),
            "of another list": cursor(clinic.stack, service, clinic.clinic, f"{path}/more"),
            "of another service": cursor(clinic.stack, _next(service), clinic.clinic, path),
            "changed": urlsafe_b64encode(b"[" + good.encode()).decode(),
            "cut": good[:-8],
            **{text: text for text in ("AAAA", "%FF", "", MARKER, "%00")},
        }
        queries = {name: f"cursor={text}" for name, text in forged.items()}
        queries |= {"another sort": f"sort=updated_at&cursor={good}", "no parameter": f"{MARKER}=1"}
        queries |= {f"since {text}": f"updated_since={text}" for text in WITHOUT_ZONE}
        if (answer := clinic.send(one, f"{path}?cursor={good}")).status_code != 200:
            wrong.append((service, path, "good", f"{answer.status_code} {answer.text[:200]}"))
        for name, query in queries.items():
            if (got := refused(clinic.send(one, f"{path}?{query}"))) != 400:
                wrong.append((service, path, name, str(got)))
        asked_of += 1
    assert wrong == [], "\n".join(map(str, wrong))
    assert asked_of > 15


def _next(service: str) -> str:
    return SERVICES[(SERVICES.index(service) + 1) % len(SERVICES)]


@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_free_is_asked_with_a_zone(stack: Stack, name: str) -> None:
    headers = {"Authorization": f"Bearer {stack.token('front_desk', 'desk')}"}
    times = {"from": "2031-03-03T15:00:00Z", "to": "2031-03-03T18:00:00Z"}

    def free(**changed: str) -> httpx.Response:
        query = {"minutes": "30", "kinds": "room", **times, **changed}
        return httpx.get(f"{stack.url('scheduling')}/v1/availability", params=query, headers=headers)

    assert free().status_code == free(**{name: "2031-03-03T16:00:00Z"}).status_code == 200
    for text in ("2031-03-03T16:00:00", "2031-03-03 16:00:00", "2031-03-03", "1930233600", ""):
        assert refused(free(**{name: text})) == 422, text
