"""What a field takes: no text for a number, no number for a time."""

from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from shared.web.schemas import Body, Instant


class Part(Body):
    count: int | None = None


class Whole(Body):
    number: float = 0
    flag: bool = False
    at: Instant | None = None
    parts: list[Part] = []  # noqa: RUF012 - pydantic copies it
    kind: Literal["a"] = "a"


@pytest.mark.parametrize(
    "fields",
    [
        {"number": "1"},
        {"number": True},
        {"number": float("nan")},
        {"flag": "yes"},
        {"flag": 1},
        {"parts": [{"count": "1"}]},
        {"parts": [{"count": 1.0}]},
        {"parts": [{"count": True}]},
        {"parts": [{"more": 1}]},
        *({"at": at} for at in (1767225600, "1767225600", "2026-01-01", "2026-01-01T10:00:00", "2026-01-01T10:00Z")),
        *({"at": at} for at in ("2026-01-01 10:00:00Z", "2026-13-01T10:00:00Z", "٢٠٢٦-01-01T10:00:00Z")),
        *({"at": at} for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
        *({"at": at} for at in ("0001-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z")),
        *({"at": at} for at in ("2016-12-31T23:59:60Z", "2026-01-01T24:00:00Z", "2026-01-01T10:00:00+24:00")),
    ],
)
def test_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Whole.model_validate(fields)


def test_taken() -> None:
    whole = Whole.model_validate(
        {"number": 1, "flag": True, "at": "2026-01-01t12:00:00.123999+02:00", "parts": [{"count": 1}]}
    )
    assert whole.at == datetime(2026, 1, 1, 10, 0, 0, 123000, UTC)
    assert whole.model_dump(mode="json")["at"] == "2026-01-01T10:00:00.123Z"
    assert whole.parts == [Part(count=1)]
