"""Keys are rotated while everything stays readable, and the old key is needed no more."""

import asyncio
import os
from base64 import b64encode

import click
import pytest

from shared.operate.rotate_keys import rotate
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.vault import KeyRing, Vault

SCOPE = system_scope("clinic-1", "test")
OLD, NEW = (f"{kid}:{b64encode(os.urandom(32)).decode()}" for kid in ("k1", "k2"))


async def sealed(mongo: Mongo, ring: str, number: int) -> list[bytes]:
    async def work(unit: UnitOfWork) -> list[bytes]:
        return [await Vault(KeyRing(ring)).encrypt(unit, f"p{n}", {"name": f"n{n}"}) for n in range(number)]

    return await mongo.run(SCOPE, work)


async def test_after_the_rotation_the_new_key_alone_opens_everything(mongo: Mongo) -> None:
    tokens = await sealed(mongo, OLD, 250)
    assert await rotate(mongo, KeyRing(f"{NEW},{OLD}")) == 0
    reader = mongo.reader(SCOPE)
    opened = [await Vault(KeyRing(NEW)).decrypt(reader, f"p{n}", token) for n, token in enumerate(tokens)]
    assert opened == [{"name": f"n{n}"} for n in range(250)]
    assert await mongo.plumbing("data_keys").count({"kid": "k1"}) == 0


async def test_keys_rotate_while_traffic_runs(mongo: Mongo) -> None:
    """New subjects, changes and erasures beside the rotation, by processes that have both keys and still the old one first."""
    tokens = dict(enumerate(await sealed(mongo, OLD, 400)))
    done = asyncio.Event()

    async def visits(start: int, ring: str) -> None:
        vault, number = Vault(KeyRing(ring)), start
        while not done.is_set():
            number += 1

            async def work(unit: UnitOfWork, subject: int = number) -> bytes:
                token = await vault.encrypt(unit, f"p{subject}", {"name": f"n{subject}"})
                await vault.shred(unit, f"p{subject - start}")
                return token

            tokens[number] = await mongo.run(SCOPE, work)
            tokens.pop(number - start, None)

    traffic = [asyncio.create_task(visits(1000, f"{NEW},{OLD}")), asyncio.create_task(visits(5000, f"{OLD},{NEW}"))]
    await rotate(mongo, KeyRing(f"{NEW},{OLD}"))
    done.set()
    await asyncio.gather(*traffic)
    await rotate(mongo, KeyRing(f"{NEW},{OLD}"))
    reader, alone = mongo.reader(SCOPE), Vault(KeyRing(NEW))
    assert {n: await alone.decrypt(reader, f"p{n}", token) for n, token in tokens.items()} == {
        n: {"name": f"n{n}"} for n in tokens
    }
    assert max(tokens) > 5000, "no traffic ran: this proves nothing"
    assert await mongo.plumbing("data_keys").count({}) == len(tokens)


async def test_a_ring_without_the_old_key_changes_nothing_and_says_why(mongo: Mongo) -> None:
    await sealed(mongo, OLD, 3)
    with pytest.raises(click.ClickException, match="a key that the ring does not have"):
        await rotate(mongo, KeyRing(NEW))
    assert await mongo.plumbing("data_keys").count({"kid": "k1"}) == 3
