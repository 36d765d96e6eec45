"""The audit chain: numbered blocks over the rows, each bound to the one before by a hash whose key is not in the database."""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from shared.persistence.mongo import Document

AUDIT, BLOCKS = "audit", "audit_blocks"
GENESIS = "0" * 64
AnchorReason = Literal["start", "hour", "stop"]


def _canonical(value: Any) -> bytes:
    """The same bytes for equal content, whatever the order of its fields."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else f"{type(value).__name__}:{value!r}"


def row_digest(row: Document) -> str:
    """SHA-256 over every field of an audit row."""
    return hashlib.sha256(_canonical(row)).hexdigest()


def block_hash(key: bytes, block: Document) -> str:
    """HMAC-SHA256 over every field of the block; `_id` (the number again) and `hash` are left out."""
    content = {name: item for name, item in block.items() if name not in ("_id", "hash")}
    return hmac.new(key, _canonical(content), hashlib.sha256).hexdigest()


def new_block(key: bytes, number: int, previous: str, at: datetime, rows: Sequence[Document]) -> Document:
    listed = [{"id": row["_id"], "digest": row_digest(row)} for row in rows]
    block: Document = {"_id": number, "number": number, "at": at, "previous": previous, "rows": listed}
    return {**block, "hash": block_hash(key, block)}


@dataclass(frozen=True)
class Head:
    """The last block: what the next one continues. `at` is None before the first."""

    number: int = 0
    hash: str = GENESIS
    at: datetime | None = None


@dataclass(frozen=True)
class Anchor:
    """One line of the append-only file outside the database; raises KeyError, TypeError, ValueError when it is none."""

    service: str
    number: int
    hash: str
    at: datetime
    reason: AnchorReason

    def line(self) -> str:
        named = {**self.__dict__, "at": self.at.isoformat(timespec="milliseconds")}
        return json.dumps(named) + "\n"

    @classmethod
    def read(cls, line: str) -> "Anchor":
        row = json.loads(line)
        at = datetime.fromisoformat(row["at"])
        return cls(str(row["service"]), int(row["number"]), str(row["hash"]), at, row["reason"])


def read_anchors(path: Path) -> Iterator[Anchor | None]:
    """Line by line; None for a line that cannot be read. Raises OSError when there is no such file."""
    with path.open() as file:
        for line in file:
            try:
                yield Anchor.read(line)
            except (KeyError, TypeError, ValueError):
                yield None


async def append_anchor(path: Path, anchor: Anchor) -> None:
    """On the disk when this returns. Raises OSError."""
    await asyncio.to_thread(_append, path, anchor.line())


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
