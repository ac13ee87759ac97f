"""Bugs in workers: what somebody else has by now is still written, and what was only stopped has failed."""

from __future__ import annotations

from typing import Any, Final

from eventstate.jobs.orchestrator.tool import ToolContext
from eventstate.jobs.queue import attempts
from eventstate.jobs.queue.attempts import Attempt
from eventstate.jobs.queue.telling import Telling
from eventstate.jobs.runs.results import JobResult
from eventstate.testing.conformance.working import WorkerCases
from eventstate.testing.planted.plant import Patch, Plant


def _tools_without_a_fence() -> list[Patch]:
    def context(*args: Any, fence: Any, **options: Any) -> ToolContext:  # noqa: ARG001
        return ToolContext(*args, **options)

    return [(attempts, "ToolContext", context)]


def _stopped_is_failed() -> list[Patch]:
    async def end(self: Telling, attempt: Attempt, result: JobResult, _chain: Any = None) -> None:
        if attempt.give_up():
            await self.tell(attempt.claim, result)

    return [(Telling, "end", end)]


WORKER_PLANTS: Final = [
    Plant(
        name="tools-without-a-fence",
        story="a worker that lost its lock tells its tools to end, so they write nothing more",
        patches=_tools_without_a_fence,
        suite=WorkerCases,
        cases=["test_a_worker_that_lost_its_lock_writes_nothing_more_for_what_it_had"],
    ),
    Plant(
        name="stopped-is-failed",
        story="a job whose tool did not do it has failed, whatever the reason",
        patches=_stopped_is_failed,
        suite=WorkerCases,
        cases=["test_a_worker_that_is_stopped_leaves_the_rest_for_others"],
        world="asyncio",
    ),
]
