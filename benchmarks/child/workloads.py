"""From a request to the function that measures it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from benchmarks.child import appending, contending, growing, processes, reading, seeding
from benchmarks.protocol import Request

Answer = dict[str, Any]

SYNC: Final[dict[str, Callable[[Request], Answer]]] = {
    "append": appending.run_sync,
    "concurrent": appending.run_sync,
    "rebuild": reading.rebuild_sync,
    "recover": reading.recover_sync,
    "contended": contending.run,
    "growth": growing.run,
}
ASYNC: Final[dict[str, Callable[[Request], Coroutine[Any, Any, Answer]]]] = {
    "append": appending.run_async,
    "concurrent": appending.run_async,
    "rebuild": reading.rebuild_async,
    "recover": reading.recover_async,
}


def run(request: Request) -> Answer:
    """Measure what the request asks for."""
    if request.workload == "processes":
        return processes.run(request)
    if request.workload == "seed":
        return seeding.run(request)
    if request.style == "sync":
        return SYNC[request.workload](request)
    return asyncio.run(ASYNC[request.workload](request))
