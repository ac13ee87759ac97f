"""The tests of this folder can fail: each finds a bug that is planted for it."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from eventstate import JobResult, JobSpec, JobStateStore, open_store
from eventstate.jobs.orchestrator import orchestrator, subprocess_tool
from eventstate.jobs.orchestrator.orchestrating import Orchestrating, Perform
from eventstate.jobs.orchestrator.output import Output
from tests.jobs.orchestrator import test_orchestrator, test_tools

pytestmark = pytest.mark.backend("memory")


async def errors_of_the_store_are_printed(
    self: Orchestrating, job: JobSpec, result: JobResult, attempt: int
) -> JobResult:
    try:
        await self._store.update_job_result(job, result, attempt=attempt)
    except Exception as error:  # as if a job must not fail for its bookkeeping
        print(error)
    return result


async def marked_when_it_is_done(self: Orchestrating, job: JobSpec, perform: Perform) -> JobResult:
    await self.create_parents(job.run_id, job.workstream_id)
    done = await self._done(job, 1, perform)
    await self._store.mark_job_running(job.job_id, run_id=job.run_id, workstream_id=job.workstream_id)
    return await self._recorded(job, done.result, 1)


def a_tool_that_raises_is_done(_error: Exception, _seconds: float) -> JobResult:
    return JobResult(0)


def everything_is_kept(self: Output, chunk: bytes) -> None:
    self._head += chunk
    self.total += len(chunk)


def codes_are_those_of_popen(returncode: int) -> int:
    return returncode


BUGS: list[tuple[Any, Any, Callable[..., None]]] = [
    (Orchestrating, errors_of_the_store_are_printed, test_orchestrator.test_a_store_that_fails_is_never_a_success),
    (Orchestrating, marked_when_it_is_done, test_orchestrator.test_a_job_is_running_while_it_runs),
    (orchestrator, a_tool_that_raises_is_done, test_orchestrator.test_exit_codes_and_statuses),
    (Output, everything_is_kept, test_tools.test_endless_output_takes_little_memory),
    (subprocess_tool, codes_are_those_of_popen, test_tools.test_with_and_without_a_keeper_all_is_the_same),
]
PLACES = {
    errors_of_the_store_are_printed: "_recorded",
    marked_when_it_is_done: "run",
    a_tool_that_raises_is_done: "raised_result",
    everything_is_kept: "add",
    codes_are_those_of_popen: "_exit_code",
}


@pytest.mark.parametrize(("target", "bug", "test"), BUGS, ids=[bug.__name__ for _, bug, _ in BUGS])
def test_a_planted_bug_is_caught(target: Any, bug: Any, test: Callable[..., None], tmp_path: Path) -> None:
    with open_store("memory://") as store, patch.object(target, PLACES[bug], bug):
        wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
        given = {"store": store, "jobs": JobStateStore(store=store), "tmp_path": tmp_path}
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            test(**{name: given[name] for name in wanted})
