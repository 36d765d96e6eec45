"""The intention of a session is read by the people in it, and by nobody else."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES
from tests.integration.monitoring.test_nurse import ARRIVAL, Nurse
from tests.integration.monitoring.test_watching_people import STREAM, bearer, first_snapshot
from tests.support.eventually import eventually

WISH = "to make peace with the lighthouse"


def checked_in(nurse: Nurse) -> str:
    opened = nurse.post("/v1/sessions", {"patient_id": str(uuid4()), "route": "im"}).json()
    path = f"/v1/sessions/{opened['id']}"
    nurse.post(f"{path}/check-in", ARRIVAL | {"intention": WISH}).raise_for_status()
    return path


def test_it_is_read_with_the_session_and_with_its_check_in(nurse: Nurse) -> None:
    path = checked_in(nurse)
    assert nurse.client.get(path).json()["intention"] == WISH
    shown = nurse.client.get(f"{path}/timeline").json()["items"]
    assert [(item["kind"], item.get("intention")) for item in shown] == [("checked_in", WISH)]


def test_the_front_desk_sees_the_session_without_it(stack: Stack, nurse: Nurse) -> None:
    path = checked_in(nurse)
    answer = nurse.client.get(path, headers=bearer(stack, "front_desk"))
    assert answer.is_success
    assert WISH not in answer.text


async def test_neither_board_nor_store_nor_event_has_its_words(
    stack: Stack, http: httpx.AsyncClient, nurse: Nurse
) -> None:
    session = checked_in(nurse).rpartition("/")[2]
    async with http.stream("GET", STREAM, headers=bearer(stack, "nurse")) as answer:
        snapshot = await first_snapshot(answer)
    assert session in snapshot
    assert WISH not in snapshot
    with MongoClient[Any](stack.mongodb_uri) as client:
        database = client.monitoring
        kept = {name: str(list(database[name].find())) for name in database.list_collection_names()}
    assert session in kept["sessions"]
    assert [name for name, text in kept.items() if WISH in text] == []


def written(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """What any process has logged, traced, measured or sent."""
    for path in (stack.home / "log").glob("*.log"):
        yield path.name, path.read_bytes()
    for signal in ("spans", "logs", "metrics"):
        yield f"OTLP {signal}", httpx.get(f"{stack.issuer}/{signal}").content
    for service in SERVICES:
        yield f"{service} metrics", httpx.get(f"{stack.health_url(service)}/metrics").content
    for path in (stack.home / "data" / "kafka").rglob("*.log"):
        yield f"kafka {path.parent.name}", path.read_bytes()


async def test_its_words_are_in_no_log_span_metric_event_or_error(stack: Stack, nurse: Nurse) -> None:
    path = checked_in(nurse)
    body = ARRIVAL | {"intention": WISH}
    refused = [nurse.post(f"{path}/check-in", body), nurse.post(f"{path}/check-in", body | {"room": 1})]
    refused.append(nurse.post(f"{path}/check-in", body | {"intention": [WISH]}))
    assert [answer.status_code for answer in refused] == [409, 422, 422]
    assert [answer.text for answer in refused if WISH in answer.text + str(answer.headers)] == []
    nurse.client.get(path).raise_for_status()
    session = path.rpartition("/")[2].encode()

    async def told() -> bool:
        return any(name.startswith("kafka stillwater") and session in text for name, text in written(stack))

    await eventually(told, every_s=0.2)
    forms = WISH.encode(), quote(WISH).encode()
    assert [name for name, text in written(stack) if any(form in text for form in forms)] == []
