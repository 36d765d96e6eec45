"""A document changes its shape while old and new code run: read at once, stored by a migration that may be cut short."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.stack import ROOT, Stack
from shared.persistence.migrations import AT_ONCE, MIGRATIONS, Migration, run_migrations, to_present_shape
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.shapes import Shapes

SCOPE = system_scope("clinic-1", "test")
MANY = 2 * AT_ONCE + 7


class Killed(Exception):
    """The job died here."""


def split_name(row: Document) -> Document:
    first, last = row.pop("name").split()
    return {**row, "first": first, "last": last}


def count(row: Document) -> Document:
    """Would count twice what is upcast twice."""
    return {**row, "times": row.get("times", 0) + 1}


@pytest.fixture
async def changing(mongo: Mongo) -> Mongo:
    """Documents of version 1, read by code of version 3."""
    await mongo.build_indexes({"people": []})
    rows = [
        {"_id": f"{no:04}", "schema_version": 1, "version": 4, "clinic_id": "clinic-1", "name": f"a b{no}"}
        for no in range(MANY)
    ]
    await mongo.plumbing("people").insert_many(rows)
    mongo.shapes = Shapes({"people": [split_name, count]})
    return mongo


async def stored(mongo: Mongo) -> Sequence[Document]:
    """As they lie in the store."""
    rows: list[Document] = await mongo.database["people"].find({}).sort("_id").to_list(None)
    return rows


async def test_new_code_reads_the_old_shape_and_writes_the_new_one(changing: Mongo) -> None:
    row = await changing.reader(SCOPE).collection("people").get("0001")
    assert (row["schema_version"], row["first"], row["last"], row["times"]) == (3, "a", "b1", 1)
    assert {found["last"] for found in await changing.reader(SCOPE).collection("people").find({})} >= {"b2", "b3"}

    async def work(unit: UnitOfWork) -> None:
        found = await unit.collection("people").get("0001")
        await unit.collection("people").replace_versioned({**found, "version": 5})

    await changing.run(SCOPE, work)
    rows = await stored(changing)
    assert [found["schema_version"] for found in rows[:3]] == [1, 3, 1]
    later = {"_id": "x", "schema_version": 9, "name": "of newer code"}
    assert changing.shapes.read("people", later) == later


async def test_a_migration_cut_short_is_taken_up_again_and_recorded_once(changing: Mongo) -> None:
    whole = to_present_shape("people")
    calls: list[int] = []

    async def dies(mongo: Mongo) -> int:
        if calls:
            raise Killed
        calls.append(await whole(mongo))
        return calls[-1]

    with pytest.raises(Killed):
        await run_migrations(changing, [Migration("0001-people", dies)])
    assert sum(row["schema_version"] == 3 for row in await stored(changing)) == AT_ONCE
    record: Any = await changing.plumbing(MIGRATIONS).find_one({})
    assert (record["_id"], record["finished_at"], record["changed"]) == ("0001-people", None, AT_ONCE)

    assert await run_migrations(changing, [Migration("0001-people", whole)]) == ["0001-people"]
    rows = await stored(changing)
    assert {(row["schema_version"], row["version"], row["first"], row["times"]) for row in rows} == {(3, 4, "a", 1)}
    assert [row["last"] for row in rows] == [f"b{no}" for no in range(MANY)]
    (record,) = await changing.plumbing(MIGRATIONS).find({})
    assert record["changed"] == MANY
    assert record["finished_at"] >= record["started_at"]

    assert await run_migrations(changing, [Migration("0001-people", dies)]) == []
    assert await changing.plumbing(MIGRATIONS).find({}) == [record]


async def test_migrations_run_in_the_order_of_their_names(mongo: Mongo) -> None:
    order: list[str] = []

    def noting(name: str) -> Migration:
        async def step(_: Mongo) -> int:
            order.append(name)
            return 0

        return Migration(name, step)

    one, two, three = noting("0001-a"), noting("0002-b"), noting("0003-c")
    assert await run_migrations(mongo, [one, two]) == ["0001-a", "0002-b"]
    assert await run_migrations(mongo, [one, two, three]) == ["0003-c"]
    assert order == ["0001-a", "0002-b", "0003-c"]
    for wrong in ([two, one], [one, one]):
        with pytest.raises(ValueError, match="order"):
            await run_migrations(mongo, wrong)


def test_the_job_runs_beside_the_service_and_names_what_the_store_refuses(stack: Stack) -> None:
    def migrate() -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-m", "services.intake", "migrate"], stack.environment("intake")
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env)

    assert migrate().returncode == 0
    with MongoClient[Any](stack.mongodb_uri) as admin:
        before = admin.intake.inbox.index_information()["ttl"]
        admin.intake.inbox.drop_index("ttl")
        admin.intake.inbox.create_index([("at", 1)], name="ttl", expireAfterSeconds=1_000_000)
        try:
            refused = migrate()
        finally:
            admin.intake.inbox.drop_index("ttl")
        assert (refused.returncode, refused.stderr) == (1, "intake migrate: the store says IndexOptionsConflict\n")
        assert migrate().returncode == 0
        assert admin.intake.inbox.index_information()["ttl"] == before
