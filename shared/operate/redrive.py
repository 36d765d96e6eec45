"""`redrive`: list, inspect, rehearse, send again or drop what could not be handled or sent."""

from collections import Counter
from datetime import timedelta
from typing import Any

import click

from shared.messaging.outcomes import Reject, Retry
from shared.messaging.redrive import Redrive, dead_rows, decide_row, each
from shared.operate.task import operator, run_task
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.service import Process, Service


def command(service: Service) -> click.Command:
    @click.command("redrive")
    @click.option("--list", "listing", is_flag=True, help="Show what waits and end.")
    @click.option("--show", metavar="ID", help="Show one dead letter with its bytes (audited).")
    @click.option("--dry-run", is_flag=True, help="Run the handlers and roll everything back.")
    @click.option("--code", help="Only letters with this code.")
    @click.option("--type", "event_type", help="Only letters of this event type.")
    @click.option("--topic", help="Only letters from this topic.")
    @click.option("--clinic", help="Only letters of this clinic.")
    @click.option("--older-than", "older_s", type=int, help="Only letters older than so many seconds.")
    @click.option("--outbox", is_flag=True, help="Instead: the outbox rows that the broker refused.")
    @click.option("--drop", metavar="REASON", help="Drop instead of sending again, for this reason (a code).")
    def redrive(**options: Any) -> None:
        """Send dead letters through the handlers again, in this service alone."""

        async def work(process: Process) -> int:
            if options["outbox"]:
                return await _outbox(process, listing=options["listing"], drop=options["drop"])
            return await _letters(process, options)

        run_task(service, work)

    return redrive


async def _letters(process: Process, options: dict[str, Any]) -> int:
    run = process.redrive(operator())
    if options["show"]:
        return await _show(process, run, options["show"])
    letters = await run.find(_query(process, options))
    if options["listing"]:
        return _list(letters)
    if options["drop"]:
        dropped = [await run.drop(letter, options["drop"]) for letter in letters]
        click.echo(f"{sum(dropped)} dropped")
        return 0
    return await _send(run, letters, dry_run=options["dry_run"])


def _query(process: Process, options: dict[str, Any]) -> Document:
    named = {"code": "code", "event_type": "type", "topic": "topic", "clinic": "clinic_id"}
    query: Document = {field: options[name] for name, field in named.items() if options[name]}
    if options["older_s"]:
        query["at"] = {"$lt": process.clock.system_now() - timedelta(seconds=options["older_s"])}
    return query


def _list(letters: list[Document]) -> int:
    for letter in letters:
        size = len(letter["value"] or b"")
        click.echo(f"{letter['_id']}\t{letter['code']}\t{letter['type'] or '-'}\t{letter['at']:%FT%TZ}\t{size} bytes")
    click.echo(f"{len(letters)} open")
    return 0


async def _show(process: Process, run: Redrive, identifier: str) -> int:
    found = await run.find({"_id": identifier})
    if not found:
        raise click.ClickException("no open dead letter has this id")
    letter = found[0]
    scope = Scope(letter["clinic_id"], Actor(operator(), "operator"), purpose="operations")

    async def looked(unit: UnitOfWork) -> None:
        audit(unit, "dead_letter.read", f"dead-letter/{identifier}")

    await process.mongo.run(scope, looked)
    for name, item in letter["headers"]:
        click.echo(f"{name}: {item!r}")
    click.echo(repr(letter["value"]))
    return 0


async def _send(run: Redrive, letters: list[Document], *, dry_run: bool) -> int:
    tally: Counter[str] = Counter()
    with click.progressbar(length=len(letters), label="dry run" if dry_run else "redrive") as bar:
        async for _, outcome in each(run, letters, rehearse=dry_run):
            named = isinstance(outcome, Reject | Retry)
            name = type(outcome).__name__.lower() if outcome else "passed"
            tally[f"{name}({outcome.code})" if named else name] += 1  # type: ignore[union-attr]
            bar.update(1)
    click.echo(", ".join(f"{name} {number}" for name, number in sorted(tally.items())) or "nothing to do")
    return int(any(name.startswith(("reject", "retry")) for name in tally))


async def _outbox(process: Process, *, listing: bool, drop: str | None) -> int:
    rows = await dead_rows(process.mongo)
    for row in rows:
        decided = listing or await decide_row(process.mongo, row["_id"], operator(), drop_reason=drop)
        verb = "dead" if listing else ("dropped" if drop else "sent again") if decided else "gone"
        click.echo(f"{row['_id']}\t{row['topic']}\t{row['aggregate']}\t{len(row['value'] or b'')} bytes\t{verb}")
    click.echo(f"{len(rows)} rows")
    return 0
