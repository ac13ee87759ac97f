"""A process with a worker, to be killed or told to stop: ``python ... URL NAME KIND``, the kind ``async`` or ``sync``.

The tool ``hold`` says when it has begun, and ends only when it is told to; ``block`` does the same in a thread.
``write`` leaves a mark in the store before and after a short while, under the fence of its attempt.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass

from eventstate import (
    ANY,
    AsyncJobQueue,
    AsyncStateMachinePersister,
    AsyncWorker,
    JobQueue,
    JobSpec,
    Machine,
    StateMachinePersister,
    ToolContext,
    Worker,
    open_async_store,
    open_store,
)

TTL = 1.0


@dataclass(frozen=True)
class Written:
    """A job's side effect."""

    job: str
    attempt: int


def evolve(count: int, _event: Written) -> int:
    return count + 1


LEDGER = Machine("ledger", 0, evolve)


async def hold(job: JobSpec, _context: ToolContext) -> None:
    print("began", job.job_id, flush=True)
    await asyncio.sleep(600)


def block(job: JobSpec, context: ToolContext) -> None:
    print("began", job.job_id, flush=True)
    context.cancelled.wait(600)
    context.check()


async def work_async(url: str, name: str) -> None:
    async with open_async_store(url) as store:
        ledger = AsyncStateMachinePersister(store, governor="jobs", machines=[LEDGER])

        async def write(job: JobSpec, context: ToolContext) -> None:
            event, fence = Written(job.job_id, context.attempt), context.fence
            await ledger.append(LEDGER, job.job_id, event, expected=ANY, fence=fence)
            await asyncio.sleep(random.uniform(0, 0.1))
            await ledger.append(LEDGER, job.job_id, event, expected=ANY, fence=fence)

        tools = {"hold": hold, "block": block, "write": write}
        worker = AsyncWorker(AsyncJobQueue(store), tools, name=name, slots=2, ttl=TTL, grace=0)
        print("ended", await worker.run(), flush=True)


def work_sync(url: str, name: str) -> None:
    with open_store(url) as store:
        ledger = StateMachinePersister(store, governor="jobs", machines=[LEDGER])

        def write(job: JobSpec, context: ToolContext) -> None:
            event, fence = Written(job.job_id, context.attempt), context.fence
            ledger.append(LEDGER, job.job_id, event, expected=ANY, fence=fence)
            time.sleep(random.uniform(0, 0.1))
            ledger.append(LEDGER, job.job_id, event, expected=ANY, fence=fence)

        worker = Worker(JobQueue(store), {"write": write}, name=name, slots=2, ttl=TTL, grace=0)
        print("ended", worker.run(), flush=True)


if __name__ == "__main__":
    if sys.argv[3] == "async":
        asyncio.run(work_async(*sys.argv[1:3]))
    else:
        work_sync(*sys.argv[1:3])
