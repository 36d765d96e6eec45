"""The audit is tampered with in each way, with an administrator's rights, and each is found out."""

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from deploy.local.stack import Stack
from shared.clock import ManualClock
from shared.ids import new_id
from shared.operate.verify_audit import verify
from shared.persistence.audit import audit
from shared.persistence.chain import new_block, read_anchors, row_digest
from shared.persistence.lease import Lease
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.persistence.sealer import Sealer
from tests.support.clocks import apart
from tests.support.databases import empty_database

KEY = b"a" * 32
SCOPE = Scope("clinic-1", Actor("nurse-1", "nurse"))


class Archive:
    """An audit of a few minutes with its chain and anchors; `db` is the administrator's hand."""

    def __init__(self, mongo: Mongo, clock: ManualClock, anchors: Path) -> None:
        self.mongo, self.clock, self.anchors = mongo, clock, anchors
        self.db: Any = mongo.database
        self.sealer = self.new_sealer("one")

    def new_sealer(self, holder: str) -> Sealer:
        return Sealer(self.mongo, "intake", KEY, self.anchors, Lease(self.mongo, "sealer", holder))

    async def acts(self, number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            for _ in range(number):
                audit(unit, "patient.read", f"patient/{new_id()}")

        await self.mongo.run(SCOPE, work)

    async def passes(self, minutes: int) -> None:
        """Each minute somebody does something, and the sealer seals."""
        for _ in range(minutes):
            await self.acts(3)
            await self.sealer.seal()
            self.clock.advance(60)

    async def found(self) -> set[str]:
        report = await verify(self.mongo, KEY, self.anchors, "intake")
        return {finding.fault for finding in report.findings}


@pytest.fixture
async def archive(stores: Stack, tmp_path: Path) -> AsyncIterator[Archive]:
    clock = apart(datetime(2026, 1, 1, 12, tzinfo=UTC))
    async with empty_database(stores.mongodb_uri, clock) as mongo:
        made = Archive(mongo, clock, tmp_path / "anchors.jsonl")
        await made.passes(12)
        await made.sealer.seal()
        yield made


async def test_an_audit_that_nobody_touched_has_no_findings(archive: Archive) -> None:
    assert await archive.found() == set()
    report = await verify(archive.mongo, KEY, archive.anchors, "intake")
    assert (report.blocks, report.rows) == (13, 36 - 3 * 5)


async def _change_row(archive: Archive) -> None:
    await archive.db.audit.update_one({}, {"$set": {"actor": "somebody-else"}})


async def _remove_row(archive: Archive) -> None:
    await archive.db.audit.delete_one({})


async def _swap_rows(archive: Archive) -> None:
    """Each under the id of the other: the same rows, in another order."""
    first, second = await archive.db.audit.find({}).sort("_id", 1).limit(2).to_list(None)
    await archive.db.audit.replace_one({"_id": first["_id"]}, {**second, "_id": first["_id"]})
    await archive.db.audit.replace_one({"_id": second["_id"]}, {**first, "_id": second["_id"]})


async def _insert_row(archive: Archive) -> None:
    row = await archive.db.audit.find_one({})
    await archive.db.audit.insert_one({**row, "_id": new_id(), "action": "patient.never_happened"})


async def _insert_row_of_no_time(archive: Archive) -> None:
    """Rows are looked for by their time: this one has none that can be compared."""
    row = await archive.db.audit.find_one({})
    await archive.db.audit.insert_one({**row, "_id": new_id(), "at": "2026-01-01T12:00:00Z"})


async def _insert_row_of_the_future(archive: Archive) -> None:
    row = await archive.db.audit.find_one({})
    await archive.db.audit.insert_one({**row, "_id": new_id(), "at": archive.clock.system_now() + timedelta(days=9)})


async def _insert_row_of_another_kind(archive: Archive) -> None:
    row = await archive.db.audit.find_one({})
    await archive.db.audit.insert_one({**row, "_id": {"kind": 1}})


async def _insert_block(archive: Archive) -> None:
    await archive.db.audit_blocks.insert_one({"_id": "4a", "at": "never", "rows": [{"id": {}}, 1]})


async def _change_block(archive: Archive) -> None:
    await archive.db.audit_blocks.update_one({"_id": 4}, {"$pop": {"rows": 1}})


async def _reorder_rows_of_block(archive: Archive) -> None:
    block = await archive.db.audit_blocks.find_one({"_id": 4})
    await archive.db.audit_blocks.update_one({"_id": 4}, {"$set": {"rows": block["rows"][::-1]}})


async def _remove_block(archive: Archive) -> None:
    await archive.db.audit_blocks.delete_one({"_id": 4})


async def _remove_block_with_its_rows(archive: Archive) -> None:
    block = await archive.db.audit_blocks.find_one_and_delete({"_id": 4})
    await archive.db.audit.delete_many({"_id": {"$in": [row["id"] for row in block["rows"]]}})


async def _remove_last_blocks(archive: Archive) -> None:
    """Their rows stay, too young to be missed yet."""
    await archive.db.audit_blocks.delete_many({"_id": {"$gt": 8}})


async def _swap_blocks(archive: Archive) -> None:
    first, second = [await archive.db.audit_blocks.find_one({"_id": number}) for number in (4, 5)]
    await archive.db.audit_blocks.replace_one({"_id": 4}, {**second, "_id": 4})
    await archive.db.audit_blocks.replace_one({"_id": 5}, {**first, "_id": 5})


async def _forge_block(archive: Archive) -> None:
    """The whole chain made anew by somebody who lacks the key."""
    previous = ""
    async for block in archive.db.audit_blocks.find({}).sort("_id", 1):
        rows = [await archive.db.audit.find_one({"_id": row["id"]}) for row in block["rows"]]
        forged = new_block(b"b" * 32, block["_id"], previous, block["at"], rows)
        previous = forged["hash"]
        await archive.db.audit_blocks.replace_one({"_id": block["_id"]}, forged)


async def _add_forged_block(archive: Archive) -> None:
    """It goes on where the chain ends, by somebody who lacks the key."""
    last = await archive.db.audit_blocks.find_one({}, sort=[("_id", -1)])
    forged = new_block(b"b" * 32, last["_id"] + 1, last["hash"], archive.clock.system_now(), [])
    await archive.db.audit_blocks.insert_one(forged)


async def _restore_old_copy(archive: Archive) -> None:
    """The whole database as it was some minutes ago, sound in itself."""
    names = ("audit", "audit_blocks")
    copies = {name: await archive.db[name].find({}).to_list(None) for name in names}
    await archive.passes(6)
    await archive.sealer.close()
    for name in names:
        await archive.db[name].delete_many({})
        await archive.db[name].insert_many(copies[name])


async def _cut_tail(archive: Archive) -> None:
    """The last blocks and the rows that they named, together."""
    await archive.sealer.close()
    async for block in archive.db.audit_blocks.find({"_id": {"$gt": 8}}):
        await archive.db.audit.delete_many({"_id": {"$in": [row["id"] for row in block["rows"]]}})
    await archive.db.audit_blocks.delete_many({"_id": {"$gt": 8}})


async def _cut_tail_and_go_on(archive: Archive) -> None:
    """The blocks since the last anchor and their rows; then the service, which was killed, starts again."""
    async for block in archive.db.audit_blocks.find({"_id": {"$gt": 8}}):
        await archive.db.audit.delete_many({"_id": {"$in": [row["id"] for row in block["rows"]]}})
    await archive.db.audit_blocks.delete_many({"_id": {"$gt": 8}})
    archive.sealer = archive.new_sealer("two")
    await archive.passes(2)


async def _cut_everything(archive: Archive) -> None:
    """Before the first hour is over there is only the anchor of the start, of number 0."""
    await archive.db.audit.delete_many({})
    await archive.db.audit_blocks.delete_many({})


async def _lose_anchors(archive: Archive) -> None:
    """The head file is there and says nothing of this service."""
    archive.anchors.write_text("")


async def _lose_late_anchors(archive: Archive) -> None:
    kept = archive.anchors.read_text()
    await archive.passes(70)
    archive.anchors.write_text(kept)


async def _spoil_anchors(archive: Archive) -> None:
    archive.anchors.write_text("{\n")


async def _remove_anchors(archive: Archive) -> None:
    archive.anchors.unlink()


async def _remove_last_anchor(archive: Archive) -> None:
    """That of a stop: what is silent since then has no excuse."""
    await archive.sealer.close()
    archive.clock.advance(600)
    archive.anchors.write_text("".join(archive.anchors.read_text().splitlines(keepends=True)[:-1]))


async def _renumber_anchor(archive: Archive) -> None:
    await archive.sealer.close()
    last = (await archive.db.audit_blocks.find_one({}, sort=[("_id", -1)]))["_id"]
    text = archive.anchors.read_text().replace(f'"number": {last}', f'"number": {last - 1}')
    archive.anchors.write_text(text)


async def _switch_off(archive: Archive) -> None:
    """Nobody seals any more, and nobody said so."""
    archive.clock.advance(600)


async def _loosen_anchor(archive: Archive) -> None:
    await archive.sealer.close()
    lines = archive.anchors.read_text().splitlines()
    archive.anchors.write_text("\n".join([*lines[:-1], lines[-1].replace('"hash": "', '"hash": "0')]) + "\n")


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (_change_row, "row_changed"),
        (_remove_row, "row_removed"),
        (_swap_rows, "row_changed"),
        (_insert_row, "row_without_block"),
        (_insert_row_of_no_time, "row_without_block"),
        (_insert_row_of_the_future, "row_without_block"),
        (_insert_row_of_another_kind, "row_without_block"),
        (_insert_block, "block_changed"),
        (_change_block, "block_changed"),
        (_reorder_rows_of_block, "block_changed"),
        (_remove_block, "block_removed"),
        (_remove_block_with_its_rows, "block_removed"),
        (_remove_last_blocks, "no_block_lately"),
        (_swap_blocks, "block_reordered"),
        (_forge_block, "block_changed"),
        (_add_forged_block, "block_changed"),
        (_cut_tail, "tail_cut"),
        (_restore_old_copy, "tail_cut"),
        (_cut_tail_and_go_on, "no_block_between"),
        (_cut_everything, "no_block_lately"),
        (_switch_off, "no_block_lately"),
        (_loosen_anchor, "anchor_differs"),
        (_renumber_anchor, "anchor_differs"),
        (_remove_last_anchor, "no_block_lately"),
        (_lose_anchors, "anchor_missing"),
        (_lose_late_anchors, "anchor_missing"),
        (_spoil_anchors, "anchor_unreadable"),
        (_remove_anchors, "anchor_unreadable"),
    ],
)
async def test_each_way_of_tampering_is_found_out(
    archive: Archive, tamper: Callable[[Archive], Awaitable[None]], fault: str
) -> None:
    await tamper(archive)
    assert fault in await archive.found()


async def test_every_field_of_a_row_counts(archive: Archive) -> None:
    row = await archive.db.audit.find_one({})
    assert {"actor", "role", "purpose", "action", "subject", "patient_id", "clinic_id", "at", "trace"} < set(row)
    others = [{**row, name: "another"} for name in row] + [{**row, "more": None}]
    others += [{kept: item for kept, item in row.items() if kept != name} for name in row]
    assert len({row_digest(other) for other in others} | {row_digest(row)}) == len(others) + 1


@pytest.mark.parametrize(("collection", "fault"), [("audit", "row_changed"), ("audit_blocks", "block_changed")])
async def test_a_change_of_any_field_is_found_out_where_it_lies(archive: Archive, collection: str, fault: str) -> None:
    """The oldest; each field with another value, each missing, and one that was never there."""
    kept = archive.db[collection]
    sound = await kept.find_one({}, sort=[("_id", 1)])
    names, unseen = sound.keys() - {"_id"}, []
    changes = [{"$set": {name: "another"}} for name in (*names, "more")] + [{"$unset": {name: ""}} for name in names]
    for change in changes:
        await kept.update_one({"_id": sound["_id"]}, change)
        if fault not in await archive.found():
            unseen.append(change)
        await kept.replace_one({"_id": sound["_id"]}, sound)
    assert unseen == []
    assert await archive.found() == set()


async def test_the_command_prints_what_it_found_and_ends_with_one(archive: Archive, stores: Stack) -> None:
    await archive.sealer.close()
    row = await archive.db.audit.find_one({}, sort=[("_id", 1)])
    await archive.db.audit.update_one({"_id": row["_id"]}, {"$set": {"actor": "somebody-else"}})
    own = {"MONGODB_URI": stores.mongodb_uri, "MONGODB_DATABASE": archive.db.name}
    own |= {"AUDIT_KEY": b64encode(KEY).decode(), "AUDIT_ANCHOR_PATH": str(archive.anchors)}
    environment = os.environ | stores.environment("intake") | {f"INTAKE_{name}": text for name, text in own.items()}
    command = [sys.executable, "-m", "services.intake", "verify-audit"]
    run = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1, run.stdout + run.stderr
    finding, total = run.stdout.splitlines()[-2:]
    assert (finding, total) == (f"row_changed\t{row['_id']}", "13 blocks, 36 rows, 1 findings")


async def test_the_head_is_anchored_at_the_start_each_hour_and_at_the_stop(archive: Archive) -> None:
    began = archive.clock.system_now() - timedelta(minutes=12)
    for seconds in (48 * 60 - 1, 1, 3599, 1):
        archive.clock.advance(seconds)
        await archive.sealer.seal()
    await archive.sealer.close()
    anchors = [anchor for anchor in read_anchors(archive.anchors) if anchor]
    told = [(anchor.reason, (anchor.at - began) // timedelta(minutes=1)) for anchor in anchors]
    assert told == [("start", 0), ("hour", 60), ("hour", 120), ("stop", 120)]
    heads = {block["_id"]: block["hash"] async for block in archive.db.audit_blocks.find({})}
    assert [anchor.hash for anchor in anchors[1:]] == [heads[anchor.number] for anchor in anchors[1:]]
    assert anchors[1].number < anchors[2].number


class Unanswered(Lease):
    """The store goes between the last anchor and the lease."""

    async def release(self) -> None:
        raise AutoReconnect


async def test_a_lease_that_cannot_be_given_back_keeps_no_process_from_ending(archive: Archive) -> None:
    sealer = Sealer(archive.mongo, "intake", KEY, archive.anchors, Unanswered(archive.mongo, "other", "two"))
    await sealer.seal()
    await sealer.close()
    assert [anchor.reason for anchor in read_anchors(archive.anchors) if anchor][-2:] == ["start", "stop"]


async def test_a_stop_that_was_said_is_no_silence(archive: Archive) -> None:
    """A night without the service, then another day."""
    await archive.sealer.close()
    archive.clock.advance(8 * 3600)
    assert await archive.found() == set()
    archive.sealer = archive.new_sealer("two")
    await archive.passes(8)
    await archive.sealer.seal()
    assert await archive.found() == set()


async def test_a_row_that_committed_late_is_sealed_all_the_same(archive: Archive) -> None:
    """Its time is before that of a row which is sealed already; it must not be passed over."""
    late = await archive.db.audit.find_one({})
    at = archive.clock.system_now() - timedelta(minutes=4)
    await archive.db.audit.insert_one({**late, "_id": new_id(), "at": at})
    for _ in range(12):
        await archive.sealer.seal()
    archive.clock.advance(120)
    await archive.sealer.seal()
    assert await archive.found() == set()


async def test_a_holder_whose_lease_has_passed_cannot_fork_the_chain(archive: Archive) -> None:
    heir = archive.new_sealer("two")
    await archive.acts(2)
    await heir.seal()
    await archive.acts(2)
    assert not await archive.sealer._try()
    await heir.seal()
    assert await archive.found() == set()
