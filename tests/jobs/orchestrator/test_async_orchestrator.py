"""The orchestrator for asyncio: as the other one, with tools that are coroutines and runs that are cancelled."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AlreadyExistsError,
    AsyncJobStateStore,
    AsyncOrchestrator,
    ConfigurationError,
    InvalidInputError,
    JobFinishedError,
    JobResult,
    JobSpec,
    JobStateStore,
    RunNotFoundError,
    StoreUnavailableError,
    SubprocessTool,
    ToolContext,
    open_async_store,
    open_store,
)
from eventstate.testing.conformance import AsyncioWorld
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.job_audit import audit_jobs

pytestmark = pytest.mark.backend("memory")

PATIENCE = 20.0
LONG = 600.0


def with_jobs(scenario: Callable[[AsyncJobStateStore], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_async_store("memory://") as store:
            await asyncio.wait_for(scenario(AsyncJobStateStore(store=store)), 3 * PATIENCE)
            assert await audit_jobs(store) == []

    asyncio.run(main())


def spec(id: str = "j", tool: str = "work", **members: Any) -> JobSpec:
    return JobSpec(id, **{"workstream_id": "ws", "tool": tool, "run_id": "run", **members})


async def nothing(_job: JobSpec, _context: ToolContext) -> None:
    pass


def test_tools_of_all_kinds_do_jobs_at_the_same_time(tmp_path: Path) -> None:
    async def scenario(jobs: AsyncJobStateStore) -> None:
        barrier, all_here = threading.Barrier(2), asyncio.Barrier(2)

        async def meet(job: JobSpec, context: ToolContext) -> str:
            assert await jobs.get_job_status(job.job_id) == "running"
            assert context.attempt == 1
            await all_here.wait()
            return job.job_id

        def block(_job: JobSpec, _context: ToolContext) -> None:
            barrier.wait(PATIENCE)

        async def fail(_job: JobSpec, _context: ToolContext) -> None:
            raise RuntimeError("boom")

        class Odd:
            async def run(self, _job: JobSpec, _context: ToolContext) -> Any:
                return "not a result"

        async def metadata(_job: JobSpec, _context: ToolContext) -> JobResult:
            return JobResult(0, metadata={"x": object()})

        async def slow(_job: JobSpec, _context: ToolContext) -> None:
            await asyncio.sleep(LONG)

        tools: dict[str, Any] = {"meet": meet, "block": block, "fail": fail, "odd": Odd(), "metadata": metadata}
        tools |= {"slow": slow, "program": SubprocessTool()}
        orchestrator = AsyncOrchestrator(jobs, tools)
        command = {"exe": sys.executable, "args": ["-c", "print('hi')"]}
        specs = [spec(f"{tool}{n}", tool) for tool in ("meet", "block") for n in range(2)]
        specs += [
            spec(tool, tool, metadata={"timeout_seconds": 0.05}) for tool in ("odd", "metadata", "slow", "nobody")
        ]
        specs += [spec("fail", "fail"), spec("program", "program", command=command)]
        results = await asyncio.gather(*map(orchestrator.run, specs))
        told = {job.job_id: (result.exit_code, result.success) for job, result in zip(specs, results, strict=True)}
        assert {told[id] for id in ("meet0", "meet1", "block0", "block1", "program")} == {(0, True)}
        assert [told[id][0] for id in ("odd", "metadata", "slow", "nobody", "fail")] == [-2, -2, -1, -4, -2]
        assert results[0].metadata == {"value": "meet0"}
        assert results[-1].stdout == "hi\n"
        assert await orchestrator.get_job_status("slow") == "timeout"
        assert len(await jobs.list_jobs("run")) == len(specs)
        missing = await orchestrator.run_job(tmp_path / "none.json")
        assert missing.exit_code == -3

    with_jobs(scenario)


def test_a_job_file_parents_and_what_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(
        json.dumps({"job_id": "job-2025-11-20-001", "workstream_id": "ws", "tool": "work", "command": {"exe": "x"}}),
        encoding="utf-8",
    )

    async def scenario(jobs: AsyncJobStateStore) -> None:
        strict = AsyncOrchestrator(jobs, {"work": nothing}, create_parents=False)
        with pytest.raises(RunNotFoundError):
            await strict.run(spec())
        orchestrator = AsyncOrchestrator(jobs, {"work": nothing})
        assert (await orchestrator.run_job(file)).success
        with pytest.raises(JobFinishedError):
            await orchestrator.run_job(file)
        assert (await orchestrator.run(spec(workstream_id="other"))).success
        with pytest.raises(AlreadyExistsError):
            await orchestrator.run(spec(run_id="typo"))
        assert await orchestrator.queue_job(spec("k", workstream_id="other")) == "k"
        assert await orchestrator.get_job_status("k") == "queued"
        assert (await orchestrator.queue.job("k")).run_id == "run"

    with_jobs(scenario)


def test_a_run_that_is_cancelled_stops_its_tool_and_is_recorded() -> None:
    async def scenario(jobs: AsyncJobStateStore) -> None:
        began, tidied, blocked = asyncio.Event(), asyncio.Event(), threading.Event()

        async def hold(_job: JobSpec, _context: ToolContext) -> None:
            began.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                await asyncio.sleep(0.05)
                tidied.set()

        def block(_job: JobSpec, context: ToolContext) -> None:
            blocked.set()
            context.cancelled.wait(PATIENCE)
            context.check()

        async def stubborn(_job: JobSpec, _context: ToolContext) -> str:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                return "done all the same"
            return "never"

        orchestrator = AsyncOrchestrator(jobs, {"hold": hold, "block": block, "stubborn": stubborn})
        tasks = [asyncio.create_task(orchestrator.run(spec(tool, tool))) for tool in ("hold", "block", "stubborn")]
        await began.wait()
        assert await asyncio.to_thread(blocked.wait, PATIENCE)
        while await jobs.get_job_status("stubborn") != "running":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
        assert tidied.is_set()
        for tool in ("hold", "block"):
            found = await jobs.get_job(tool)
            assert (found["status"], found["exit_code"], found["error_message"]) == ("failed", 130, "cancelled")
        assert await jobs.get_job_status("stubborn") == "completed", "what was done is recorded"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await orchestrator.run(spec("again", "hold"))
        assert await jobs.get_job_status("again") == "failed"

    with_jobs(scenario)


def test_a_run_that_is_cancelled_twice_waits_for_no_tool() -> None:
    async def scenario(jobs: AsyncJobStateStore) -> None:
        began, release = asyncio.Event(), asyncio.Event()

        async def deaf(_job: JobSpec, _context: ToolContext) -> None:
            began.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        task = asyncio.create_task(AsyncOrchestrator(jobs, {"deaf": deaf}).run(spec(tool="deaf")))
        await began.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await jobs.get_job_status("j") == "failed"
        release.set()

    with_jobs(scenario)


def test_a_run_that_is_cancelled_before_its_tool_begins_does_not_begin_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(jobs: AsyncJobStateStore) -> None:
        calls: list[str] = []
        marked, honest = asyncio.Event(), jobs.mark_job_running

        async def work(job: JobSpec, _context: ToolContext) -> None:
            calls.append(job.job_id)

        async def mark(*args: Any, **options: Any) -> int:
            attempt = await honest(*args, **options)
            marked.set()
            await asyncio.sleep(0.05)
            return attempt

        monkeypatch.setattr(jobs, "mark_job_running", mark)
        task = asyncio.create_task(AsyncOrchestrator(jobs, {"work": work}).run(spec()))
        await marked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert calls == []
        assert (await jobs.get_job("j"))["error_message"] == "interrupted"

    with_jobs(scenario)


def test_a_tool_that_exits_has_its_job_recorded_and_exits() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with open_async_store("memory://") as store:
            jobs = AsyncJobStateStore(store=store)

            async def exits(_job: JobSpec, _context: ToolContext) -> None:
                raise SystemExit(3)

            try:
                await AsyncOrchestrator(jobs, {"exits": exits}).run(spec(tool="exits"))
            finally:
                seen.append((await jobs.get_job("j"))["error_message"])

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert seen == ["interrupted"]


@pytest.mark.backend("sqlite")
def test_a_loop_that_ends_leaves_no_job_that_seems_to_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    kept: list[Any] = []

    async def main() -> None:
        began = asyncio.Event()

        async def hold(_job: JobSpec, _context: ToolContext) -> None:
            began.set()
            await asyncio.sleep(LONG)

        kept.append(open_async_store(url))
        jobs = AsyncJobStateStore(store=kept[0])
        kept.append(asyncio.create_task(AsyncOrchestrator(jobs, {"hold": hold}).run(spec(tool="hold"))))
        await began.wait()

    asyncio.run(main())
    with open_store(url) as store:
        assert JobStateStore(store=store).get_job("j")["error_message"] == "cancelled"


def test_a_store_that_fails_is_never_a_success() -> None:
    async def main() -> None:
        async with open_async_store("memory://") as store:
            faulty = FaultyStore(store, runtime=AsyncioWorld().steered())
            jobs = AsyncJobStateStore(store=faulty)

            async def work(_job: JobSpec, _context: ToolContext) -> None:
                faulty.then(*[Fault.UNAVAILABLE] * 100)

            with pytest.raises(StoreUnavailableError) as caught:
                await AsyncOrchestrator(jobs, {"work": work}).run(spec())
            assert any("exit code 0; this is not recorded" in note for note in caught.value.__notes__)
            assert await jobs.get_job_status("j") == "running"

    asyncio.run(main())


def test_what_can_not_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Somebodys:
        async def update_job_result(self, *_: Any, **__: Any) -> bool:
            return True

    async def main() -> None:
        monkeypatch.chdir(tmp_path)
        for tools in ({"x": 5}, {"x": SubprocessTool}):
            bad: Any = tools
            with pytest.raises(ConfigurationError):
                AsyncOrchestrator(tools=bad)
        with open_store("memory://") as store:
            sync: Any = JobStateStore(store=store)
            with pytest.raises(ConfigurationError, match="is for sync callers"):
                AsyncOrchestrator(sync, {})
        path: Any = "state/x.db"
        with pytest.raises(ConfigurationError, match="is no store of jobs"):
            AsyncOrchestrator(path, {})
        somebodys: Any = Somebodys()
        with pytest.raises(InvalidInputError, match="needs a queue"):
            _ = AsyncOrchestrator(somebodys, {}).queue
        assert list(tmp_path.iterdir()) == []
        async with AsyncOrchestrator() as usual:
            assert await usual.get_job_status("j") == "not_found"
            assert sorted(usual.tools) == ["aider", "codex", "git", "tests"]

    asyncio.run(main())
    assert (tmp_path / "state" / "pipeline_state.db").exists()
