"""Encryption of contact data and free text: a data key per patient and service, wrapped by the service's key ring (ADR 5)."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.keys import read_ring
from shared.persistence.mongo import Document, Mongo, Reader, UnitOfWork
from shared.persistence.scope import system_scope

_NONCE_BYTES = 12
Json = Any


class Erased(Exception):
    """The subject's key is gone: what it encrypted can no longer be read by anybody."""


class KeyRing:
    """`kid:base64,kid2:base64`, 32 bytes each; the first encrypts, all decrypt."""

    def __init__(self, text: str) -> None:
        self._keys = {kid: AESGCM(key) for kid, key in read_ring(text).items()}
        self.current = next(iter(self._keys))

    def seal(self, plain: bytes, bound_to: str) -> tuple[str, bytes]:
        nonce = os.urandom(_NONCE_BYTES)
        return self.current, nonce + self._keys[self.current].encrypt(nonce, plain, bound_to.encode())

    def open(self, kid: str, sealed: bytes, bound_to: str) -> bytes:
        """Raises KeyError for a key that is not in the ring and InvalidTag for changed bytes."""
        return self._keys[kid].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())


class TransportCipher:
    """The rotating key shared by the producer and the reader of a restricted topic."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @property
    def current(self) -> str:
        """The id of the key that encrypts."""
        return self._ring.current

    def encrypt(self, subject_id: str, data: Json) -> bytes:
        kid, sealed = self._ring.seal(json.dumps(data).encode(), subject_id)
        return kid.encode() + b":" + sealed

    def decrypt(self, subject_id: str, token: bytes) -> Json:
        kid, _, sealed = token.partition(b":")
        return json.loads(self._ring.open(kid.decode(), sealed, subject_id))


class Vault:
    """Encrypts JSON values for one subject (a patient, an inquiry, a staff member) of the unit's clinic."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def encrypt(self, unit: UnitOfWork, subject_id: str, data: Json) -> bytes:
        """The first use makes the subject's data key, in the same transaction."""
        key = await self._data_key(unit, subject_id) or await self._make_key(unit, subject_id)
        return _seal(key, data, _binding(unit, subject_id))

    async def encrypt_first(self, unit: UnitOfWork, subject_id: str, data: Json) -> bytes:
        """For a subject that this unit makes: nobody has a key for it yet."""
        return _seal(await self._make_key(unit, subject_id), data, _binding(unit, subject_id))

    async def _make_key(self, unit: UnitOfWork, subject_id: str) -> bytes:
        key, binding = os.urandom(32), _binding(unit, subject_id)
        kid, wrapped = self._ring.seal(key, binding)
        unit.memo[binding] = {"_id": binding, "kid": kid, "wrapped": wrapped}
        await unit.plumbing("data_keys").insert(unit.memo[binding])
        return key

    async def decrypt(self, reader: Reader, subject_id: str, token: bytes) -> Json:
        """Raises Erased when the subject's key was destroyed."""
        key = await self._data_key(reader, subject_id)
        if key is None:
            raise Erased
        plain = AESGCM(key).decrypt(token[:_NONCE_BYTES], token[_NONCE_BYTES:], _binding(reader, subject_id).encode())
        return json.loads(plain)

    async def shred(self, unit: UnitOfWork, subject_id: str) -> None:
        """Destroy the subject's key: its ciphertexts are unreadable from the commit on."""
        unit.memo.pop(_binding(unit, subject_id), None)
        await unit.plumbing("data_keys").discard({"_id": _binding(unit, subject_id)})

    @staticmethod
    def keys_of(reader: Reader, prefix: str) -> Document:
        """A filter for the rows of all subjects of the clinic whose id begins with `prefix`; see `know`."""
        first = _binding(reader, prefix)
        return {"_id": {"$gte": first, "$lt": first + "\U0010ffff"}}

    def know(self, reader: Reader, key_rows: Iterable[Document]) -> None:
        """Rows of `data_keys` that the caller has read together with what they open."""
        reader.memo.update({row["_id"]: row for row in key_rows})

    async def _data_key(self, reader: Reader, subject_id: str) -> bytes | None:
        binding = _binding(reader, subject_id)
        if binding not in reader.memo:
            found = await reader.plumbing("data_keys").find_one({"_id": binding})
            if found is None:
                return None
            reader.memo[binding] = found
        row = reader.memo[binding]
        return self._ring.open(row["kid"], row["wrapped"], binding)


@dataclass(frozen=True)
class Sealed:
    """A collection whose documents hold bytes that the ring itself sealed: their key's id is in `kid`."""

    collection: str
    field: str


DATA_KEYS = Sealed("data_keys", "wrapped")
STORED_ANSWERS = Sealed("idempotency", "content")


async def count_stale(mongo: Mongo, ring: KeyRing, kind: Sealed) -> int:
    """How many documents are not under the ring's first key."""
    return await mongo.plumbing(kind.collection).count({"kid": {"$ne": ring.current}})


async def rewrap(mongo: Mongo, ring: KeyRing, kind: Sealed, limit: int = 200) -> int:
    """Put the next documents under the ring's first key, in one transaction; returns how many, 0 at the end.

    May be stopped and begun again at any time, beside the running service. Raises KeyError when a document's key is
    not in the ring, InvalidTag when its bytes were changed: nothing of that batch is written.
    """

    async def work(unit: UnitOfWork) -> int:
        rows = unit.plumbing(kind.collection)
        stale = await rows.find({"kid": {"$ne": ring.current}}, limit=limit)
        for row in stale:
            plain = ring.open(row["kid"], row[kind.field], row["_id"])
            kid, sealed = ring.seal(plain, row["_id"])
            await rows.update({"_id": row["_id"], "kid": row["kid"]}, {"$set": {"kid": kid, kind.field: sealed}})
        return len(stale)

    return await mongo.run(system_scope("-", "rotate-keys"), work)


def _seal(key: bytes, data: Json, binding: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, json.dumps(data).encode(), binding.encode())


def _binding(reader: Reader, subject_id: str) -> str:
    return f"{reader.scope.clinic_id}:{subject_id}"
