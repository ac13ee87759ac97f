"""The orchestrator: jobs are seen while they run, every end is recorded, and no failure passes as a success."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from eventstate import (
    AlreadyExistsError,
    AsyncJobStateStore,
    ConfigurationError,
    JobFileError,
    JobFinishedError,
    JobResult,
    JobSpec,
    JobStateStore,
    Orchestrator,
    RunNotFoundError,
    StoreUnavailableError,
    SubprocessTool,
    ToolContext,
    WorkstreamNotFoundError,
    open_async_store,
    open_store,
)
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.conformance import BlockingWorld
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.job_audit import audit_jobs

pytestmark = pytest.mark.backend("memory")


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened
        assert drive(audit_jobs(opened)) == []


@pytest.fixture
def jobs(store: Store) -> JobStateStore:
    return JobStateStore(store=store)


def spec(id: str = "j", tool: str = "work", **members: Any) -> JobSpec:
    return JobSpec(id, **{"workstream_id": "ws", "tool": tool, "run_id": "run", **members})


def file_of(folder: Path, job: Mapping[str, Any]) -> Path:
    path = folder / "job.json"
    whole = {"job_id": "job-2025-11-20-001", "workstream_id": "ws", "tool": "work", "command": {"exe": "x"}, **job}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def test_a_job_is_running_while_it_runs(jobs: JobStateStore) -> None:
    seen: list[str] = []

    def work(job: JobSpec, context: ToolContext) -> None:
        seen.extend([jobs.get_job_status(job.job_id), f"{context.attempt}"])

    orchestrator = Orchestrator(jobs, {"work": work})
    assert orchestrator.run(spec()).success
    assert seen == ["running", "1"]
    assert orchestrator.get_job_status("j") == "completed"
    assert [event["event_type"] for event in jobs.list_events(job_id="j")] == ["job.started", "job.completed"]
    assert jobs.get_run("run")["status"] == "pending"
    assert [job["job_id"] for job in jobs.list_jobs("run")] == ["j"]


def test_exit_codes_and_statuses(jobs: JobStateStore, tmp_path: Path) -> None:
    def fail(_job: JobSpec, _context: ToolContext) -> JobResult:
        raise RuntimeError("boom")

    class Odd:
        def run(self, _job: JobSpec, _context: ToolContext) -> Any:
            return "not a result"

    class Raising:
        def run(self, _job: JobSpec, _context: ToolContext) -> JobResult:
            raise OSError("disk")

    def slow(_job: JobSpec, context: ToolContext) -> None:
        assert context.timeout == 1
        raise_at_the_end(context)

    def odd_metadata(_job: JobSpec, _context: ToolContext) -> JobResult:
        return JobResult(0, metadata={"x": object()})

    orchestrator = Orchestrator(
        jobs, {"fail": fail, "odd": Odd(), "raising": Raising(), "slow": slow, "metadata": odd_metadata}
    )
    cases = {
        "fail": (-2, "failed"),
        "odd": (-2, "failed"),
        "raising": (-2, "failed"),
        "metadata": (-2, "failed"),
        "slow": (-1, "timeout"),
        "nobody": (-4, "failed"),
    }
    for tool, (code, status) in cases.items():
        result = orchestrator.run(spec(tool, tool, metadata={"timeout_seconds": 1}))
        assert (result.exit_code, result.success) == (code, False), tool
        assert orchestrator.get_job_status(tool) == status
        assert jobs.get_job(tool)["exit_code"] == code
    without: Any = None
    assert orchestrator.run(spec("without", "fail", metadata=without)).exit_code == -2
    missing = orchestrator.run_job(tmp_path / "none.json")
    assert (missing.exit_code, missing.success) == (-3, False)
    assert "none.json" in missing.stderr


def test_a_tool_of_ones_own_may_let_pass_that_it_is_to_stop(jobs: JobStateStore) -> None:
    class Slow:
        def run(self, _job: JobSpec, context: ToolContext) -> Any:
            raise_at_the_end(context)

    class Cancelled:
        def run(self, _job: JobSpec, context: ToolContext) -> Any:
            context.cancelled.set()
            context.check()

    orchestrator = Orchestrator(jobs, {"slow": Slow(), "cancelled": Cancelled()})
    assert orchestrator.run(spec("a", "slow", metadata={"timeout_seconds": 1})).exit_code == -1
    assert orchestrator.get_job_status("a") == "timeout"
    assert orchestrator.run(spec("b", "cancelled")).metadata == {"cancelled": True}


def test_an_error_with_odd_text_is_a_failure_like_others(jobs: JobStateStore) -> None:
    def fail(_job: JobSpec, _context: ToolContext) -> JobResult:
        raise ValueError("no file '/tmp/\udcff'")

    orchestrator = Orchestrator(
        jobs,
        {"fail": fail, "print": lambda _job, _context: JobResult(3, stderr="bad \udcff", error_report_path="\udcff")},
    )
    assert orchestrator.run(spec("a", "fail")).exit_code == -2
    assert jobs.get_job("a")["error_message"] == "ValueError: no file '/tmp/?'"
    assert orchestrator.run(spec("b", "print")).exit_code == 3
    found = jobs.get_job("b")
    assert (found["error_message"], found["result"]["error_report_path"]) == ("bad ?", "?")


def test_nothing_is_made_for_a_job_of_another_run(jobs: JobStateStore) -> None:
    orchestrator = Orchestrator(jobs, {"work": lambda _job, _context: None})
    orchestrator.run(spec())
    for members in ({"run_id": "typo"}, {"workstream_id": "typo"}):
        with pytest.raises(AlreadyExistsError):
            orchestrator.run(spec(**members))
    assert [run["run_id"] for run in jobs.list_recent_runs()] == ["run"]
    assert jobs.get_workstream("typo") is None


def test_what_is_no_state_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_async_store("memory://") as store:
            asynchronous: Any = AsyncJobStateStore(store=store)
            with pytest.raises(ConfigurationError, match="is for asyncio"):
                Orchestrator(asynchronous, {})

    asyncio.run(main())
    path: Any = "state/x.db"
    with pytest.raises(ConfigurationError, match="is no store of jobs"):
        Orchestrator(path, {})
    monkeypatch.chdir(tmp_path)
    tools: Any = {"x": 5}
    with pytest.raises(ConfigurationError, match="is no tool"):
        Orchestrator(tools=tools)
    assert list(tmp_path.iterdir()) == [], "a file was made for an orchestrator that was refused"


def raise_at_the_end(context: ToolContext) -> None:
    """As if a second had passed."""
    context.started -= 2
    context.check()


def test_a_job_file_is_checked_before_anything_is_done(jobs: JobStateStore, tmp_path: Path) -> None:
    calls: list[str] = []

    def work(job: JobSpec, _context: ToolContext) -> None:
        calls.append(job.job_id)

    orchestrator = Orchestrator(jobs, {"work": work})
    with pytest.raises(JobFileError, match=r"metadata\.timeout_seconds"):
        orchestrator.run_job(file_of(tmp_path, {"metadata": {"timeout_seconds": 0}}))
    assert not calls
    assert jobs.list_recent_runs() == []
    assert orchestrator.run_job(file_of(tmp_path, {})).success
    assert calls == ["job-2025-11-20-001"]
    assert jobs.get_job("job-2025-11-20-001")["run_id"] is None, "a job may belong to no run"


def test_parents_are_made_or_asked_for(jobs: JobStateStore) -> None:
    strict = Orchestrator(jobs, {"work": lambda _job, _context: None}, create_parents=False)
    with pytest.raises(RunNotFoundError):
        strict.run(spec())
    jobs.create_run(run_id="run")
    with pytest.raises(WorkstreamNotFoundError):
        strict.run(spec())
    assert strict.get_job_status("j") == "not_found"
    assert Orchestrator(jobs, strict.tools).run(spec()).success
    found = jobs.get_workstream("ws")
    assert found is not None
    assert found["run_id"] == "run"


def test_a_job_that_has_ended_is_not_run_again(jobs: JobStateStore) -> None:
    calls: list[int] = []
    orchestrator = Orchestrator(jobs, {"work": lambda _job, context: calls.append(context.attempt)})
    orchestrator.run(spec())
    with pytest.raises(JobFinishedError):
        orchestrator.run(spec())
    with pytest.raises(AlreadyExistsError):
        orchestrator.run(spec(run_id="other", workstream_id="another"))
    assert calls == [1]


def test_a_result_that_is_late_says_so(jobs: JobStateStore) -> None:
    def work(job: JobSpec, _context: ToolContext) -> None:
        jobs.mark_job_running(job.job_id)  # as another orchestrator that takes it over

    result = Orchestrator(jobs, {"work": work}).run(spec())
    assert result.metadata == {"late": True}
    found = jobs.get_job("j")
    assert (found["status"], found["late_results"]) == ("running", 1)
    jobs.update_job_result("j", JobResult(0))


def test_a_store_that_fails_is_never_a_success(store: Store) -> None:
    faulty = FaultyStore(store, runtime=BlockingWorld().steered())
    calls: list[str] = []

    def work(job: JobSpec, _context: ToolContext) -> None:
        calls.append(job.job_id)
        faulty.then(*[Fault.UNAVAILABLE] * 100)

    jobs = JobStateStore(store=faulty)
    jobs.create_run(run_id="run")
    jobs.create_workstream("run", "ws")
    orchestrator = Orchestrator(jobs, {"work": work})
    with pytest.raises(StoreUnavailableError) as caught:
        orchestrator.run(spec())
    assert any("exit code 0; this is not recorded" in note for note in caught.value.__notes__)
    assert orchestrator.get_job_status("j") == "running"
    with pytest.raises(StoreUnavailableError):
        orchestrator.run(spec("k"))
    assert calls == ["j"], "a job was done that could not be recorded as running"
    faulty.then()
    assert orchestrator.get_job_status("k") == "not_found"
    assert jobs.mark_job_running("j") == 2
    jobs.update_job_result("j", JobResult(0))


def test_an_interrupted_job_does_not_seem_to_run(jobs: JobStateStore) -> None:
    def work(_job: JobSpec, _context: ToolContext) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Orchestrator(jobs, {"work": work}).run(spec())
    assert jobs.get_job("j")["error_message"] == "interrupted"


def test_a_result_whose_recording_is_interrupted_is_not_lost(jobs: JobStateStore) -> None:
    report, calls = jobs.update_job_result, [KeyboardInterrupt]

    def interrupted(*given: Any, **more: Any) -> bool:
        for error in calls:
            calls.remove(error)
            raise error
        return report(*given, **more)

    with patch.object(jobs, "update_job_result", interrupted), pytest.raises(KeyboardInterrupt):
        Orchestrator(jobs, {"work": lambda _job, _context: JobResult(7)}).run(spec())
    assert (jobs.get_job("j")["status"], jobs.get_job("j")["exit_code"]) == ("failed", 7)


def test_any_object_with_the_methods_keeps_track() -> None:
    class Memory:
        """A state store of somebody else's."""

        def __init__(self) -> None:
            self.calls: list[tuple[str, Any]] = []

        def mark_job_running(self, job_id: str, **_: Any) -> int:
            self.calls.append(("running", job_id))
            return 1

        def update_job_result(self, job: JobSpec, result: JobResult, *, attempt: int) -> bool:
            self.calls.append((result.outcome, attempt))
            return True

    memory: Any = Memory()
    orchestrator = Orchestrator(memory, {"work": lambda _job, _context: None}, create_parents=False)
    assert orchestrator.run(spec()).success
    assert memory.calls == [("running", "j"), ("completed", 1)]


def test_jobs_for_workers(jobs: JobStateStore) -> None:
    orchestrator = Orchestrator(jobs, {"work": lambda _job, _context: None})
    assert orchestrator.queue_job(spec(metadata={"timeout_seconds": 5})) == "j"
    assert orchestrator.get_job_status("j") == "queued"
    assert [job["job_id"] for job in jobs.list_jobs("run")] == ["j"]
    assert jobs.list_events(job_id="j")[0]["run_id"] == "run"


SLEEPER = """
import sys
from eventstate import JobStateStore, Orchestrator, SubprocessTool, JobSpec
jobs = JobStateStore(sys.argv[1])
tool = SubprocessTool()
code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
spec = JobSpec("j", "ws", "py", {"exe": sys.executable, "args": ["-c", code]}, run_id="run",
               paths={"log_file": sys.argv[2]})
Orchestrator(jobs, {"py": tool}).run(spec)
"""


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_a_kill_amid_a_job_leaves_it_running_until_somebody_begins_it_anew(tmp_path: Path) -> None:
    file, log = tmp_path / "jobs.db", tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(file), str(log)])
    until = time.monotonic() + 60
    while not (log.exists() and log.read_text(encoding="utf-8").strip()):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    with JobStateStore(file) as jobs:
        assert jobs.get_job_status("j") == "running"
        assert [event["event_type"] for event in jobs.list_events(job_id="j")] == ["job.started"]
        again = JobSpec("j", "ws", "py", {"exe": sys.executable, "args": ["-c", ""]}, run_id="run")
        assert Orchestrator(jobs, {"py": SubprocessTool()}).run(again).success
        found = jobs.get_job("j")
        assert (found["status"], found["attempt"]) == ("completed", 2)
        assert jobs.update_job_result("j", JobResult(1), attempt=1) is False
        assert jobs.get_job_status("j") == "completed"
        assert drive(audit_jobs(jobs.store)) == []
