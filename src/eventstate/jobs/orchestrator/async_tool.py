"""Tools for asyncio: coroutines, beside those that block."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from eventstate.core.ids import check_id
from eventstate.errors import ConfigurationError
from eventstate.jobs.orchestrator.callable_tool import CallableTool, raised_result, result_of
from eventstate.jobs.orchestrator.tool import Tool, ToolContext, is_coroutine
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec


@runtime_checkable
class AsyncTool(Protocol):
    """Does jobs as a coroutine, in the loop of whoever runs it: it never blocks.

    It is cancelled, as a task is, when its job is to end or its time is up. One that may take long to end then says so
    in an attribute ``grace``, in seconds.
    """

    async def run(self, job: JobSpec, context: ToolContext, /) -> JobResult:
        """Do a job and say how it ended."""
        ...


AnyTool: TypeAlias = "AsyncTool | Tool"


class AsyncCallableTool:
    """Does jobs by awaiting ``function(job, context)``; what comes of it is as with `CallableTool`."""

    def __init__(self, function: Callable[[JobSpec, ToolContext], Awaitable[Any]]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"AsyncCallableTool({getattr(self._function, '__qualname__', self._function)!s})"

    async def run(self, job: JobSpec, context: ToolContext) -> JobResult:
        """Await the function."""
        started = time.monotonic()
        try:
            value = await self._function(job, context)
        except Exception as error:  # noqa: BLE001 - whatever it raises is how the job ended
            return raised_result(error, time.monotonic() - started)
        return result_of(value, time.monotonic() - started)


def async_tools(given: Mapping[str, AnyTool | Callable[..., Any]]) -> dict[str, AnyTool]:
    """Tools by name, of functions and coroutine functions too.

    Raises:
        ConfigurationError: one is no tool.
    """
    return {check_id("tool", name): _tool_of(tool) for name, tool in given.items()}


def _tool_of(tool: object) -> AnyTool:
    if isinstance(tool, type):
        raise ConfigurationError(f"{tool!r} is a class: pass an object of it")
    if callable(getattr(tool, "run", None)):
        return cast("AnyTool", tool)
    if not callable(tool):
        raise ConfigurationError(f"{tool!r} is no tool: it needs run(job, context), or to be a function")
    function: Callable[..., Any] = tool
    return AsyncCallableTool(function) if is_coroutine(tool) else CallableTool(function)
