"""A pipeline of 200 jobs and more, done by four worker processes of which one is killed every moment.

Three stages: files are fetched, cut into pieces, and summed up; each job waits for those that it needs. Some fail at
first and are tried again, and only three at a time may use the "disk". After every kill, with the other workers stopped
for a moment, a checker reads the whole store: the log of every job must add up to its stored status, and all lists must
say the same. In the end every job has ended once, and whatever the jobs wrote, they wrote while they were in charge.

    python examples/pipeline.py [JOBS [KILLS]]
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from eventstate import (
    ANY,
    JobQueue,
    JobRequest,
    JobRules,
    JobSpec,
    Machine,
    StateMachinePersister,
    ToolContext,
    Worker,
    open_store,
)
from eventstate.stores.base import Store
from eventstate.testing.queues import queue_problems

WORKERS = 4
TTL = 1.0
DISK = 3


@dataclass(frozen=True)
class Written:
    """A job's side effect."""

    job: str
    attempt: int


def evolve(count: int, _event: Written) -> int:
    return count + 1


LEDGER = Machine("ledger", 0, evolve)


def graph(jobs: int) -> list[JobRequest]:
    """Groups of one fetch, six cuts and one sum; each sum waits for its cuts, and the last job for all sums."""
    rules = JobRules(max_retries=3, backoff=0.05, max_losses=1000)
    made: list[JobRequest] = []
    sums: list[str] = []
    for group in range((jobs + 6) // 8):
        fetch, total = f"fetch-{group:03}", f"sum-{group:03}"
        cuts = [f"cut-{group:03}-{piece}" for piece in range(6)]
        made.append(JobRequest(job_id=total, tool="sum", depends_on=cuts, on_lost="requeue", rules=rules, priority=5))
        made += [
            JobRequest(job_id=cut, tool="cut", depends_on=[fetch], on_lost="requeue", rules=rules, limit="disk")
            for cut in cuts
        ]
        made.append(JobRequest(job_id=fetch, tool="fetch", on_lost="requeue", rules=rules))
        sums.append(total)
    made.append(JobRequest(job_id="report", tool="sum", after=sums[-200:], on_lost="requeue", rules=rules))
    return made


def work(url: str, name: str) -> None:
    """What a worker process does: until it is stopped, or killed."""
    with open_store(url) as store:
        ledger = StateMachinePersister(store, governor="jobs", machines=[LEDGER])

        def write(job: JobSpec, context: ToolContext) -> None:
            """A side effect, refused once the attempt is over."""
            ledger.append(LEDGER, job.job_id, Written(job.job_id, context.attempt), expected=ANY, fence=context.fence)

        def fetch(job: JobSpec, context: ToolContext) -> None:
            write(job, context)
            time.sleep(random.uniform(0, 0.2))

        def cut(job: JobSpec, context: ToolContext) -> None:
            write(job, context)
            if context.attempt == 1 and job.job_id.endswith("3"):
                raise RuntimeError("the first time this one always fails")
            time.sleep(random.uniform(0, 0.2))
            write(job, context)

        tools = {"fetch": fetch, "cut": cut, "sum": write}
        Worker(JobQueue(store), tools, name=name, slots=2, ttl=TTL, grace=5).run()


class Pipeline:
    """The workers of one run, and the checker that looks at what they leave."""

    def __init__(self, url: str, kills: int) -> None:
        self.url = url
        self.kills = kills
        self.killed = 0
        self.losses = 0
        self.problems: list[str] = []
        self.started = 0
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        for _ in range(WORKERS):
            self.start()

    def start(self) -> None:
        self.started += 1
        name = f"worker-{self.started}"
        self.workers[name] = subprocess.Popen([sys.executable, __file__, "--worker", self.url, name])

    def run(self) -> Counter[str]:
        with open_store(self.url) as store:
            queue = JobQueue(store)
            while not self.is_over(queue):
                time.sleep(random.uniform(0, 0.1))
                if self.killed < self.kills:
                    self.kill(queue, store)
            for worker in self.workers.values():
                worker.terminate()
            for worker in self.workers.values():
                # One that has only just been started does not know yet that it may end in peace.
                if worker.wait(30) not in (0, -signal.SIGTERM):
                    self.problems.append(f"a worker ended with {worker.returncode}")
            self.problems += queue_problems(store, ledger=LEDGER.name, is_over=True)
            jobs = [state.data for state in queue.list_jobs()]
            self.losses = sum(job.losses for job in jobs)
            return Counter(job.status for job in jobs)

    def is_over(self, queue: JobQueue) -> bool:
        depths = queue.depths()
        if self.killed == self.kills:
            return not depths
        # While there are kills to come, there is work for them to break off.
        if sum(depth.ready + depth.delayed + depth.waiting for depth in depths) < 10:
            ids = [f"more-{self.killed}-{number}" for number in range(10)]
            queue.queue_jobs([JobRequest(job_id=id, tool="fetch", on_lost="requeue") for id in ids])
        return False

    def kill(self, queue: JobQueue, store: Store) -> None:
        """Kill a worker that works, look at what is there while nobody moves, and start another one."""
        busy = {(state.data.worker or "").partition(":")[0] for state in queue.list_jobs(status="running")}
        victims = sorted(busy & self.workers.keys())
        if not victims:
            return
        victim = self.workers.pop(random.choice(victims))
        victim.kill()
        victim.wait()
        self.killed += 1
        for worker in self.workers.values():
            os.kill(worker.pid, signal.SIGSTOP)
        try:
            found = queue_problems(store, ledger=LEDGER.name)
            cutting = [state.id for state in queue.list_jobs(status="running") if state.data.limit == "disk"]
            if len(cutting) > DISK:
                found.append(f"they use the disk at the same time: {cutting}")
        finally:
            for worker in self.workers.values():
                os.kill(worker.pid, signal.SIGCONT)
        self.problems += [f"after kill {self.killed}: {problem}" for problem in found]
        self.start()

    def end(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait()


def main(jobs: int, kills: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'pipeline.db'}"
        with open_store(url) as store:
            queue = JobQueue(store)
            queue.set_limit("disk", DISK)
            queue.queue_jobs(graph(jobs))
        started = time.perf_counter()
        pipeline = Pipeline(url, kills)
        try:
            statuses = pipeline.run()
        finally:
            pipeline.end()
    seconds = time.perf_counter() - started
    told = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    print(f"{sum(statuses.values())} jobs: {told}, in {seconds:.0f} s")
    print(f"{pipeline.killed} workers killed, {pipeline.losses} attempts lost with them")
    for problem in pipeline.problems:
        print(problem)
    print(f"{len(pipeline.problems)} problems")
    return 1 if pipeline.problems or set(statuses) != {"completed"} else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        numbers = [int(number) for number in sys.argv[1:]]
        sys.exit(main(*(numbers + [200, 10][len(numbers) :])))
