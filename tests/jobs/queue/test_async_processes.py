"""Workers in asyncio as processes: killed, told to stop, and side by side with workers in threads."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest

from eventstate import (
    AsyncJobQueue,
    AsyncWorker,
    JobQueue,
    JobRequest,
    JobRules,
    JobSpec,
    ToolContext,
    Worker,
    open_async_store,
    open_store,
)
from eventstate.jobs.queue.free_signals import stopped_by_free_signals
from eventstate.testing.queues import queue_problems

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]

WORKER = Path(__file__).with_name("async_working.py")
HELD = ("hold", "block")


class WorkerProcess:
    """A process with a worker of two slots."""

    def __init__(self, url: str, name: str, kind: str = "async") -> None:
        command = [sys.executable, str(WORKER), url, name, kind]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        cast("IO[str]", self.process.stdout).close()

    def told(self, lines: int) -> list[str]:
        """What it says next."""
        out = cast("IO[str]", self.process.stdout)
        return sorted(out.readline().strip() for _ in range(lines))


@contextmanager
def process(url: str, name: str) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(url, name)
    try:
        yield worker
    finally:
        worker.close()


def held(on_lost: str = "requeue") -> Sequence[JobRequest]:
    return [JobRequest(job_id=tool, tool=tool, on_lost=on_lost) for tool in HELD]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


def nothing(_job: JobSpec, _context: ToolContext) -> None:
    pass


@pytest.mark.parametrize("finder", ["Worker", "AsyncWorker"])
def test_the_jobs_of_one_that_is_killed_are_found_by_workers_of_both_kinds(url: str, finder: str) -> None:
    with open_store(url) as store, process(url, "first") as first:
        queue = JobQueue(store)
        queue.queue_jobs(held())
        assert first.told(2) == ["began block", "began hold"]
        first.process.kill()
        first.process.wait()
        assert [queue.job(id).status for id in HELD] == ["running"] * 2
        tools: dict[str, Any] = dict.fromkeys(HELD, nothing)
        if finder == "Worker":
            Worker(queue, tools, ttl=1.0).run(until_idle=True)
        else:

            async def find() -> None:
                async with open_async_store(url) as found:
                    await AsyncWorker(AsyncJobQueue(found), tools, ttl=1.0).run(until_idle=True)

            asyncio.run(find())
        jobs = [queue.job(id) for id in HELD]
        assert [(job.status, job.attempt, job.losses) for job in jobs] == [("completed", 2, 1)] * 2
        assert queue_problems(store, is_over=True) == []


def test_one_that_hung_finds_its_jobs_taken_and_goes_on(url: str) -> None:
    with open_store(url) as store, process(url, "first") as first:
        queue = JobQueue(store)
        queue.queue_jobs(held())
        first.told(2)
        first.process.send_signal(signal.SIGSTOP)
        try:
            Worker(queue, dict.fromkeys(HELD, nothing), ttl=1.0).run(until_idle=True)
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert [queue.job(id).status for id in HELD] == ["completed"] * 2
        queue.queue_job(JobRequest(job_id="another", tool="hold"))
        assert first.told(1) == ["began another"], "its slots are free again: what it had was told to end"
        first.process.terminate()
        assert first.told(1)[0].startswith("ended")
        assert first.process.wait(20) == 0
        assert queue_problems(store) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_one_and_its_jobs_wait_for_others(url: str, number: signal.Signals) -> None:
    with open_store(url) as store, process(url, "first") as first:
        queue = JobQueue(store)
        queue.queue_jobs(held("fail"))
        first.told(2)
        first.process.send_signal(number)
        assert first.told(1) == ["ended 2"], "and not with a traceback of an interrupted loop"
        assert first.process.wait(20) == 0
        assert [(queue.job(id).status, queue.job(id).losses) for id in HELD] == [("queued", 0)] * 2
        assert queue_problems(store) == []


def busy(queue: JobQueue, workers: Collection[str]) -> str | None:
    """One of these workers that has a job, as soon as one has; None once all jobs are done."""
    until = time.monotonic() + 30
    while set(queue.counts()) != {"completed"}:
        assert time.monotonic() < until
        for state in queue.list_jobs(status="running"):
            name = str(state.data.worker).partition(":")[0]
            if name in workers:
                return name
        time.sleep(0.02)
    return None


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=[pytest.mark.torture, pytest.mark.timeout(600)])])
def test_workers_of_both_kinds_are_killed_again_and_again(url: str, kills: int) -> None:
    jobs, kinds = 12 * kills, ("async", "async", "sync")
    rules = JobRules(max_losses=1000)
    chance = random.Random(kills)
    with open_store(url) as store:
        queue = JobQueue(store)
        queue.set_limit("few", 3)
        ids = [f"j{number:04}" for number in range(jobs)]
        for start in range(0, jobs, 100):
            queue.queue_jobs(
                [
                    JobRequest(
                        job_id=id,
                        tool="write",
                        on_lost="requeue",
                        rules=rules,
                        limit="few" if number % 3 else None,
                        depends_on=ids[start : start + number % 100 : 20],
                    )
                    for number, id in enumerate(ids[start : start + 100], start)
                ]
            )
        workers = {f"w{slot}-0": WorkerProcess(url, f"w{slot}-0", kind) for slot, kind in enumerate(kinds)}
        try:
            for kill in range(1, kills + 1):
                time.sleep(chance.uniform(0.1, 0.4))
                victim = busy(queue, workers)
                if victim is None:  # all is done
                    break
                workers.pop(victim).close()
                slot = int(victim[1 : victim.index("-")])
                workers[f"w{slot}-{kill}"] = WorkerProcess(url, f"w{slot}-{kill}", kinds[slot])
            until = time.monotonic() + 20 + kills
            while sum(1 for _ in queue.list_jobs(status="completed")) < jobs:
                assert time.monotonic() < until, queue.counts()
                time.sleep(0.2)
            for worker in workers.values():
                worker.process.terminate()
                assert worker.process.wait(20) == 0
        finally:
            for worker in workers.values():
                worker.close()
        assert queue_problems(store, ledger="ledger", is_over=True) == []
        assert sum(state.data.losses for state in queue.list_jobs()) > 0, "no kill has hit a job"


def test_workers_of_both_kinds_share_a_queue(url: str) -> None:
    ids = [f"j{number:02}" for number in range(30)]
    with open_store(url) as store:
        queue = JobQueue(store)
        queue.set_limit("few", 2)
        queue.queue_jobs(
            [
                JobRequest(job_id=id, tool="t", depends_on=ids[:number:9], limit=None if number % 2 else "few")
                for number, id in enumerate(ids)
            ]
        )

        async def work() -> int:
            async with open_async_store(url) as opened:

                async def tool(_job: JobSpec, _context: ToolContext) -> None:
                    await asyncio.sleep(0.01)

                worker = AsyncWorker(AsyncJobQueue(opened), {"t": tool}, slots=4)
                threads = asyncio.to_thread(Worker(queue, {"t": nothing}, slots=2).run, until_idle=True)
                return sum(await asyncio.gather(worker.run(until_idle=True), threads))

        assert asyncio.run(work()) == 30
        assert queue.counts() == {"completed": 30}
        assert queue_problems(store, is_over=True) == []


def test_signals_are_shared_and_left_alone_where_others_handle_them() -> None:
    mine = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        before = signal.getsignal(signal.SIGINT)
        stopped: list[str] = []
        owner = signal.getsignal(signal.SIGTERM)
        with stopped_by_free_signals(lambda: stopped.append("first")):
            assert signal.getsignal(signal.SIGTERM) is owner, "the program handles it"
            second = stopped_by_free_signals(lambda: stopped.append("second"))
            second.__enter__()
            signal.raise_signal(signal.SIGINT)
            until = time.monotonic() + 10
            while len(stopped) < 2:
                assert time.monotonic() < until
                time.sleep(0.005)
        assert signal.getsignal(signal.SIGINT) is not before, "the second one is there still"
        second.__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) is before
        assert sorted(stopped) == ["first", "second"]
    finally:
        signal.signal(signal.SIGTERM, mine)
