"""`python -m tests.faults --seconds 600 --seed 1`: the full matrix in random order until the time is over."""

import asyncio
import random
import time
from collections.abc import Sequence

import click

from tests.faults.history import History
from tests.faults.matrix import FAULTS, LONG
from tests.faults.members import ProxiedStack, proxied_stack
from tests.faults.results import Round, write
from tests.faults.run import play
from tests.faults.system import System

AT_A_TIME = 3


async def _run(stack: ProxiedStack, seconds: float, seed: int, only: Sequence[str]) -> list[Round]:
    """Every fault once before any comes again; a few in each round, each at a moment that the dice say."""
    dice, rounds, system = random.Random(seed), list[Round](), System(stack, History())  # noqa: S311 - a test's dice
    everything = {name: act for name, act in {**FAULTS, **LONG}.items() if name in only or not only}
    end, waiting = time.monotonic() + seconds, list[str]()
    while time.monotonic() < end:
        waiting = waiting or dice.sample(list(everything), len(everything))
        names, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
        began = time.monotonic()
        steps = [{name: everything[name]} for name in names]
        found = await play(system, steps, dice.randrange(2**32), lambda: dice.randrange(30))
        rounds.append(Round(tuple(names), time.monotonic() - began, tuple(str(violation) for violation in found)))
        click.echo(f"{', '.join(names):<76} {rounds[-1].seconds:6.1f} s  {'ok' if not found else found[0]}")
        if found:
            click.echo("\n".join(rounds[-1].found))
            break
    if system.seen is not None and not only:
        write(system.history, system.seen, seed, rounds)
    return rounds


@click.command(
    help="Faults at random moments under load, with a checker over everything acknowledged and every effect."
)
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--seed", default=0, help="0: taken from the clock and printed.")
@click.option("--fault", "only", multiple=True, type=click.Choice([*FAULTS, *LONG]), help="only this one; no results.")
def main(seconds: float, seed: int, only: Sequence[str]) -> None:
    seed = seed or time.time_ns() % 2**31
    click.echo(f"seed {seed}")
    with proxied_stack() as stack:
        rounds = asyncio.run(_run(stack, seconds, seed, only))
    raise SystemExit(int(any(round_.found for round_ in rounds)))


if __name__ == "__main__":
    main()
