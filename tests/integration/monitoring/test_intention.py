"""The intention of a session is read by the people in it, and by nobody else."""

from typing import Any
from uuid import uuid4

import httpx
from pymongo import MongoClient

from deploy.local.stack import Stack
from tests.integration.monitoring.test_nurse import ARRIVAL, Nurse
from tests.integration.monitoring.test_watching_people import STREAM, bearer, first_snapshot

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
