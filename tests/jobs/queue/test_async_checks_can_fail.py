"""The tests of workers in asyncio can fail: each finds a bug that is planted for it."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from unittest.mock import patch

import pytest

from eventstate import JobResult, JobSpec, Tool, ToolContext
from eventstate.jobs.orchestrator.calling import ToolCall
from eventstate.jobs.orchestrator.tool import is_coroutine
from eventstate.jobs.queue import async_slots
from eventstate.jobs.queue.async_slots import AsyncSlots
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.telling import Telling
from eventstate.runtime.calls import Call, Outcome
from tests.jobs.queue import test_async_worker

pytestmark = pytest.mark.backend("memory")

begin = async_slots.begin


def told_again_and_again(self: Call[Any]) -> None:
    """As if a cancellation were a state, and not an event."""
    self.insist()
    self._loop.call_later(0.01, self.insist)


async def left_to_others(self: Telling, _claim: Claim, _reason: str, *, is_running: bool = False) -> None:
    """As if the lock's lease would run out anyway."""


async def nothing_in_doubt(self: AsyncSlots) -> None:
    """As if every commit were answered."""


def all_in_the_loop(tool: Any, job: JobSpec, context: ToolContext) -> ToolCall:
    """As if a function would not take long."""
    if is_coroutine(tool.run):
        return begin(tool, job, context)

    async def run() -> JobResult:
        return cast("Tool", tool).run(job, context)

    return Call[JobResult].of_coroutine(run, "t")


def never_late(_outcome: Outcome[JobResult], _context: ToolContext) -> JobResult:
    """As if whoever is told to end had been cancelled."""
    return JobResult(130, stderr="cancelled")


BUGS: list[tuple[Any, str, Any, Callable[..., None]]] = [
    (Call, "cancel", told_again_and_again, test_async_worker.test_a_running_job_is_cancelled),
    (Telling, "give_back", left_to_others, test_async_worker.test_a_run_that_is_cancelled_gives_its_jobs_back),
    (AsyncSlots, "reconcile", nothing_in_doubt, test_async_worker.test_claims_without_an_answer_are_given_back),
    (
        async_slots,
        "begin",
        all_in_the_loop,
        test_async_worker.test_jobs_are_done_by_coroutines_functions_and_tools,
    ),
    (
        async_slots,
        "result_of_call",
        never_late,
        test_async_worker.test_a_coroutine_that_takes_too_long_is_cancelled_when_its_time_is_up,
    ),
]


@pytest.mark.parametrize(("target", "name", "bug", "test"), BUGS, ids=[bug.__name__ for _, _, bug, _ in BUGS])
def test_a_planted_bug_is_caught(target: Any, name: str, bug: Any, test: Callable[..., None]) -> None:
    with (
        patch.object(test_async_worker, "PATIENCE", 1.0),
        patch.object(target, name, bug),
        pytest.raises((AssertionError, TimeoutError)),
    ):
        test("memory://")
