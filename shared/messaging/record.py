"""A Kafka record as it came."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events.envelope import RawHeader


@dataclass(frozen=True)
class Record:
    """Bytes only; decoding is the pipeline's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[RawHeader]
