"""Workers in processes that are killed: the example, in a short form and in its whole length."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventstate import JobQueue, JobRequest, JobRules, Worker, open_store
from eventstate.testing.queues import queue_problems

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]

EXAMPLE = Path(__file__).parents[3] / "examples" / "pipeline.py"


@pytest.mark.torture
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("run", range(3))
def test_the_whole_pipeline_under_sixty_kills(run: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "240", "60"], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 workers killed" in done.stdout
    assert "0 problems" in done.stdout
    assert " 0 attempts lost" not in done.stdout


def test_a_worker_is_terminated_and_ends_its_job(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with open_store(url) as store:
        queue = JobQueue(store)
        queue.queue_jobs([JobRequest(job_id=str(number), tool="fetch") for number in range(200)])
        worker = subprocess.Popen([sys.executable, str(EXAMPLE), "--worker", url, "w"])
        try:
            until = time.monotonic() + 60
            while not list(queue.list_jobs(status="completed")):
                assert time.monotonic() < until
                time.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()
        assert sum(depth.running for depth in queue.depths()) == 0
        assert queue_problems(store, ledger="ledger") == []
        assert {state.data.status for state in queue.list_jobs()} <= {"completed", "queued"}
        assert sum(state.data.losses for state in queue.list_jobs()) == 0


def test_workers_killed_between_an_end_and_the_next_claim(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    rules = JobRules(max_losses=100)
    with open_store(url) as store:
        queue = JobQueue(store)
        queue.queue_jobs([JobRequest(job_id=f"{n:03}", tool="sum", on_lost="requeue", rules=rules) for n in range(250)])
        for number in range(2):
            worker = subprocess.Popen([sys.executable, str(EXAMPLE), "--worker", url, f"w{number}"])
            try:
                left, until = ready(queue), time.monotonic() + 60
                while ready(queue) > left - 10:
                    assert time.monotonic() < until
                    time.sleep(0.002)
            finally:
                worker.kill()
                worker.wait()
            assert queue_problems(store, ledger="ledger") == []
        time.sleep(1.1)  # the lease of the last one
        queue.heal()
        assert sum(depth.running for depth in queue.depths()) == 0
        Worker(queue, {"sum": lambda _job, _context: None}).run(until_idle=True)
        assert queue_problems(store, ledger="ledger", is_over=True) == []
        assert {state.data.status for state in queue.list_jobs()} == {"completed"}


def ready(queue: JobQueue) -> int:
    return sum(depth.ready for depth in queue.depths())
