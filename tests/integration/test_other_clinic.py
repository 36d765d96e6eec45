"""Ids of another clinic are ids of nothing: every operation that names one is asked with another clinic's token."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.stack import Stack
from services.monitoring.wiring import PROTOCOLS
from shared.ids import new_id
from shared.messaging.topics import SERVICES
from tests.integration.audit.test_reads import Desk, a_life
from tests.support.operations import ALL

ELSEWHERE = "01920000-0000-7000-8000-0000000c1111"
# Known here before its event, or made here by being said: these answer with what this clinic has, which is nothing.
OWN = {
    *("get_course", "book_whole_course", "release_course", "get_preferences", "put_preferences"),
    *("get_staff_contact", "put_staff_contact"),
}

NAMING = [one for one in ALL if "{" in one.path and one.needs_token and one.name not in OWN]
# Where the document's example breaks a rule between fields.
BODIES: dict[str, Any] = {
    "add_closure": {"start": "2031-03-03T15:00:00Z", "end": "2031-03-03T16:00:00Z", "reason_code": "holiday"},
    "set_hours": {"hours": [{"day": "mon", "opens": "09:00", "closes": "17:00"}]},
}


@pytest.fixture
def desk(stack: Stack) -> Iterator[Desk]:
    made = Desk(stack)
    yield made
    made.client.close()


def documents(client: MongoClient[Any], ids: dict[str, str]) -> dict[str, Any]:
    """The rows of these ids that nothing changes by itself, whole."""
    rows = {}
    for service in SERVICES:
        for name in ("inquiries", "patients", "plans", "consents", "risks", "resources"):
            for row in client[service][name].find({"_id": {"$in": list(ids.values())}}):
                rows[f"{service}.{name}.{row['_id']}"] = row
    return rows


async def test_every_operation_finds_nothing_of_another_clinic(desk: Desk, stack: Stack) -> None:
    ids, wrong, asked = await a_life(desk), [], 0
    ids |= {"resource_id": await a_resource(desk), "alarm_id": await desk.alarm(ids["session_id"])}
    ids |= {"protocol_id": a_protocol(desk)}
    ids["entry_id"] = ids["inquiry_id"]
    ids["reading_id"] = f"{ids['session_id']}.8867-4.1767225600000.m1"
    ids |= {"hold_id": ids["inquiry_id"], "closure_id": ids["inquiry_id"]}
    with MongoClient[Any](stack.mongodb_uri) as client:
        before = documents(client, ids)
        for one in NAMING:
            headers = {
                "Authorization": f"Bearer {stack.token(one.role, 'stranger', clinic=ELSEWHERE)}",
                "If-Match": '"v1"',
            }
            body = BODIES.get(one.name, one.example)
            url = stack.url(one.service) + one.path.format_map(ids)
            answer: httpx.Response = desk.client.request(one.method, url, json=body, headers=headers)
            asked += 1
            if answer.status_code != 404 or any(identifier in answer.text for identifier in ids.values()):
                wrong.append((one.service, one.method, one.path, answer.status_code, answer.text[:200]))
        assert wrong == [], "\n".join(map(str, wrong))
        assert documents(client, ids) == before
    assert asked > 50


def a_protocol(desk: Desk) -> str:
    """A draft, which changes nothing for anybody."""
    text = (PROTOCOLS / "wellness.yaml").read_text().replace("wellness-2026-11", new_id())
    made: dict[str, str] = desk.ask("prescriber", "POST", "monitoring", "/v1/protocols", {"yaml": text})
    return made["id"]


async def a_resource(desk: Desk) -> str:
    made: dict[str, str] = desk.ask("front_desk", "POST", "scheduling", "/v1/resources", {"kind": "room", "label": "R"})
    return made["id"]
