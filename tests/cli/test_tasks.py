"""tasks: how the tasks of a job are doing."""

from __future__ import annotations

import pytest

from eventstate import JobTasks, TaskOutcome, TaskPhase, open_store
from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def nightly(cli: Cli) -> Cli:
    """A job of four tasks: one finished, one with two tags, one that failed, and a silent one."""
    with open_store(cli.url) as store:
        tasks = JobTasks(store, "nightly", tasks=4)
        tasks.reporter(0).finished(message="done \x1b[31m", payload={"rows": 3}, event_id="e")
        tasks.reporter(1).report(50, tag="build")
        tasks.reporter(1).report_phase(TaskPhase.STOPPING, tag="a:b")
        tasks.reporter(2, attempt=2).report_outcome(TaskOutcome.LOST)
    return cli


def test_every_task_is_shown_and_the_lowest_status(nightly: Cli) -> None:
    shown = nightly("tasks", "nightly").out
    rows = [line.split() for line in shown.splitlines()]
    assert [row[:6] for row in rows[2:7]] == [
        ["0", "main", "2147483647", "succeeded", "1", "1"],
        ["1", "a:b", "1", "stopping", "1", "1"],
        ["1", "build", "50", "running", "1", "1"],
        ["2", "main", "-1", "lost", "1", "2"],
        ["3", "main", "0", "pending", "0", "1"],
    ]
    assert "\x1b" not in shown
    assert rows[-2] == ["lowest", "-1", "of", "task", "2,", "tag", "main"]
    assert rows[-1][:2] == ["job", "pending,"], "it is doomed, while others go on"


def test_one_object_as_json(nightly: Cli) -> None:
    told = nightly("tasks", "nightly", "--json").json
    assert (told["job"], told["tasks"], told["phase"], told["outcome"], told["is_doomed"]) == (
        ("nightly", 4, "pending", None, True)
    )
    assert (told["lowest"]["task"], told["lowest"]["status"], told["lowest"]["outcome"]) == (2, -1, "lost")
    first, *_, last = told["statuses"]
    assert (first["payload"], first["event_id"], first["version"]) == ({"rows": 3}, "e", 1)
    assert first["timestamp"].endswith("Z")
    assert (last["task"], last["status"], last["version"], last["timestamp"]) == (3, 0, 0, None)


def test_only_a_task_or_a_tag(nightly: Cli) -> None:
    told = nightly("tasks", "nightly", "--task", "1", "--json").json
    assert [(status["tag"], status["status"]) for status in told["statuses"]] == [("a:b", 1), ("build", 50)]
    assert "is_doomed" not in told
    told = nightly("tasks", "nightly", "--tag", "build", "--json").json
    assert [(status["tag"], status["status"]) for status in told["statuses"]] == [
        ("build", 0),
        ("build", 50),
        ("build", 0),
        ("build", 0),
    ]
    assert told["lowest"]["task"] == 0
    assert nightly("tasks", "nightly", "--task", "1", "--tag", "none", "--json").json["lowest"]["status"] == 0


def test_a_limit_says_what_it_leaves_out(nightly: Cli) -> None:
    result = nightly("tasks", "nightly", "--limit", "2")
    assert "3 more statuses: --limit 5" in result.err
    assert "lowest  -1" in result.out, "the lowest is that of all"
    assert len(nightly("tasks", "nightly", "--limit", "2", "--json").json["statuses"]) == 2


def test_what_goes_wrong_has_a_code(nightly: Cli) -> None:
    assert nightly("tasks", "weekly", "--json", code=3).error["type"] == "JobNotFoundError"
    assert "tasks=" not in nightly("tasks", "weekly", code=3).err
    assert nightly("tasks", "nightly", "--task", "4", "--json", code=2).error["type"] == "TaskIndexError"
    assert "'/' is not allowed" in nightly("tasks", "nightly", "--tag", "a/b", code=2).err
    assert nightly("tasks", "", "--json", code=2).error["type"] == "InvalidIdError"
    nightly("tasks", code=2)
    with open_store(nightly.url) as store:
        JobTasks(store, "nightly").mark_deleted()
    assert nightly("tasks", "nightly", "--json", code=3).error["type"] == "JobNotFoundError"
