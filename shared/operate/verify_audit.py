"""`verify-audit`: was a row or a block of the audit changed, removed, inserted, reordered, or the tail cut off?"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from shared.keys import read_key
from shared.operate.task import run_task
from shared.persistence.chain import AUDIT, BLOCKS, GENESIS, Anchor, block_hash, read_anchors, row_digest
from shared.persistence.mongo import Document, Mongo
from shared.persistence.sealer import ANCHOR_EVERY, EMPTY_BLOCK_EVERY, WINDOW
from shared.service import Process, Service

Fault = Literal[
    "row_changed",
    "row_removed",
    "row_without_block",
    "block_changed",
    "block_removed",
    "block_reordered",
    "tail_cut",
    "no_block_lately",
    "no_block_between",
    "anchor_differs",
    "anchor_missing",
    "anchor_unreadable",
]
FINDINGS_KEPT = 1_000
ROWS_AT_ONCE = 1_000
CLOCK_SKEW = timedelta(minutes=5)
SILENCE = 3 * EMPTY_BLOCK_EVERY
ANCHORS_APART = ANCHOR_EVERY + SILENCE
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Finding:
    """What is wrong with which row or block; ids, numbers and times only."""

    fault: Fault
    what: str


@dataclass
class Report:
    """The first thousand findings, and how many there are."""

    blocks: int = 0
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    found: int = 0

    def add(self, fault: Fault, what: object) -> None:
        self.found += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(Finding(fault, str(what)))


class _Verification:
    """Two passes with bounded memory: the blocks and the rows that they name; then the rows and the blocks around their time."""

    def __init__(self, mongo: Mongo, key: bytes, anchors: Path, service: str, advance: Advance) -> None:
        self._mongo, self._key, self._path, self._service, self._advance = mongo, key, anchors, service, advance
        self._now = mongo.clock.system_now()
        self.report = Report()
        self._anchors: dict[int, set[str]] = {}
        self._last_anchor: Anchor | None = None
        self._stopped: dict[int, datetime | None] = {}  # at which block, and when it was taken up again
        self._spoken_of: set[str] = set()

    async def run(self) -> Report:
        self._read_anchors()
        await self._blocks()
        await self._rows()
        return self.report

    def _read_anchors(self) -> None:
        try:
            for number, anchor in enumerate(read_anchors(self._path), 1):
                if anchor is None:
                    self.report.add("anchor_unreadable", f"line {number}")
                elif anchor.service == self._service:
                    self._anchors.setdefault(anchor.number, set()).add(anchor.hash)
                    self._last_anchor = anchor
                    if anchor.reason == "stop":
                        self._stopped[anchor.number] = None
                    elif anchor.number in self._stopped and self._stopped[anchor.number] is None:
                        self._stopped[anchor.number] = anchor.at
        except OSError as error:
            self.report.add("anchor_unreadable", type(error).__name__)

    async def _blocks(self) -> None:
        """The chain in its order; after a fault it is taken up again at the next block."""
        last, number, previous = None, 0, GENESIS
        async for block in _stream(self._mongo, BLOCKS, {}, [("_id", 1)]):
            self.report.blocks += 1
            self._advance(1)
            if type(block["_id"]) is not int:
                self.report.add("block_changed", block["_id"])
                continue
            if block["_id"] != number + 1:
                self.report.add("block_removed", _span(number + 1, block["_id"] - 1))
                previous = ""
            number = block["_id"]
            sound = self._block(block, previous)
            previous = block["hash"] if sound else ""
            if sound:
                self._silence(last, block)
                last = block
                await self._named_rows(block)
        self._tail(number, last)

    def _silence(self, last: Document | None, block: Document) -> None:
        """A tail that was cut and then continued shows as a time in which nobody sealed, though nobody had stopped."""
        if last is None:
            return
        number, since = last["_id"], last["at"]
        if number in self._stopped:
            since = max(since, self._stopped[number] or block["at"])
        if block["at"] - since > SILENCE:
            self.report.add("no_block_between", f"{number} and {block['_id']}")

    def _block(self, block: Document, previous: str) -> bool:
        """True when it is as it was sealed, in its place. `previous` is empty when the block before is in doubt."""
        place = block["_id"]
        hashes = self._anchors.pop(place, set())
        if block.get("hash") != block_hash(self._key, block):
            self.report.add("block_changed", place)
        elif block["number"] != place or (previous and block["previous"] != previous):
            self.report.add("block_reordered", place)
        elif hashes - {block["hash"]}:
            self.report.add("anchor_differs", place)
        else:
            return True
        return False

    async def _named_rows(self, block: Document) -> None:
        named = {row["id"]: row["digest"] for row in block["rows"]}
        present = {}
        async for row in _stream(self._mongo, AUDIT, {"_id": {"$in": list(named)}}, [("_id", 1)]) if named else _none():
            present[row["_id"]] = row_digest(row)
        for identifier, digest in named.items():
            if present.get(identifier) == digest:
                continue
            self._spoken_of.add(identifier)
            self.report.add("row_changed" if identifier in present else "row_removed", identifier)

    def _tail(self, number: int, last: Document | None) -> None:
        """What is missing behind the last block, in the chain and in the anchors; `last` is the last sound one."""
        anchor = self._last_anchor
        ahead = max((anchored for anchored in self._anchors if anchored > number), default=None)
        if ahead is not None:
            self.report.add("tail_cut", _span(number + 1, ahead))
        elif not (anchor and anchor.reason == "stop" and anchor.number == number):
            since = last["at"] if last else anchor.at if anchor else self._now
            if self._now - since > SILENCE:
                self.report.add("no_block_lately", since.isoformat())
        if last and (anchor is None or last["at"] - anchor.at > ANCHORS_APART):
            self.report.add("anchor_missing", f"at block {last['_id']}")

    async def _rows(self) -> None:
        """Every row older than five minutes must be named by a block of its time; a time that cannot be is no excuse."""
        names = _Names(self._mongo)
        until = self._now - WINDOW - timedelta(seconds=10)
        async for row in _stream(self._mongo, AUDIT, {"at": {"$lt": until}}, [("at", 1), ("_id", 1)], {"at": 1}):
            named = isinstance(row["_id"], str) and await names.of(row["at"], row["_id"])
            self._row(row, named=named)
        nowhen = {"$nor": [{"at": {"$lte": self._now + CLOCK_SKEW}}]}
        async for row in _stream(self._mongo, AUDIT, nowhen, [("_id", 1)], {"at": 1}):
            self._row(row, named=False)

    def _row(self, row: Document, *, named: bool) -> None:
        self.report.rows += 1
        self._advance(1)
        if not named and str(row["_id"]) not in self._spoken_of:
            self.report.add("row_without_block", row["_id"])


class _Names:
    """Which rows the blocks around a time name; times are asked for in ascending order."""

    def __init__(self, mongo: Mongo) -> None:
        self._blocks = _stream(mongo, BLOCKS, {"at": {"$type": "date"}}, [("at", 1)], {"at": 1, "rows.id": 1})
        self._near: deque[tuple[datetime, list[str]]] = deque()
        self._named: set[str] = set()
        self._read_to = datetime.min.replace(tzinfo=UTC)

    async def of(self, at: datetime, identifier: str) -> bool:
        while self._read_to <= at + WINDOW + CLOCK_SKEW:
            block = await anext(self._blocks, None)
            self._read_to = block["at"] if block else datetime.max.replace(tzinfo=UTC)
            if block and block.get("rows") and block["at"] >= at - CLOCK_SKEW:
                ids = [row["id"] for row in block["rows"] if isinstance(row.get("id"), str)]
                self._near.append((block["at"], ids))
                self._named.update(ids)
        while self._near and self._near[0][0] < at - CLOCK_SKEW:
            self._named.difference_update(self._near.popleft()[1])
        return identifier in self._named


async def _none() -> AsyncIterator[Document]:
    return
    yield


async def _stream(
    mongo: Mongo, name: str, query: Document, sort: list[tuple[str, int]], fields: Document | None = None
) -> AsyncIterator[Document]:
    async for row in mongo.database[name].find(query, fields, sort=sort, batch_size=ROWS_AT_ONCE):
        yield row


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


async def verify(mongo: Mongo, key: bytes, anchors: Path, service: str, advance: Advance = lambda _: None) -> Report:
    """Compare the audit with its chain and the anchors. `advance` is told of each block and row that was looked at."""
    return await _Verification(mongo, key, anchors, service, advance).run()


async def size(mongo: Mongo) -> int:
    """About how many steps `verify` will take."""
    counts = [await mongo.database[name].estimated_document_count() for name in (BLOCKS, AUDIT)]
    return sum(counts)


def command(service: Service) -> click.Command:
    @click.command("verify-audit")
    def verify_audit() -> None:
        """Look for changed, removed, inserted or reordered audit rows and blocks, and for a cut tail; 1 if any."""

        async def work(process: Process) -> int:
            settings = process.settings
            key = read_key(settings.audit_key.get_secret_value())
            with click.progressbar(length=await size(process.mongo), label="verify-audit") as bar:
                report = await verify(process.mongo, key, settings.audit_anchor_path, service.name, bar.update)
            return _tell(report)

        run_task(service, work)

    return verify_audit


def _tell(report: Report) -> int:
    for finding in report.findings:
        click.echo(f"{finding.fault}\t{finding.what}")
    if report.found > len(report.findings):
        click.echo(f"and {report.found - len(report.findings)} more")
    click.echo(f"{report.blocks} blocks, {report.rows} rows, {report.found} findings")
    return int(bool(report.found))
