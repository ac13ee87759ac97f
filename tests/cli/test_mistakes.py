"""What somebody types wrong, and what is in the way: one clear line, its exit code, and never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eventstate import JobQueue, StateMachinePersister, open_store
from tests.cli.conftest import Cli
from tests.cli.terminal import environment, in_pipe, on_terminal, read_by_head

pytestmark = pytest.mark.backend("sqlite")

MISTAKES: list[tuple[list[str], int, str]] = [
    (["jobs", "--run", "nope"], 3, "has no run 'nope'"),
    (["jobs", "--workstream", "nope"], 3, "has no workstream 'nope'"),
    (["jobs", "--status", "nope"], 2, "is no status: use cancelled, completed"),
    (["jobs", "--run", "a", "--workstream", "b"], 2, "not both"),
    (["job", "show", "nope"], 3, "has no job 'nope'"),
    (["job", "show", "a/b"], 2, "'/' is not allowed"),
    (["tasks", "nope"], 3, "has no job 'nope'"),
    (["queue", "add", "x"], 2, "it must not be empty"),
    (["queue", "add", "x", "--tool", "t", "--delay", "nan"], 2, "pass seconds from 0"),
    (["queue", "add", "--file", "/nope"], 2, "/nope can't be read: No such file or directory"),
    (["queue", "answer", "a", "maybe"], 2, "say 'requeue' or 'fail'"),
    (["tail", "nope", "--once"], 3, "has no state 'nope'"),
    (["tail", "--once", "--from", "yesterday"], 2, "is no place to read from"),
    (["tail", "--once", "--from", "9" * 30], 2, "no store has so many events"),
    (["tail", "a", "--all-governors"], 2, "one state belongs to one governor"),
    (["watch", "nope", "--once"], 3, "has no job 'nope'"),
    (["watch", "a/b", "--once"], 2, "'/' is not allowed"),
    (["watch", "--once", "--from", "9" * 30], 2, "no store has so many events"),
    (["watch", "--once", "--from", "yesterday"], 2, "is no place to read from"),
    (["verify", "--seal", "/"], 2, "/ can't be read: Is a directory"),
    (["verify", "--resume", "/nope/x"], 2, "/nope/x can't be written: No such file"),
    (["replay-check", "--resume", "/"], 2, "/ can't be read: Is a directory"),
    (["prune"], 2, "which events may go?"),
    (["prune", "--keep-last", "1"], 2, "say where the events go"),
    (["prune", "--max-age", "3", "--dry-run"], 2, "is no span of time"),
    (["prune", "--policy", "/nope", "--dry-run"], 2, "/nope can't be read: No such file"),
    (["worker", "--tools", "nope:x"], 2, "No module named 'nope'"),
]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A store with more of everything than a pipe holds. The tests of this module share it."""
    cli = Cli(f"sqlite:///{tmp_path_factory.mktemp('full')}/store.db")
    with open_store(cli.url) as store:
        jobs = [{"job_id": "a", "tool": "t"}, *({"job_id": f"job-{n:03}", "tool": "t" * 60} for n in range(100))]
        JobQueue(store).queue_jobs(jobs)
        persister = StateMachinePersister(store)
        for number in range(50):
            persister.save_state(f"doc-{number:03}", "x" * 500, expected=0)
    return cli


@pytest.mark.parametrize(("command", "code", "text"), MISTAKES, ids=[" ".join(m[0])[:40] for m in MISTAKES])
def test_it_is_told_in_one_line(full: Cli, command: list[str], code: int, text: str) -> None:
    failed = full(*command, code=code)
    assert failed.out == ""
    assert failed.err.startswith("error: ")
    assert failed.err.count("\n") == 1
    assert text in failed.err
    assert text in full(*command, "--json", code=code).error["message"]


LONG = [
    ("jobs", "--limit", "100"),
    ("jobs", "--limit", "100", "--json"),
    ("tail", "--from", "beginning"),
    ("watch", "--from", "beginning", "--lines"),
]


@pytest.mark.parametrize("command", LONG, ids=[" ".join(command) for command in LONG])
def test_a_reader_that_has_seen_enough(full: Cli, command: tuple[str, ...]) -> None:
    code, line, told = read_by_head(*command, "--url", full.url)
    assert line
    assert code == 141
    assert told in ("", "caught up; waiting for what comes (Ctrl-C ends)\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
@pytest.mark.parametrize("command", [("jobs", "--limit", "100"), ("queue",), ("tail", "--from", "beginning")])
def test_an_output_file_on_a_full_disk(full: Cli, command: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as nowhere:
        ran = subprocess.run(
            [sys.executable, "-m", "eventstate", *command, "--url", full.url],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
    assert (ran.returncode, ran.stderr) == (5, "error: the output can't be written: No space left on device\n")


def test_an_error_of_the_callers_own_is_not_taken_for_one_of_the_output(full: Cli) -> None:
    failed = full("show", "doc-001", "--machines", "tests.cli.shop:nix", code=2)
    assert "output" not in failed.err


def test_a_narrow_window_shows_what_matters_on_lines_that_fit(full: Cli) -> None:
    shown = on_terminal("jobs", "--limit", "2", "--url", full.url).splitlines()
    assert [line.split()[0] for line in shown if line.startswith(("a ", "job-"))] == ["a", "job-000"]
    assert shown[-1].startswith("left out, for the window is too narrow: ")
    assert max(map(len, shown[:-1])) <= 80
    piped = in_pipe("jobs", "--limit", "2", "--url", full.url)
    assert piped.stderr == ""
    assert "exit" in piped.stdout.splitlines()[0]


def test_what_happens_is_a_line_each_on_a_terminal_too(full: Cli) -> None:
    asked = ("tail", "--from", "beginning", "--once", "--limit", "3", "--url", full.url)
    shown = on_terminal(*asked).splitlines()
    assert [line.split()[1] for line in shown] == ["doc-000", "doc-001", "doc-002"]
    assert all(len(line) <= 80 and line.endswith("…") for line in shown)
    piped = in_pipe(*asked)
    assert "x" * 500 in piped.stdout
    assert "\x1b" not in piped.stdout


def test_somebody_waits_for_what_is_not_there_yet(full: Cli) -> None:
    # A limit of one ends the wait as soon as it comes.
    command = [sys.executable, "-m", "eventstate", "watch", "later", "--limit", "1", "--url", full.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline() == "there is no job 'later' yet\n"
        assert process.stderr.readline().startswith("caught up")
        full("queue", "add", "later", "--tool", "t")
        assert " later job.queued" in process.stdout.readline()
        assert process.wait(60) == 0
