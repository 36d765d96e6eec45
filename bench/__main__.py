"""`python -m bench [NAME ...]`: measure, print the table, write bench/results.json."""

from collections.abc import Awaitable, Callable

import click
import uvloop

from bench import alarm_path, board, engine, footprint, growth, history, inbox, limits, outbox, routes, vitals
from bench.figures import Figure, show, write
from bench.world import World, world

Bench = Callable[[World, bool], Awaitable[list[Figure]]]


async def _alarm_path(system: World, quick: bool) -> list[Figure]:
    return await alarm_path.measure(system, 60 if quick else 1000)


async def _relay(system: World, quick: bool) -> list[Figure]:
    return await outbox.measure(system, 4 if quick else 20, 5_000 if quick else 20_000)


async def _consumer(system: World, quick: bool) -> list[Figure]:
    return await inbox.throughput(system, 1_000 if quick else 6_000)


async def _api(system: World, quick: bool) -> list[Figure]:
    return await routes.create(system, 1.0 if quick else 5.0)


async def _alarm_engine(_: World, quick: bool) -> list[Figure]:
    return engine.measure(100_000 if quick else 1_000_000)


async def _limits(system: World, quick: bool) -> list[Figure]:
    return await limits.measure(system, 100 if quick else 1_000, 400 if quick else 4_000)


async def _vitals_ingest(system: World, quick: bool) -> list[Figure]:
    return await vitals.ingest(system, 1.0 if quick else 5.0)


async def _vitals_single(system: World, quick: bool) -> list[Figure]:
    return await vitals.single(system, 1.0 if quick else 5.0)


async def _history(system: World, quick: bool) -> list[Figure]:
    return await history.measure(system, 300_000 if quick else 10_000_000, quick=quick)


async def _board(system: World, quick: bool) -> list[Figure]:
    return await board.measure(system, 10, 40, 10) if quick else await board.measure(system, 60)


async def _growth(system: World, quick: bool) -> list[Figure]:
    return await growth.measure(system, 20_000 if quick else 1_000_000, quick=quick)


async def _footprint(system: World, _: bool) -> list[Figure]:
    return await footprint.measure(system)


BENCHES: dict[str, Bench] = {
    "footprint": _footprint,
    "api": _api,
    "alarm_path": _alarm_path,
    "alarm_engine": _alarm_engine,
    "relay": _relay,
    "consumer": _consumer,
    "limits": _limits,
    "vitals_ingest": _vitals_ingest,
    "vitals_single": _vitals_single,
    "board": _board,
}
LONG: dict[str, Bench] = {"growth": _growth, "history": _history}  # ten minutes each, only when named


async def _run(names: tuple[str, ...], quick: bool) -> list[Figure]:
    """Each on a stack of its own: what one leaves behind, open alarms above all, is no load of the next."""
    figures: list[Figure] = []
    for name in names or tuple(BENCHES):
        click.echo(f"{name} ...")
        async with world() as system:
            figures += await (BENCHES | LONG)[name](system, quick)
    return figures


@click.command(
    help="Measure, each on a fresh stack of real MongoDB and Kafka; every figure has its yardstick beside it."
)
@click.argument("names", nargs=-1, type=click.Choice(sorted(BENCHES | LONG)))
@click.option("--quick", is_flag=True, help="Few rounds: shows that it works, writes nothing.")
def main(names: tuple[str, ...], quick: bool) -> None:
    figures = uvloop.run(_run(names, quick))
    show(figures)
    if not quick:
        write(figures)


if __name__ == "__main__":
    main()
