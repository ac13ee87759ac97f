"""Workers in processes that are killed: the example, in a short form and in its whole length."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventstate import JobQueue, JobRequest, open_store
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
            until = time.monotonic() + 30
            while not list(queue.list_jobs(status="completed")):
                assert time.monotonic() < until
                time.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        finally:
            worker.kill()
            worker.wait()
        assert {depth.running for depth in queue.depths()} == {0}
        assert queue_problems(store, ledger="ledger") == []
        assert {state.data.status for state in queue.list_jobs()} == {"completed", "queued"}
        assert sum(state.data.losses for state in queue.list_jobs()) == 0
