"""What came of an attempt of a job, as its tool tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from eventstate.errors import InvalidInputError
from eventstate.jobs.job import COMPLETED, FAILED, TIMEOUT

PREVIEW: Final = 500
"""Characters of stdout and of stderr that are kept."""

TIMED_OUT: Final = -1
TOOL_FAILED: Final = -2
NO_JOB_FILE: Final = -3
UNKNOWN_TOOL: Final = -4


@dataclass(slots=True)
class JobResult:
    """How an attempt ended.

    Attributes:
        exit_code: 0 for success; -1 timed out, -2 the tool raised, -3 no job file, -4 unknown tool.
        error_report_path: where the tool wrote what went wrong.
        duration_s: seconds.
        stdout, stderr: what it printed. The first 500 characters of each are stored.
        success: whether it did what it was to do; always True with exit code 0.
        metadata: plain JSON data, stored as it is.
    """

    exit_code: int
    error_report_path: str | None = None
    duration_s: float = 0.0
    stdout: str = ""
    stderr: str = ""
    success: bool = False
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.exit_code == 0:
            self.success = True

    @classmethod
    def of(cls, given: object) -> JobResult:
        """A result from one, or from a mapping with its members.

        Raises:
            InvalidInputError: it is none.
        """
        if isinstance(given, Mapping):
            members = dict(cast("Mapping[str, Any]", given))
            unknown = sorted(members.keys() - set(cls.__slots__))
            if unknown or "exit_code" not in members:
                problem = f"unknown member {unknown[0]!r}" if unknown else "exit_code is missing"
                raise InvalidInputError(f"this is no result of a job: {problem}")
            given = cls(**members)
        if not isinstance(given, JobResult):
            raise InvalidInputError(f"a JobResult, or a mapping like one, is needed, not {type(given).__name__}")
        given.check()
        return given

    def check(self) -> None:
        """Raise an InvalidInputError if a member is not of its type."""
        problem = None
        if type(self.exit_code) is not int:
            problem = f"exit_code={self.exit_code!r} is no whole number"
        elif isinstance(self.duration_s, bool) or not isinstance(self.duration_s, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = f"duration_s={self.duration_s!r} is no number of seconds"
        elif not isinstance(self.stdout, str) or not isinstance(self.stderr, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = "stdout and stderr must be text"
        elif not isinstance(self.success, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = f"success={self.success!r} is neither True nor False"
        elif not isinstance(self.metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = f"metadata={self.metadata!r} is no mapping"
        if problem is not None:
            raise InvalidInputError(f"this is no result of a job: {problem}")

    @property
    def outcome(self) -> str:
        """The status that it leads to: ``completed``, ``timeout`` or ``failed``."""
        if _is_success(self):
            return COMPLETED
        return TIMEOUT if self.exit_code == TIMED_OUT else FAILED

    @property
    def error_message(self) -> str | None:
        """A line for people about what went wrong; None after a success."""
        if _is_success(self):
            return None
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        if lines:
            return _storable(lines[-1][:PREVIEW])
        return "timed out" if self.exit_code == TIMED_OUT else f"exit code {self.exit_code}"

    def summary(self, job_id: str) -> dict[str, Any]:
        """What is stored of it."""
        return {
            "job_id": job_id,
            "exit_code": self.exit_code,
            "duration_s": self.duration_s,
            "success": _is_success(self),
            "error_report_path": None if self.error_report_path is None else _storable(str(self.error_report_path)),
            "stdout_preview": _storable(self.stdout[:PREVIEW]),
            "stderr_preview": _storable(self.stderr[:PREVIEW]),
            "metadata": dict(self.metadata),
        }


def _is_success(result: JobResult) -> bool:
    """Also where the exit code became 0 after the result was made."""
    return result.success or result.exit_code == 0


def _storable(text: str) -> str:
    """Text without lone surrogates, which output of unknown encoding is often decoded to."""
    return text.encode("utf-8", "replace").decode("utf-8")
