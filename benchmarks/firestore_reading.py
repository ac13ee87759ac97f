"""`python -m benchmarks.firestore_reading`: one reading workload of W9 on a store that this process fills first."""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from benchmarks.arms.session import AsyncSession, Session, machine_name
from benchmarks.child.appending import Writes, percentile
from benchmarks.child.opening import open_async, open_sync
from benchmarks.payloads import state
from benchmarks.protocol import Request

WRITERS: Final = 32
WARM: Final = 5


def fill(session: Session, request: Request) -> list[str]:
    """One event for each machine; their names."""
    names = [machine_name(index) for index in range(request.machines)]
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda name: session.append(name, 0, state(request.size, 1)), names))
    return names


async def fill_async(session: AsyncSession, request: Request) -> list[str]:
    names = [machine_name(index) for index in range(request.machines)]
    free = asyncio.Semaphore(WRITERS)

    async def write(name: str) -> None:
        async with free:
            await session.append(name, 0, state(request.size, 1))

    await asyncio.gather(*(write(name) for name in names))
    return names


def load_sync(request: Request) -> dict[str, Any]:
    session = open_sync(request)
    try:
        (name,) = fill(session, request)
        for _ in range(WARM):
            check(session.rebuild(name), 1)
        done = Writes(0, [], [])
        start = time.monotonic()
        while len(done.latencies) < request.events and (began := time.monotonic()) < start + request.seconds:
            check(session.rebuild(name), 1)
            done.latencies.append(time.monotonic() - began)
        return loaded([done], time.monotonic() - start)
    finally:
        session.close()


async def load_async(request: Request) -> dict[str, Any]:
    """As many tasks as machines, each loading its own."""
    session = await open_async(request)
    try:
        names = await fill_async(session, request)

        async def load(name: str, limit: int, deadline: float) -> Writes:
            done = Writes(0, [], [])
            while len(done.latencies) < limit and (began := time.monotonic()) < deadline:
                check(await session.rebuild(name), 1)
                done.latencies.append(time.monotonic() - began)
            return done

        await asyncio.gather(*(load(name, 1, float("inf")) for name in names))
        start = time.monotonic()
        every = await asyncio.gather(*(load(name, request.events, start + request.seconds) for name in names))
        return loaded(every, time.monotonic() - start)
    finally:
        await session.close()


def loaded(every: Sequence[Writes], seconds: float) -> dict[str, Any]:
    latencies = sorted(latency for done in every for latency in done.latencies)
    return {
        "events": len(latencies),
        "rate": len(latencies) / seconds,
        "p50_us": 1e6 * percentile(latencies, 0.50),
        "p99_us": 1e6 * percentile(latencies, 0.99),
    }


def recover_sync(request: Request) -> dict[str, Any]:
    session = open_sync(request)
    try:
        fill(session, request)
        times: list[float] = []
        for _ in range(request.repeat):
            start = time.monotonic()
            machines, total = session.recover()
            times.append(time.monotonic() - start)
            check(machines, request.machines)
            check(total, request.machines)
    finally:
        session.close()
    seconds = statistics.median(times)
    return {"ms": 1e3 * seconds, "rate": request.machines / seconds, "events": request.repeat}


def check(actual: int, expected: int) -> None:
    if actual != expected:
        raise AssertionError(f"read {actual}, expected {expected}")


def run(request: Request) -> dict[str, Any]:
    if request.workload == "recover":
        return recover_sync(request)
    return load_sync(request) if request.style == "sync" else asyncio.run(load_async(request))


if __name__ == "__main__":
    try:
        answer = run(Request.from_json(sys.stdin.readline())) | {"python": platform.python_version()}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
