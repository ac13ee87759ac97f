"""Job files: one job as JSON, checked before anything is done with it."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eventstate.errors import JobFileError
from eventstate.jobs.runs.specs import JobSpec
from eventstate.stores.own_files import refuse_own

SCHEMA_FILE: Final = "job.schema.json"
MAX_BYTES: Final = 900 * 1024
JOB_ID: Final = r"^job-[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{3,}$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Command(_Strict):
    """What to run."""

    exe: str = Field(min_length=1, description="The program.")
    args: list[str] = Field(default_factory=list[str], description="Its arguments, one by one; there is no shell.")


class Paths(_Strict):
    """Where."""

    repo_root: str | None = None
    working_dir: str | None = Field(default=None, description="Where the program runs; by default in repo_root.")
    log_file: str | None = Field(default=None, description="What it prints is added to this file.")
    error_report: str | None = Field(default=None, description="Where the tool writes what went wrong.")


class Metadata(BaseModel):
    """How, and whatever else the tool wants to know."""

    model_config = ConfigDict(extra="allow", strict=True)

    timeout_seconds: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    max_retries: int = Field(default=3, ge=0)
    retry_policy: Any = None


class JobFile(_Strict):
    """A job for one tool."""

    job_id: str = Field(pattern=JOB_ID, max_length=200)
    run_id: str | None = Field(default=None, min_length=1, description="The run that it is a part of.")
    workstream_id: str = Field(min_length=1)
    tool: str = Field(min_length=1, description="The name of what does it.")
    command: Command
    env: dict[str, str] = Field(default_factory=dict[str, str])
    paths: Paths = Field(default_factory=Paths)
    metadata: Metadata = Field(default_factory=Metadata)


def job_schema() -> dict[str, Any]:
    """The JSON schema of job files."""
    text = resources.files("eventstate.jobs.orchestrator").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_job_file(path: str | os.PathLike[str]) -> JobSpec:
    """The job in a file.

    Raises:
        FileNotFoundError: there is no such file.
        JobFileError: it is no job file; names the member that is wrong.
        InvalidInputError: it is the file of a store that is open.
    """
    refuse_own(path)
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JobFileError(path=str(path), field="", problem=error.strerror or str(error)) from error
    if len(text) > MAX_BYTES:
        raise JobFileError(path=str(path), field="", problem=f"it is longer than {MAX_BYTES:,} bytes")
    return parse_job(text, str(path))


def parse_job(text: str | bytes, where: str = "job") -> JobSpec:
    """The job in a JSON text.

    Raises:
        JobFileError: it is none; names the member that is wrong.
    """
    try:
        file = JobFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise JobFileError(path=where, field=field, problem=first["msg"]) from None
    return JobSpec(
        job_id=file.job_id,
        workstream_id=file.workstream_id,
        tool=file.tool,
        command=file.command.model_dump(),
        env=file.env,
        paths=file.paths.model_dump(exclude_none=True),
        metadata=file.metadata.model_dump(exclude_none=True),
        run_id=file.run_id,
    )
