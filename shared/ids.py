"""Identifiers: UUIDv7 for what is new, UUIDv5 for what is derived from other facts."""

from uuid import UUID, uuid5

import uuid_utils

_NAMESPACE = UUID("6f1f3c0a-6f0e-5d0c-9a39-6b8f2a3c1d57")


def new_id() -> str:
    """A new, time-ordered id (RFC 9562 UUIDv7)."""
    return str(uuid_utils.uuid7())


def derived_id(*parts: str) -> str:
    """The same id for the same parts, on every machine (RFC 9562 UUIDv5)."""
    return str(uuid5(_NAMESPACE, "\x1f".join(parts)))
