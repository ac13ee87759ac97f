"""Job files: what is taken, and how it is told what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import JobFileError, JobSpec
from eventstate.jobs.orchestrator.job_file import JobFile, job_schema, parse_job, read_job_file

GOOD: dict[str, Any] = {
    "job_id": "job-2025-11-20-001",
    "run_id": "run-20251120-001",
    "workstream_id": "ws-a",
    "tool": "aider",
    "command": {"exe": "aider", "args": ["--yes"]},
    "env": {"LANG": "C"},
    "paths": {"repo_root": "/repo", "working_dir": "/repo/a", "log_file": "a.log", "error_report": "a.err"},
    "metadata": {"timeout_seconds": 600, "max_retries": 2, "retry_policy": "backoff", "owner": "kim"},
}


def parsed(**changes: Any) -> JobSpec:
    return parse_job(json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value != "gone"}))


def test_a_job_comes_as_it_is_written() -> None:
    job = parsed()
    assert job.to_dict() == GOOD
    assert JobSpec.from_dict(job.to_dict()) == job
    assert JobSpec.from_dict({"job_id": "a", "ws_id": "w", "run_id": None, "other": 1}) == JobSpec("a", "w")


def test_what_may_be_left_out() -> None:
    job = parsed(run_id="gone", env="gone", paths="gone", metadata="gone")
    assert (job.run_id, job.env, job.paths, job.metadata) == (None, {}, {}, {"max_retries": 3})


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("job_id", {"job_id": "gone"}),
    ("job_id", {"job_id": "job-1"}),
    ("job_id", {"job_id": "job-2025-11-20-001\n"}),
    ("workstream_id", {"workstream_id": "gone"}),
    ("tool", {"tool": "gone"}),
    ("tool", {"tool": ""}),
    ("tool", {"tool": 7}),
    ("command", {"command": "aider --yes"}),
    ("command.exe", {"command": {"args": []}}),
    ("command.args.1", {"command": {"exe": "a", "args": ["b", 1]}}),
    ("command.shell", {"command": {"exe": "a", "shell": True}}),
    ("env.A", {"env": {"A": 1}}),
    ("paths.log", {"paths": {"log": "x"}}),
    ("metadata.timeout_seconds", {"metadata": {"timeout_seconds": 0.5}}),
    ("metadata.timeout_seconds", {"metadata": {"timeout_seconds": float("inf")}}),
    ("metadata.max_retries", {"metadata": {"max_retries": -1}}),
    ("metadata.max_retries", {"metadata": {"max_retries": "3"}}),
    ("run_id", {"run_id": 5}),
    ("colour", {"colour": "red"}),
]


@pytest.mark.parametrize(("field", "changes"), WRONG)
def test_the_member_that_is_wrong_is_named(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(JobFileError) as caught:
        parsed(**changes)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_what_is_no_job_file(tmp_path: Path) -> None:
    for text in ("", "{", "[]", "null", '{"job_id": NaN}', "\x00"):
        with pytest.raises(JobFileError):
            parse_job(text)
    with pytest.raises(FileNotFoundError):
        read_job_file(tmp_path / "none.json")
    with pytest.raises(JobFileError, match="directory"):
        read_job_file(tmp_path)
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 1_000_000)
    with pytest.raises(JobFileError, match="longer than"):
        read_job_file(large)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_text_raises_anything_else(text: str | bytes) -> None:
    try:
        parse_job(text)
    except JobFileError:
        pass


def test_the_schema_that_is_shipped_is_that_of_the_code() -> None:
    shipped = job_schema()
    assert shipped.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert shipped == JobFile.model_json_schema()
    assert {"job_id", "workstream_id", "tool", "command"} == set(shipped["required"])
    assert "run_id" in shipped["properties"]
