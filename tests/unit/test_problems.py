"""What the tests take for a refusal: a problem of its status that repeats nothing."""

from typing import Any

import httpx
import pytest

from tests.support.problems import MARKER, refused

PROBLEM: dict[str, Any] = {"type": "urn:stillwater:problem:conflict", "status": 409, "title": "Conflict"}
KIND = "application/problem+json"


def answer(*, kind: str = KIND, header: str = "x", **told: Any) -> httpx.Response:
    return httpx.Response(409, json=PROBLEM | told, headers={"Content-Type": kind, "X-About": header})


def test_a_problem_is_a_refusal_of_its_status() -> None:
    assert refused(answer()) == 409


@pytest.mark.parametrize(
    "other",
    [
        answer(kind="application/json"),
        answer(status=400),
        answer(type="about:blank"),
        answer(detail=f"{MARKER} is none"),
        answer(header=MARKER),
    ],
    ids=["of another kind", "of another status", "without a type of ours", "repeats", "repeats in a header"],
)
def test_what_is_no_such_problem_is_told_as_what_it_is(other: httpx.Response) -> None:
    assert str(refused(other)).startswith("409 application/")
