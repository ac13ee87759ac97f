"""What a tool is: whatever does jobs of its name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol, runtime_checkable

from eventstate.core.ids import check_id
from eventstate.core.leases import Fence
from eventstate.errors import ConfigurationError
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec

DEFAULT_TIMEOUT = 600.0


class ToolStoppedError(Exception):
    """Raised by `ToolContext.check`: the job is to end now. A tool lets it pass."""

    def __init__(self, *, timed_out: bool) -> None:
        self.timed_out = timed_out
        super().__init__("the job's time is up" if timed_out else "the job was cancelled")


@dataclass(slots=True)
class ToolContext:
    """What a tool may ask of whoever runs it.

    Attributes:
        job_id, attempt: what it is working on.
        timeout: seconds that the job may take; None for the tool's own default.
        fence: pass it as ``fence=`` to what the tool itself writes to the store: refused once the attempt is over.
            None where nothing is claimed.
        cancelled: set when the job is to end.
    """

    job_id: str
    attempt: int = 1
    timeout: float | None = None
    fence: Fence | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)

    @property
    def is_cancelled(self) -> bool:
        """Whether the job is to end."""
        return self.cancelled.is_set()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.started

    @property
    def remaining(self) -> float | None:
        """Seconds left; None where there is no limit. Never below 0."""
        return None if self.timeout is None else max(0.0, self.timeout - self.seconds)

    def check(self) -> None:
        """Go on, or raise `ToolStoppedError`: for a tool to call now and then."""
        if self.is_cancelled:
            raise ToolStoppedError(timed_out=False)
        if self.remaining == 0:
            raise ToolStoppedError(timed_out=True)


@runtime_checkable
class Tool(Protocol):
    """Does jobs. Called from several threads at once by workers with several slots.

    One that may take long to end once it is told to says so in an attribute ``grace``, in seconds: a worker waits so
    much longer until it gives it up.
    """

    def run(self, job: JobSpec, context: ToolContext, /) -> JobResult:
        """Do a job and say how it ended. Ends soon after ``context.is_cancelled``, and when its time is up."""
        ...


class Tools(Mapping[str, Tool]):
    """Tools by name."""

    def __init__(self, tools: Mapping[str, Tool | Callable[..., Any]] | None = None) -> None:
        self._tools: dict[str, Tool] = {}
        for name, tool in (tools or {}).items():
            self.register(name, tool)

    @classmethod
    def of(cls, given: Mapping[str, Tool | Callable[..., Any]] | None) -> Tools:
        """These tools; the same object where they are `Tools` already."""
        return given if isinstance(given, Tools) else cls(given)

    def register(self, name: str, tool: Tool | Callable[..., Any]) -> None:
        """Have jobs of this name done by a tool, or by a function as `CallableTool` takes it.

        Raises:
            ConfigurationError: there is another one of this name, or it is neither, or a coroutine.
        """
        from eventstate.jobs.orchestrator.callable_tool import CallableTool

        check_id("tool", name)
        if self._tools.get(name, tool) is not tool:
            raise ConfigurationError(f"there is a tool {name!r} already")
        if isinstance(tool, type):
            raise ConfigurationError(f"{tool!r} is a class: pass an object of it")
        if is_coroutine(tool) or is_coroutine(getattr(tool, "run", None)):
            raise ConfigurationError(f"{tool!r} is a coroutine: use AsyncWorker or AsyncOrchestrator with it")
        if isinstance(tool, Tool):
            self._tools[name] = tool
        elif callable(tool):
            self._tools[name] = CallableTool(tool)
        else:
            raise ConfigurationError(f"{tool!r} is no tool: it needs run(job, context), or to be a function")

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)


def is_coroutine(function: Any) -> bool:
    """Whether a function, or an object that is called like one, is to be awaited."""
    while isinstance(function, partial):
        function = function.func
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
