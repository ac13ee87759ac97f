"""Queues, workers and what happens to jobs on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli

TOOLS = ("--tools", "tests.cli.queue_tools:TOOLS")


def work(cli: Cli) -> int:
    return cli("worker", *TOOLS, "--until-idle", "--json").json["attempts"]


def test_from_adding_to_the_end(cli: Cli) -> None:
    assert cli("queue", "add", "a", "--tool", "double", "--metadata", '{"n": 2}', "--limit", "cpu").out == "a\n"
    cli("queue", "add", "b", "--tool", "double", "--metadata", '{"n": 3}', "--depends-on", "a")
    cli("queue", "add", "c", "--tool", "fail", "--delay", "1000", "--retries", "1")
    cli("queue", "limit", "cpu", "1")
    told = cli("queue", "--json").json
    assert told["queues"] == [{"queue": "default", "ready": 1, "delayed": 1, "waiting": 1, "running": 0}]
    assert told["limits"] == [{"name": "cpu", "most": 1, "running": 0}]
    assert cli("queue", "cancel", "c", "--reason", "later").out == "c is cancelled\n"
    assert work(cli) == 2
    assert cli("queue", "--json").json["queues"] == []
    shown = cli("job", "show", "b", "--json").json
    assert (shown["status"], shown["result"]["metadata"]) == ("completed", {"value": 6})
    lines = cli("watch", "--from", "beginning", "--once", "--json").lines
    assert [line["event"] for line in lines if line["job_id"] == "a"] == ["job.queued", "job.started", "job.completed"]
    assert "c job.cancelled attempt=0 reason=later" in cli("watch", "c", "--from", "beginning", "--once").out


def test_a_file_of_jobs(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    jobs = [
        {"job_id": "end", "tool": "double", "metadata": {"n": 1}, "after": ["start"], "priority": 3},
        {"job_id": "start", "tool": "fail", "rules": {"max_retries": 1, "backoff": 0}},
    ]
    file.write_text(json.dumps(jobs))
    assert cli("queue", "add", "--file", str(file), "--json").json == {"queued": ["end", "start"]}
    assert work(cli) == 3
    assert cli("job", "show", "start", "--json").json["status"] == "dead"
    assert cli("queue", "revive", "start", "--json").json == {"job_id": "start", "status": "queued"}
    file.write_text(json.dumps([{**jobs[0], "after": ["end"], "job_id": "x"}, {"job_id": "x", "tool": "fail"}]))
    cli("queue", "add", "--file", str(file), code=2)
    file.write_text("[")
    cli("queue", "add", "--file", str(file), code=2)


def test_people_answer(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"job_id": "a", "tool": "fail", "rules": {"escalate_after": 1, "people": "ada"}}))
    cli("queue", "add", "--file", str(file))
    assert work(cli) == 1
    assert cli("queue", "--json").json["asked"] == [{"people": "ada", "job_id": "a", "status": "queued"}]
    assert "ada" in cli("queue").out
    assert cli("queue", "answer", "a", "fail").out == "a is failed\n"
    cli("queue", "answer", "a", "fail", code=2)


def test_what_goes_wrong_is_told(cli: Cli) -> None:
    cli("queue", "add", code=2)
    cli("queue", "add", "a", "--tool", "t", "--metadata", "[]", code=2)
    cli("queue", "add", "a", "--tool", "t", "--depends-on", "nobody", code=3)
    cli("queue", "add", "a", "--tool", "t")
    cli("queue", "add", "a", "--tool", "u", code=4)
    cli("queue", "cancel", "nobody", code=3)
    cli("queue", "limit", "cpu", "many", code=2)
    cli("worker", "--tools", "tests.cli.queue_tools:nothing", code=2)
