"""Pure rules of the services."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduling.slots import SLOT, slots
from shared.errors import BadRequest
from shared.persistence.vault import KeyRing
from shared.web.bodies import check_json


@given(st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)), st.integers(1, 480), st.integers(0, 480))  # noqa: DTZ001
def test_visits_that_overlap_share_a_slot(start: datetime, minutes: int, later: int) -> None:
    end = start + timedelta(minutes=minutes)
    other = start + timedelta(minutes=later)
    shared = set(slots(start, end)) & set(slots(other, other + SLOT))
    assert shared or other >= end


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": NaN}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'"\xff"',
        b"[" * 40 + b"]" * 40,
        b'["' + b"x" * 20001 + b'"]',
    ],
    ids=["broken", "NaN", "NUL", "lone surrogate", "bad UTF-8", "deep", "long"],
)
def test_what_is_not_strict_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        check_json(body)


@pytest.mark.parametrize("text", ["", "k1", "k1:AAAA", ":AAAA"])
def test_a_key_ring_without_good_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"key ring|base64|padding|Incorrect"):
        KeyRing(text)
