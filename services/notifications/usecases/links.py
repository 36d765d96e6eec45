"""One-time links: the token is known to the message alone, here lives its hash. They expire, and act once."""

import hashlib
import secrets
from datetime import timedelta

from services.notifications.store import LINKS, find_link
from services.notifications.usecases.deps import Deps
from shared.errors import Gone, NotFound
from shared.persistence.mongo import Document, Reader, UnitOfWork

VALID = timedelta(hours=12)
KEPT = timedelta(days=7)


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def make_link(unit: UnitOfWork, deps: Deps, escalation_id: str, staff_id: str, role: str) -> str:
    """The URL for one person and one page."""
    token, now = secrets.token_urlsafe(24), unit.clock.system_now()
    row = {
        "_id": hashed(token),
        "schema_version": 1,
        "escalation_id": escalation_id,
        "staff_id": staff_id,
        "role": role,
    }
    await unit.collection(LINKS).insert({**row, "expires_at": now + VALID, "purge_at": now + KEPT, "used_at": None})
    return f"{deps.public_url}/v1/links/{token}"


async def open_link(reader: Reader, token: str) -> Document:
    """Raises NotFound for an unknown token and Gone for an expired one."""
    link = await find_link(reader, hashed(token))
    if link is None:
        raise NotFound
    if link["expires_at"] <= reader.clock.system_now():
        raise Gone("This link has expired.")
    return link


async def spend(unit: UnitOfWork, link: Document) -> bool:
    """False when it was used before. Two uses at once: the store lets one of them through."""
    used = {"$set": {"used_at": unit.clock.system_now()}}
    return bool(await unit.collection(LINKS).update({"_id": link["_id"], "used_at": None}, used))
