"""`python -m tests.faults --seconds 600 --seed 1`: the full matrix in random order until the time is over."""

import asyncio
import random
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.faults.history import History
from tests.faults.matrix import FAULTS, LONG
from tests.faults.run import play
from tests.faults.system import System
from tests.support.stacks import fresh_stack

RESULTS = Path(__file__).parent / "RESULTS.md"


async def _run(system: System, seconds: float, seed: int) -> list[tuple[str, float, list[str]]]:
    dice, rounds = random.Random(seed), []  # noqa: S311 - a test's dice
    end, waiting = time.monotonic() + seconds, [*LONG, *dice.sample(list(FAULTS), len(FAULTS))]
    while time.monotonic() < end:
        name = waiting.pop(0) if waiting else dice.choice(list(FAULTS))
        began = time.monotonic()
        found = await play(system, {name: {**FAULTS, **LONG}[name]}, dice.randrange(2**32))
        rounds.append((name, time.monotonic() - began, [str(violation) for violation in found]))
        click.echo(f"{name:<28} {rounds[-1][1]:6.1f} s  {'ok' if not found else found[0]}")
        if found:
            break
    return rounds


def _write(history: History, seed: int, rounds: list[tuple[str, float, list[str]]]) -> None:
    bad = sum(bool(found) for _, _, found in rounds)
    asked = f"{len(history.commands)} commands, {len(history.episodes)} episodes"
    lines = [
        "# The last long fault run",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, seed {seed}, {asked}: {bad} of {len(rounds)} rounds with violations.",
        "",
        "| fault | seconds | violations |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {taken:.1f} | {'; '.join(found) or 'none'} |" for name, taken, found in rounds]
    RESULTS.write_text("\n".join(lines) + "\n")


@click.command(
    help="Faults at random moments under load, with a checker over everything acknowledged and every effect."
)
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--seed", default=0, help="0: taken from the clock and printed.")
def main(seconds: float, seed: int) -> None:
    seed = seed or time.time_ns() % 2**31
    click.echo(f"seed {seed}")
    history = History()
    with fresh_stack(replicas=1) as stack:

        async def whole() -> list[tuple[str, float, list[str]]]:
            return await _run(System(stack, history), seconds, seed)

        rounds = asyncio.run(whole())
    _write(history, seed, rounds)
    raise SystemExit(int(any(found for _, _, found in rounds)))


if __name__ == "__main__":
    main()
