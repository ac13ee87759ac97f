"""Workers whose disk is full: they say so and end, no job is lost or doubled, and the next worker goes on."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventstate import JobQueue, StateMachinePersister, StorageFullError, open_store
from eventstate.jobs.job import JOBS
from eventstate.testing.queues import queue_problems
from tests.cli.terminal import in_pipe
from tests.errors.test_surroundings import mounted

pytestmark = pytest.mark.backend("sqlite")

SIZE = 60_000
JOBS_QUEUED = 70


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "size=2m"):
        yield folder


def queued(url: str, ledger: Path, on_lost: str) -> list[str]:
    jobs = [
        {"job_id": f"j{n:02}", "tool": "pad", "on_lost": on_lost, "metadata": {"ledger": str(ledger), "size": SIZE}}
        for n in range(JOBS_QUEUED)
    ]
    with open_store(url) as store:
        return JobQueue(store).queue_jobs(jobs)


def worked(url: str) -> subprocess.CompletedProcess[str]:
    options = ("--until-idle", "--slots", "2", "--ttl", "1", "--grace", "1", "--json")
    return in_pipe("worker", "--tools", "tests.cli.queue_tools:TOOLS", *options, "--url", url)


def assert_full(worker: subprocess.CompletedProcess[str]) -> None:
    """It ended with one error that says what to do."""
    assert worker.returncode == 5, worker.stderr
    error = json.loads(worker.stderr.splitlines()[-1])["error"]
    assert error["type"] == "StorageFullError"
    assert "free space and try again" in error["message"]
    assert "Traceback" not in worker.stderr


def enlarge(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


@contextmanager
def little_cpu(most: float) -> Iterator[None]:
    """Children don't spend more seconds of the processor's time than this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < most


@pytest.mark.parametrize("on_lost", ["fail", "requeue"])
def test_a_worker_ends_and_the_next_one_goes_on(disk: Path, tmp_path: Path, on_lost: str) -> None:
    url, ledger = f"sqlite:///{disk}/store.db", tmp_path / "ledger"
    ids = queued(url, ledger, on_lost)
    failed = worked(url)
    assert_full(failed)
    with pytest.raises(StorageFullError):  # what its log holds has to be brought into the file first
        open_store(url)
    enlarge(disk, "6m")
    with open_store(url) as store:  # now somebody has it open while it is full
        with little_cpu(20):
            assert_full(worked(url))
        before = {state.id.partition("-")[2]: state.data for state in JobQueue(store).list_jobs()}
        open_at_the_end = {id for id, job in before.items() if job.attempt and job.status != "completed"}
        completed = sum(job.status == "completed" for job in before.values())
        assert 5 < completed < JOBS_QUEUED - 5
        with pytest.raises(StorageFullError):
            JobQueue(store).queue_job({"job_id": "one-more", "tool": "pad", "metadata": {"pad": "x" * 200_000}})
        assert queue_problems(store) == []
        enlarge(disk, "32m")
        time.sleep(1.5)  # the leases of those who could not say goodbye
        ended = worked(url)
        assert ended.returncode == 0, ended.stderr
        assert queue_problems(store, is_over=True) == []
        assert StateMachinePersister(store, governor="jobs", machines=[JOBS]).validate_consistency().is_consistent
        after = {state.id.partition("-")[2]: state.data for state in JobQueue(store).list_jobs()}
    assert sorted(after) == ids
    calls = Counter(ledger.read_text().split())
    # Every call is an attempt, and only what was under way when space ran out was called in vain.
    assert calls == Counter({id: job.attempt for id, job in after.items()})
    lost = {id for id, job in after.items() if job.status == "lost"}
    assert {job.status for job in after.values()} <= {"completed", "lost"}
    if on_lost == "fail":
        assert lost >= open_at_the_end
        assert not [id for id, number in calls.items() if number > 1]
    else:
        assert not lost
        assert {id for id, number in calls.items() if number > 1} >= open_at_the_end
    assert len(lost) <= 4  # two workers, two slots each
    assert sum(calls.values()) <= JOBS_QUEUED + 4
