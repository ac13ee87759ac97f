"""A tool that is a Python function."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable
from typing import Any

from eventstate.core.codec import encode
from eventstate.errors import EncodingError
from eventstate.jobs.orchestrator.tool import ToolContext, ToolStoppedError
from eventstate.jobs.runs.results import TIMED_OUT, TOOL_FAILED, JobResult
from eventstate.jobs.runs.specs import JobSpec

CANCELLED_CODE = 130
"""As of a program that was interrupted."""


class CallableTool:
    """Does jobs by calling ``function(job, context)``.

    A `JobResult` that it returns is the result; anything else is a success, with plain JSON data kept in the result's
    metadata as ``value``. An exception is a failure with exit code -2. Python can't stop a function from outside: one
    that takes long calls ``context.check()`` now and then, which ends it when its time is up or the job is cancelled.
    """

    def __init__(self, function: Callable[[JobSpec, ToolContext], Any]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"CallableTool({getattr(self._function, '__qualname__', self._function)!s})"

    def run(self, job: JobSpec, context: ToolContext) -> JobResult:
        """Call the function."""
        started = time.monotonic()
        try:
            value = self._function(job, context)
        except Exception as error:  # noqa: BLE001 - whatever it raises is how the job ended
            return raised_result(error, time.monotonic() - started)
        return result_of(value, time.monotonic() - started)


def result_of(value: Any, seconds: float) -> JobResult:
    """The result of a job whose function has returned something."""
    if isinstance(value, JobResult):
        return value
    if inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
        return JobResult(TOOL_FAILED, duration_s=seconds, stderr=_not_run(value))
    return JobResult(0, duration_s=seconds, metadata=_kept(value))


def _not_run(value: object) -> str:
    """What is said of a function that only made what would have done the job; a coroutine is closed unused."""
    if inspect.iscoroutine(value):
        value.close()
    return (
        f"its function returned a {type(value).__name__}, of which nothing has run: use a function that does the job, "
        "or pass the `async def` itself to an AsyncWorker or AsyncOrchestrator"
    )


def _kept(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        encode(value)
    except EncodingError:
        return {}
    return {"value": value}


def stopped_result(timed_out: bool, seconds: float) -> JobResult:
    """The result of a job that was ended before it was done."""
    if timed_out:
        return JobResult(TIMED_OUT, duration_s=seconds, stderr=f"timed out after {seconds:.1f} s")
    return JobResult(CANCELLED_CODE, duration_s=seconds, stderr="cancelled", metadata={"cancelled": True})


def raised_result(error: BaseException, seconds: float) -> JobResult:
    """The result of a job whose tool raised: it has failed, unless it was told to stop and let that pass."""
    if isinstance(error, ToolStoppedError):
        return stopped_result(error.timed_out, seconds)
    told = "".join(traceback.format_exception_only(error)).strip()
    return JobResult(TOOL_FAILED, duration_s=seconds, stderr=told)
