"""The calls that users of stores of jobs begin with, as they write them."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AsyncJobStateStore,
    ConfigurationError,
    InvalidIdError,
    JobResult,
    JobStateStore,
    NotADatabaseError,
    Orchestrator,
    StateInterface,
    SubprocessTool,
    open_async_store,
    open_store,
)

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PIPELINE_DB_PATH", "ERROR_PIPELINE_DB"):
        monkeypatch.delenv(name, raising=False)


def job_file(name: str = "job.json") -> str:
    job = {
        "job_id": "job-2025-11-21-001",
        "run_id": "run-20251120-001",
        "workstream_id": "ws-a",
        "tool": "aider",
        "command": {"exe": sys.executable, "args": ["-c", "print('done')"]},
        "env": {},
        "paths": {"repo_root": "."},
        "metadata": {"timeout_seconds": 60},
    }
    Path(name).write_text(json.dumps(job), encoding="utf-8")
    return name


def test_a_dashboard_reads_runs_and_jobs() -> None:
    store = JobStateStore()
    run_id = store.create_run("ws-a")
    runs = store.list_recent_runs(limit=10)
    assert [run["run_id"] for run in runs] == [run_id]
    jobs = store.list_jobs(run_id)
    assert jobs == []
    with store.subscribe_to_events() as events:
        assert [event.action for event in events.deliveries(until_caught_up=True)] == ["run.created"]
    store.close()
    assert Path("state/pipeline_state.db").exists()


def test_an_orchestrator_keeps_track_by_itself() -> None:
    orch = Orchestrator()
    result = orch.run_job(job_file())
    assert (result.success, result.exit_code, result.stdout) == (True, 0, "done\n")
    status = orch.get_job_status("job-2025-11-21-001")
    assert status == "completed"
    assert orch.get_job_status("job-2025-11-21-002") == "not_found"
    orch.close()


def test_a_database_for_tests_leaves_the_usual_one_alone() -> None:
    test_store = JobStateStore(db_path="state/test.db")
    orch = Orchestrator(state_store=test_store)
    assert orch.state_store is test_store
    assert isinstance(test_store, StateInterface)
    orch.run_job(job_file())
    assert test_store.get_job("job-2025-11-21-001")["status"] == "completed"
    orch.close()
    assert test_store.get_job_status("job-2025-11-21-001") == "completed", "what it was given stays open"
    test_store.close()
    assert sorted(path.name for path in Path("state").glob("*.db")) == ["test.db"]


def test_the_calls_of_the_job_centric_interface() -> None:
    with JobStateStore(db_path="state/test.db") as store:
        run_id = store.create_run("ws-a", metadata={"source": "test"})
        assert store.get_run(run_id)["status"] == "pending"
        store.update_run_status(run_id, "running")
        assert store.get_run(run_id)["status"] == "running"
        ws_id = store.create_workstream(run_id, "ws-a")
        job = {"job_id": "job-1", "run_id": run_id, "workstream_id": ws_id, "tool": "aider"}
        store.mark_job_running("job-1", run_id=run_id, workstream_id=ws_id)
        store.update_job_result(job, JobResult(exit_code=0, error_report_path="e.json", duration_s=45.2))
        assert store.get_job("job-1")["status"] == "completed"
        assert [one["job_id"] for one in store.list_jobs(run_id)] == ["job-1"]
        assert [one["ws_id"] for one in store.list_workstreams(run_id)] == [ws_id]
        found = store.get_workstream(ws_id)
        assert found is not None
        assert found["run_id"] == run_id
        store.record_event("test.event", {"run_id": run_id, "data": "test"})
        assert [event["event_type"] for event in store.list_events(run_id)][-1] == "test.event"


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERROR_PIPELINE_DB", "errors/e.db")
    JobStateStore().close()
    assert Path("errors/e.db").exists()
    monkeypatch.setenv("PIPELINE_DB_PATH", "pipe line/100% #1?.db")
    JobStateStore().close()
    assert Path("pipe line/100% #1?.db").exists()
    JobStateStore(db_path=Path("given.db")).close()
    assert Path("given.db").exists()
    assert not Path("state").exists()


def test_what_can_not_be_opened() -> None:
    Path("file").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="can't be made"):
        JobStateStore("file/x.db")
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE runs (run_id TEXT)")
    other.close()
    with pytest.raises(NotADatabaseError):
        JobStateStore("other.db")
    with open_store("memory://") as store:
        with pytest.raises(ConfigurationError, match="not both"):
            JobStateStore("x.db", store=store)
        with pytest.raises(ConfigurationError, match="use JobStateStore"):
            AsyncJobStateStore(store=store)


@pytest.mark.parametrize("path", ["sqlite:///x.db", "firestore://project", "memory://", ":memory:", "", 5])
def test_what_is_no_path_of_a_file(path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^db_path="):
        JobStateStore(path)
    if path and isinstance(path, str):
        monkeypatch.setenv("PIPELINE_DB_PATH", path)
        with pytest.raises(ConfigurationError, match=r"^PIPELINE_DB_PATH="):
            JobStateStore()
    assert list(Path().iterdir()) == [], "a file of an odd name was made"


def test_a_governor_that_can_not_be_used_is_refused_before_a_file_is_opened() -> None:
    with pytest.raises(InvalidIdError):
        JobStateStore("jobs.db", governor="")
    assert not Path("jobs.db").exists()


def test_asyncio_works_on_the_same_file() -> None:
    import asyncio

    with JobStateStore("jobs.db") as sync:
        sync.create_run(run_id="r")

    async def main() -> None:
        async with AsyncJobStateStore("jobs.db") as store:
            assert (await store.get_run("r"))["status"] == "pending"
            await store.mark_job_running("a", run_id="r")
            assert [job["job_id"] async for job in store.all_jobs()] == ["a"]
        async with open_async_store("memory://") as store:
            with pytest.raises(ConfigurationError, match="use AsyncJobStateStore"):
                JobStateStore(store=store)

    asyncio.run(main())


def test_tools_that_run_a_program_are_there_from_the_start() -> None:
    with Orchestrator() as orch:
        assert sorted(orch.tools) == ["aider", "codex", "git", "tests"]
        timeouts = {name: tool.timeout for name, tool in orch.tools.items() if isinstance(tool, SubprocessTool)}
        assert timeouts == {"aider": 600, "codex": 600, "tests": 300, "git": 60}
