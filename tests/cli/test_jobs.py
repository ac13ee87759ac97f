"""run-job, runs, jobs, job show."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventstate import JobStateStore, open_store
from tests.cli.conftest import Cli
from tests.jobs.orchestrator.test_tools import is_alive

pytestmark = pytest.mark.backend("sqlite")

TOOLS = "tests.cli.tools:TOOLS"


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    return str(tmp_path / "job.json")


def write(file: str, number: int, tool: str, **members: object) -> str:
    id = f"job-2025-11-20-{number:03}"
    job = {"job_id": id, "run_id": "r", "workstream_id": "ws", "tool": tool, "command": {"exe": "x"}, **members}
    Path(file).write_text(json.dumps(job), encoding="utf-8")
    return id


def test_from_a_file_to_the_lists(cli: Cli, job_file: str) -> None:
    done = write(job_file, 1, "work")
    assert cli("run-job", "--job-file", job_file, "--tools", TOOLS).out == f"{done} attempt 1\n"
    failed = write(job_file, 2, "fail")
    result = cli("run-job", "--job-file", job_file, "--tools", TOOLS, "--json", code=1).json
    assert (result["exit_code"], result["success"], result["stderr"]) == (3, False, "no luck\n")
    (run,) = cli("runs", "--json").lines
    assert (run["run_id"], run["status"]) == ("r", "pending")
    assert cli("runs").out.splitlines()[-1].startswith("r ")
    assert [job["job_id"] for job in cli("jobs", "--json").lines] == [done, failed]
    assert [job["job_id"] for job in cli("jobs", "--run", "r", "--json").lines] == [failed, done]
    assert [job["job_id"] for job in cli("jobs", "--workstream", "ws", "--limit", "1", "--json").lines] == [failed]
    assert [job["job_id"] for job in cli("jobs", "--status", "completed", "--json").lines] == [done]
    assert "no luck" in cli("jobs").out
    shown = cli("job", "show", failed, "--json").json
    assert shown["status"] == "failed"
    assert [event["event_type"] for event in shown["events"]] == ["job.started", "job.failed"]
    text = cli("job", "show", failed).out
    assert "job.failed" in text
    assert '"exit_code":3' in text


def test_what_goes_wrong_has_a_code(cli: Cli, job_file: str) -> None:
    assert "there is no job file" in cli("run-job", "--job-file", job_file, code=3).err
    id = write(job_file, 1, "nobody")
    assert "no tool 'nobody'" in cli("run-job", "--job-file", job_file, "--tools", TOOLS, code=2).err
    assert "is failed" in cli("run-job", "--job-file", job_file, "--tools", TOOLS, code=4).err
    write(job_file, 2, "work", metadata={"timeout_seconds": 0})
    told = cli("run-job", "--job-file", job_file, "--json", code=2).error
    assert (told["type"], told["field"]) == ("JobFileError", "metadata.timeout_seconds")
    assert cli("job", "show", "none", "--json", code=3).error["type"] == "JobNotFoundError"
    assert "is no status" in cli("jobs", "--status", "odd", code=2).err
    assert "not both" in cli("jobs", "--run", "r", "--workstream", "ws", code=2).err
    assert "is no tool" in cli("run-job", "--job-file", job_file, "--tools", "tests.cli.tools:NO_TOOL", code=2).err
    assert cli("jobs", "--json", "--governor", "other").out == ""
    assert cli("job", "show", id, "--json").json["exit_code"] == -4


@pytest.mark.serial
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_job_and_its_program(cli: Cli, job_file: str, tmp_path: Path, number: signal.Signals) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    paths = {"log_file": str(tmp_path / "log")}
    id = write(job_file, 1, "git", command={"exe": sys.executable, "args": ["-c", code]}, paths=paths)
    command = [sys.executable, "-m", "eventstate", "run-job", "--job-file", job_file, "--url", cli.url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text(encoding="utf-8"):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "interrupted\n")
    job = cli("job", "show", id, "--json").json
    assert (job["status"], job["exit_code"], job["error_message"]) == ("failed", 130, "interrupted")
    assert not is_alive(int((tmp_path / "log").read_text(encoding="utf-8")))


def test_one_function_is_a_tool_of_its_name(cli: Cli, job_file: str) -> None:
    id = write(job_file, 1, "work")
    cli("run-job", "--job-file", job_file, "--tools", "tests.cli.tools:work")
    with open_store(cli.url) as store:
        assert JobStateStore(store=store).get_job_status(id) == "completed"
