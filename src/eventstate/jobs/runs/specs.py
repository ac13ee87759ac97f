"""A job as it is handed in: what is to be done, with which tool, for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from eventstate.errors import InvalidInputError


@dataclass(slots=True)
class JobSpec:
    """A job to be done.

    Attributes:
        job_id: names the job in its governor, in all runs.
        workstream_id, run_id: whose job it is.
        tool: the name of what runs it.
        command: what to run: ``exe`` and ``args`` for tools that run a program.
        env: variables besides those of the caller's own environment.
        paths: ``repo_root``, ``working_dir``, ``log_file``, ``error_report``.
        metadata: ``timeout_seconds`` and whatever else the tool wants to know.
    """

    job_id: str
    workstream_id: str | None = None
    tool: str = ""
    command: dict[str, Any] = field(default_factory=dict[str, Any])
    env: dict[str, str] = field(default_factory=dict[str, str])
    paths: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    run_id: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JobSpec:
        """A job from the members of a job file; ``ws_id`` is the same as ``workstream_id``. Other members are left out.

        Raises:
            InvalidInputError: there is no ``job_id``.
        """
        if "job_id" not in data:
            raise InvalidInputError("a job needs a job_id")
        known = {one.name for one in fields(cls)}
        members = {name: value for name, value in data.items() if name in known and value is not None}
        if "workstream_id" not in members and data.get("ws_id") is not None:
            members["workstream_id"] = data["ws_id"]
        return cls(**members)

    @classmethod
    def of(cls, given: object) -> JobSpec:
        """A job from one, from a mapping with its members, or from its id alone.

        Raises:
            InvalidInputError: it is none.
        """
        if isinstance(given, JobSpec):
            return given
        if isinstance(given, str):
            return cls(given)
        if isinstance(given, Mapping):
            return cls.from_dict(cast("Mapping[str, Any]", given))
        raise InvalidInputError(f"a JobSpec, a mapping like one, or a job's id is needed, not {type(given).__name__}")

    def to_dict(self) -> dict[str, Any]:
        """All members, as plain data of its own."""
        return asdict(self)
