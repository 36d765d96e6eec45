"""What every answer has in common, also where something is wrong with the request or with us."""

import httpx
import pytest

from shared.telemetry.metrics import HTTP_REQUESTS
from shared.web.bodies import HEADER_BYTES
from tests.integration.web.world import World


def problem(answer: httpx.Response, status: int) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "PROPFIND"])
async def test_a_method_that_is_not_there_is_told_all_that_are(world: World, method: str) -> None:
    answer = await world.http.request(method, "/v1/things")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/v1/things/", "/v1/things/stop/", "//v1/things", "/v1//things", "/v1/things%2F"])
async def test_a_path_that_is_not_quite_one_is_not_redirected(world: World, path: str) -> None:
    """A redirected POST loses its token at another host, and the Location names whatever host was sent."""
    problem(await world.http.post(path, json={"kind": "round"}, headers={"Host": "evil.example"}), 404)
    assert await world.mongo.plumbing("things").count({}) == 0


async def test_the_next_page_is_at_the_host_that_was_asked(world: World) -> None:
    for _ in range(2):
        await world.make()
    answer = await world.http.get("/v1/things?limit=1", headers={"Host": "evil.example"})
    assert answer.headers["link"].startswith("</v1/things?limit=1&cursor=")


@pytest.mark.parametrize("path", ["/v1/things", "/v1/things/stop"])
async def test_headers_are_bounded(world: World, path: str) -> None:
    for header in ({"X-Large": "x" * HEADER_BYTES}, {f"X-{number}": "x" for number in range(10_000)}):
        problem(await world.http.post(path, json={"kind": "round"}, headers=header), 431)
    assert world.gate.entered == 0


async def test_a_fault_of_ours_says_nothing_and_is_counted(world: World) -> None:
    """Past the framework's outermost layer nothing would count it, and no alert would see it."""
    counted = HTTP_REQUESTS.labels("POST", "/v1/things", "500")
    before = counted._value.get()
    world.gate.fault = RuntimeError("secret-marker")
    answer = await world.make()
    problem(answer, 500)
    assert answer.json() == {"type": "urn:stillwater:problem:internal", "title": "Internal error", "status": 500}
    assert answer.headers["ratelimit"]
    assert counted._value.get() == before + 1
    assert await world.mongo.plumbing("things").count({}) == 0
