"""A creating POST with everything that ours does, beside a bare route with a two-document transaction."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.figures import Figure, median
from bench.http import Pool
from bench.world import World
from shared.ids import new_id

IN_FLIGHT = 32
Act = Callable[[Pool], Awaitable[tuple[int, bytes]]]


async def create(world: World, seconds: float) -> list[Figure]:
    token = world.stack.token("front_desk", "desk-bench")
    contact = {"name": "B", "email": "b@example.org"}

    async def ours(pool: Pool) -> tuple[int, bytes]:
        return await pool.post("/v1/inquiries", {"channel": "phone", "contact": contact}, token, new_id())

    async def bare(pool: Pool) -> tuple[int, bytes]:
        return await pool.post("/things", {"name": "B", "number": 1})

    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    singles: dict[str, list[float]] = {"ours": [], "bare": []}
    sides = (("ours", ours, world.part("intake-api").port), ("bare", bare, world.bare_port))
    async with world.without("worker"):
        for name, act, port in sides * 3:
            async with Pool(port) as pool:
                singles[name] += await _one_by_one(pool, act, seconds / 2)
                rates[name].append(await _together(pool, act, seconds))
    return [
        Figure("api_create_throughput_per_s", median(rates["ours"]), "requests/s", median(rates["bare"]), ">= 0.4"),
        Figure("api_create_p50_ms", median(singles["ours"]), "ms", median(singles["bare"]), "<= 2.2 x"),
    ]


async def _one_by_one(pool: Pool, act: Act, seconds: float) -> list[float]:
    end, found = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        began = time.perf_counter()
        status, body = await act(pool)
        assert status == 201, body
        found.append((time.perf_counter() - began) * 1000)
    return found


async def _together(pool: Pool, act: Act, seconds: float) -> float:
    end, done = time.perf_counter() + seconds, 0

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            status, body = await act(pool)
            assert status == 201, body
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - began)
