"""The board's stream and the chart over HTTP, on the running system: who may, what it leaves behind, what it answers."""

from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
from pymongo import MongoClient

from deploy.local.stack import Stack
from tests.integration.monitoring.test_nurse import Nurse

STREAM = "/v1/board/stream"


def bearer(stack: Stack, role: str, subject: str = "", **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.token(role, subject or role)}", **headers}


async def first_snapshot(answer: httpx.Response) -> str:
    event = ""
    async for line in answer.aiter_lines():
        event = line.removeprefix("event: ") if line.startswith("event: ") else event
        if line.startswith("data: ") and event == "snapshot":
            return line
    raise AssertionError("the stream ended")


async def test_without_a_token_or_the_role_there_is_no_stream(stack: Stack, http: httpx.AsyncClient) -> None:
    assert (await http.get(STREAM)).status_code == 401
    for role in ("front_desk", "operator", "device"):
        assert (await http.get(STREAM, headers=bearer(stack, role))).status_code == 403, role


async def test_the_stream_shows_the_clinics_chairs_and_its_reading_is_audited(
    stack: Stack, http: httpx.AsyncClient, nurse: Nurse
) -> None:
    session = nurse.session("dosing").rpartition("/")[2]
    reader = f"reader-{uuid4().hex}"
    async with http.stream("GET", STREAM, headers=bearer(stack, "nurse", reader)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert session in await first_snapshot(answer)
    with MongoClient[Any](stack.mongodb_uri) as client:
        (row,) = client.monitoring.audit.find({"actor": reader})
        assert (row["action"], row["role"]) == ("board.read", "nurse")
        documents = [str(document) for document in client.monitoring.sessions.find({"_id": session})]
        assert not any("ADA" in document for document in documents)


async def test_as_many_streams_as_there_are_ordinary_places_stop_no_request(
    stack: Stack, http: httpx.AsyncClient, nurse: Nurse
) -> None:
    nurse.session("checked_in")
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=stack.url("monitoring"), timeout=20, limits=limits) as many:
        opened = []
        for _ in range(70):
            request = many.build_request("GET", STREAM, headers=bearer(stack, "nurse"))
            opened.append(await many.send(request, stream=True))
        assert {answer.status_code for answer in opened} == {200}
        assert (await http.get("/v1/sessions", headers=bearer(stack, "nurse"))).status_code == 200
        for answer in opened:
            await answer.aclose()


async def test_the_chart_is_a_picture_with_words_and_an_etag(nurse: Nurse) -> None:
    path = nurse.session("dosing")
    about = {"sign": "8480-6", "unit": "mm[Hg]", "device": "m"}
    for second, value in enumerate((120, 35)):
        reading = about | {"value": value, "taken_at": f"2026-01-01T10:00:0{second}Z"}
        nurse.post(f"{path}/vitals", {"readings": [reading]}).raise_for_status()
    nurse.post(f"{path}/interventions", {"intervention_code": "oxygen"})
    nurse.post(f"{path}/leave", {"disposition": "transferred"}).raise_for_status()
    answer = nurse.client.get(f"{path}/chart.svg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    words = " ".join(ET.fromstring(answer.content).itertext())  # noqa: S314 - our own
    for told in ("systolic: lowest 35, highest 120", "ketamine 35 mg", "oxygen", "Alarm sbp_collapse, high"):
        assert told in words
    again = nurse.client.get(f"{path}/chart.svg", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert nurse.client.get(f"{path}/chart.svg").content == answer.content
    assert nurse.client.get(f"/v1/sessions/{uuid4()}/chart.svg").status_code == 404
