"""Calls of tools from asyncio: of a coroutine as a task, of any other in a thread of its own."""

from __future__ import annotations

from typing import TypeAlias, cast

from eventstate.jobs.orchestrator.async_tool import AnyTool, AsyncTool
from eventstate.jobs.orchestrator.callable_tool import raised_result, stopped_result
from eventstate.jobs.orchestrator.tool import Tool, ToolContext, is_coroutine
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.runtime.calls import Call, Outcome

ToolCall: TypeAlias = "Call[JobResult]"


def begin(tool: AnyTool, job: JobSpec, context: ToolContext) -> ToolCall:
    """Call a tool. A coroutine is cancelled when the job's time is up; others look after that themselves."""
    name = f"eventstate-tool-{job.job_id}"
    if not is_coroutine(tool.run):
        blocking = cast("Tool", tool)
        return Call[JobResult].in_thread(lambda: blocking.run(job, context), name)
    coroutine = cast("AsyncTool", tool)
    call = Call[JobResult].of_coroutine(lambda: coroutine.run(job, context), name)
    if context.remaining is not None:
        call.cancel_after(context.remaining)
    return call


def stop(call: ToolCall | None, context: ToolContext) -> None:
    """Tell a tool that its job is to end."""
    context.cancelled.set()
    if call is not None:
        call.cancel()


def result_of_call(outcome: Outcome[JobResult], context: ToolContext) -> JobResult:
    """How a job ended whose tool was called.

    Raises:
        BaseException: the tool raised what is more than a failure, such as SystemExit.
    """
    if outcome.is_cancelled:
        return stopped_result(not context.is_cancelled and context.remaining == 0, context.seconds)
    error = outcome.error
    if error is None:
        try:
            return JobResult.of(outcome.value)
        except Exception as unfit:  # noqa: BLE001 - what is no result is a tool's failure
            return raised_result(unfit, context.seconds)
    if isinstance(error, Exception):
        return raised_result(error, context.seconds)
    raise error
