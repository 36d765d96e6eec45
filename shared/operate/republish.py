"""`republish --type PlanState [--clinic ID]`: current state as events, so that others can rebuild a projection."""

import click

from shared.messaging.republish import Republish, count, republish_after
from shared.operate.task import run_task
from shared.service import Process, Service


def command(service: Service) -> click.Command:
    @click.command("republish")
    @click.option("--type", "names", multiple=True, help="State event; may be repeated. Default: all of this service.")
    @click.option("--clinic", default=None, help="Only this clinic's documents.")
    @click.option("--dry-run", is_flag=True, help="Count, write nothing.")
    def republish(names: tuple[str, ...], clinic: str | None, dry_run: bool) -> None:
        """Write the current state as <Aggregate>State events through the outbox, behind everything urgent."""

        async def work(process: Process) -> int:
            kinds = _chosen(process, names)
            for name, kind in kinds.items():
                await _one(process, name, kind, clinic, dry_run=dry_run)
            return 0

        run_task(service, work)

    return republish


def _chosen(process: Process, names: tuple[str, ...]) -> dict[str, Republish]:
    table = dict(process.wiring.republish)
    unknown = sorted(set(names) - set(table))
    if unknown:
        known = ", ".join(sorted(table)) or "none"
        raise click.UsageError(f"not a State event of this service: {', '.join(unknown)}; it has: {known}")
    return {name: kind for name, kind in table.items() if not names or name in names}


async def _one(process: Process, name: str, kind: Republish, clinic: str | None, *, dry_run: bool) -> None:
    total = await count(process.mongo, kind, clinic)
    if dry_run:
        click.echo(f"{name}: {total} would be republished")
        return
    after, done = "", 0
    with click.progressbar(length=total, label=name) as bar:
        while ids := await republish_after(process.mongo, kind, clinic, after):
            after, done = ids[-1], done + len(ids)
            bar.update(len(ids))
    click.echo(f"{name}: {done} republished")
