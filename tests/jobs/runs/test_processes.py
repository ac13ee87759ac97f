"""Several processes report into one run, and are killed: what is stored is what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eventstate import JobStateStore
from eventstate.runtime.blocking import drive
from eventstate.testing.job_audit import audit_jobs

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]


def start(file: Path, name: str, jobs: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.runs.job_reporter", str(file), name, str(jobs)],
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str], lines: int) -> int:
    """Wait until it has told of so many jobs; how many."""
    assert process.stdout is not None
    return sum(bool(process.stdout.readline()) for _ in range(lines))


def check(file: Path, ended: dict[str, int]) -> None:
    """Fail unless every job that was told of has ended, and everything is what its events say."""
    with JobStateStore(file) as store:
        assert drive(audit_jobs(store.store)) == []
        status = {job["job_id"]: job["status"] for job in store.list_jobs("run")}
        for name, count in ended.items():
            for number in range(count):
                assert status[f"{name}-{number}"] == ("failed" if number % 2 else "completed")
        open_ones = [id for id, found in status.items() if found == "running"]
        names = {id.rpartition("-")[0] for id in open_ones}
        assert len(open_ones) == len(names), "a process works on one job at a time"


def test_two_processes_work_in_one_run(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    with JobStateStore(file) as store:
        store.create_run(run_id="run")
    processes = {name: start(file, name, 15) for name in ("x", "y")}
    for process in processes.values():
        assert process.wait(60) == 0
        assert process.stdout is not None
        process.stdout.close()
    check(file, dict.fromkeys(processes, 15))
    with JobStateStore(file) as store:
        events = [event["event_type"] for event in store.list_events("run")]
        assert events.count("note") == events.count("job.started") == 30


def kill_reporters(file: Path, kills: int) -> None:
    with JobStateStore(file) as store:
        store.create_run(run_id="run")
    ended: dict[str, int] = {}
    for number in range(kills):
        process = start(file, f"p{number}", 10_000)
        ended[f"p{number}"] = told(process, 1 + number % 7)
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        check(file, ended)
        with JobStateStore(file) as store:  # whoever comes after begins anew what was broken off
            for job in store.list_jobs("run", status="running"):
                attempt = store.mark_job_running(job["job_id"])
                assert attempt == 2
                assert store.update_job_result(job["job_id"], {"exit_code": 0}, attempt=1) is False
                assert store.update_job_result(job["job_id"], {"exit_code": 0}, attempt=2) is True
    with JobStateStore(file) as store:
        assert store.list_jobs("run", status="running") == []
        assert drive(audit_jobs(store.store)) == []


def test_a_reporter_that_is_killed_leaves_whole_steps(tmp_path: Path) -> None:
    kill_reporters(tmp_path / "jobs.db", 4)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_many_reporters_that_are_killed(tmp_path: Path) -> None:
    kill_reporters(tmp_path / "jobs.db", 80)
