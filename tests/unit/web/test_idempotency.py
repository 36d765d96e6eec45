"""What counts as an Idempotency-Key: a key that would not be honoured is refused, never passed over."""

import pytest

from shared.errors import BadRequest
from shared.web.idempotency import key_of


@pytest.mark.parametrize("header", ["8e03978e", '"8e03978e"'])
def test_a_key_is_a_bare_word_or_a_structured_string(header: str) -> None:
    assert key_of(header) == "8e03978e"


def test_without_the_header_there_is_no_key() -> None:
    assert key_of(None) is None


@pytest.mark.parametrize("header", ["", " ", '""', '"half', "caf\u00e9", "a\x7fb", "x" * 256])
def test_what_is_no_key_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        key_of(header)
