"""W1 and W2: durable appends by one caller, by many threads or by many tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.arms.session import AsyncSession, Enclosing, Session, machine_name
from benchmarks.child import marks
from benchmarks.child.opening import open_async, open_sync
from benchmarks.payloads import state
from benchmarks.protocol import Request

WARM_UP = 20


class Writes(NamedTuple):
    """What one writer did: how many appends stand, the time of each call in seconds, and the errors."""

    done: int
    latencies: list[float]
    errors: list[str]


def run_sync(request: Request) -> dict[str, Any]:
    session = open_sync(request)
    try:
        names = [machine_name(request.first + index) for index in range(request.machines)]
        warm = 0 if isinstance(session, Enclosing) else warm_up(request)
        for name in names:
            for n in range(warm):
                session.append(name, n, state(request.size, n + 1))
        marks.begin(request)
        start = time.monotonic()
        if len(names) == 1:
            writes = [write_enclosed(session, names[0], warm, request, start + request.seconds)]
        else:
            writes = write_in_threads(session, names, warm, request, start + request.seconds)
        stop = time.monotonic()
        marks.end(request)
        verified = all(session.rebuild(name) == warm + done.done for name, done in checked(names, writes))
        return answer(writes, start, stop, verified) | {"facts": session.facts()}
    finally:
        session.close()


def warm_up(request: Request) -> int:
    """Appends per machine before the clock starts: code, statements and files are then warm."""
    return WARM_UP if request.machines == 1 else 2


def checked(names: Sequence[str], writes: Sequence[Writes]) -> list[tuple[str, Writes]]:
    """Machines whose stored state is compared with what was written: a few, of the writers without errors."""
    return [(name, done) for name, done in zip(names, writes, strict=True) if not done.errors][:4]


def write_enclosed(session: Session, name: str, before: int, request: Request, deadline: float) -> Writes:
    if not isinstance(session, Enclosing):
        return write_sync(session, name, before, request, deadline)
    results: list[Writes] = []
    session.within(name, lambda: results.append(write_sync(session, name, before, request, deadline)))
    return results[0]


def write_sync(session: Session, name: str, before: int, request: Request, deadline: float) -> Writes:
    result = Writes(0, [], [])
    clock, size, done = time.monotonic, request.size, 0
    latencies = result.latencies
    for _ in range(request.events):
        started = clock()
        if started > deadline:
            break
        value = state(size, before + done + 1)
        started = clock()
        try:
            session.append(name, before + done, value)
            done += 1
            latencies.append(clock() - started)
        except Exception as error:
            result.errors.append(f"{type(error).__name__}: {error}")
    return result._replace(done=done)


def write_in_threads(
    session: Session, names: Sequence[str], before: int, request: Request, deadline: float
) -> list[Writes]:
    results: dict[str, Writes] = {}

    def write(name: str) -> None:
        results[name] = write_enclosed(session, name, before, request, deadline)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[name] for name in names]


async def run_async(request: Request) -> dict[str, Any]:
    session = await open_async(request)
    try:
        names = [machine_name(request.first + index) for index in range(request.machines)]
        warm = warm_up(request)
        for name in names:
            for n in range(warm):
                await session.append(name, n, state(request.size, n + 1))
        marks.begin(request)
        start = time.monotonic()
        deadline = start + request.seconds
        writes = await asyncio.gather(*(write_async(session, name, warm, request, deadline) for name in names))
        stop = time.monotonic()
        marks.end(request)
        verified = [await session.rebuild(name) == warm + done.done for name, done in checked(names, writes)]
        return answer(writes, start, stop, all(verified)) | {"facts": await session.facts()}
    finally:
        await session.close()


async def write_async(session: AsyncSession, name: str, before: int, request: Request, deadline: float) -> Writes:
    result = Writes(0, [], [])
    clock, size, done = time.monotonic, request.size, 0
    latencies = result.latencies
    for _ in range(request.events):
        if clock() > deadline:
            break
        value = state(size, before + done + 1)
        started = clock()
        try:
            await session.append(name, before + done, value)
            done += 1
            latencies.append(clock() - started)
        except Exception as error:
            result.errors.append(f"{type(error).__name__}: {error}")
    return result._replace(done=done)


def answer(writes: Sequence[Writes], start: float, stop: float, verified: bool) -> dict[str, Any]:
    """The measurement as the runner reads it; ``start`` and ``stop`` are comparable across processes."""
    if not verified:
        raise AssertionError("the stored state is not what was written")
    errors = [error for done in writes for error in done.errors]
    latencies = sorted(latency for done in writes for latency in done.latencies)
    if not latencies:
        raise RuntimeError(f"no append succeeded: {errors[:1]}")
    return {
        "events": len(latencies),
        "start": start,
        "stop": stop,
        "rate": len(latencies) / (stop - start),
        "p50_us": 1e6 * percentile(latencies, 0.50),
        "p99_us": 1e6 * percentile(latencies, 0.99),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
