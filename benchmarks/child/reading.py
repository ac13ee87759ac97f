"""W3 and W4: build states again from a seeded store."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.arms.session import machine_name
from benchmarks.child.opening import open_async, open_sync
from benchmarks.protocol import Request


def rebuild_sync(request: Request) -> dict[str, Any]:
    times: list[float] = []
    for _ in range(request.repeat):
        session = open_sync(request, seeded=True)
        start = time.perf_counter()
        n = session.rebuild(machine_name(0))
        times.append(time.perf_counter() - start)
        session.close()
        check(n, request.events)
    return timed(times, request.events)


async def rebuild_async(request: Request) -> dict[str, Any]:
    times: list[float] = []
    for _ in range(request.repeat):
        session = await open_async(request, seeded=True)
        start = time.perf_counter()
        n = await session.rebuild(machine_name(0))
        times.append(time.perf_counter() - start)
        await session.close()
        check(n, request.events)
    return timed(times, request.events)


def recover_sync(request: Request) -> dict[str, Any]:
    session = open_sync(request, seeded=True)
    start = time.perf_counter()
    machines, total = session.recover()
    seconds = time.perf_counter() - start
    session.close()
    check(machines, request.machines)
    check(total, request.machines * request.events)
    return timed([seconds], request.machines)


async def recover_async(request: Request) -> dict[str, Any]:
    session = await open_async(request, seeded=True)
    start = time.perf_counter()
    machines, total = await session.recover()
    seconds = time.perf_counter() - start
    await session.close()
    check(machines, request.machines)
    check(total, request.machines * request.events)
    return timed([seconds], request.machines)


def check(actual: int, expected: int) -> None:
    if actual != expected:
        raise AssertionError(f"read {actual}, expected {expected}")


def timed(times: list[float], count: int) -> dict[str, Any]:
    seconds = statistics.median(times)
    return {"ms": 1e3 * seconds, "rate": count / seconds}
