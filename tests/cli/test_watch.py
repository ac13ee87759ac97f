"""eventstate watch: the table on a terminal, the lines in a pipe, and what the table is made of."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eventstate import (
    JobQueue,
    JobResult,
    JobStateStore,
    OrchestrationEvent,
    OrchestrationLog,
    StateMachinePersister,
    Subscription,
    Worker,
    open_store,
)
from eventstate.cli.live.frame import HEADING, Section, fit, framed
from eventstate.cli.live.happenings import Happenings
from eventstate.cli.live.looking import Look, Looking
from eventstate.cli.live.screen import LiveTable
from eventstate.cli.live.sections import sections_of
from eventstate.jobs.job import JOBS
from eventstate.stores.base import Store
from tests.cli.conftest import Cli
from tests.cli.queue_tools import TOOLS
from tests.cli.terminal import Terminal, environment, in_pipe, plain


@pytest.fixture
def busy(cli: Cli) -> Cli:
    """A store with all that the table tells of."""
    with open_store(cli.url) as store:
        queue, runs = JobQueue(store), JobStateStore(store=store)
        queue.queue_jobs([{"job_id": f"ready-{n}", "tool": "double"} for n in range(50)])
        queue.queue_jobs([{"job_id": f"later-{n}", "tool": "double", "delay": 90.0 + n} for n in range(5)])
        queue.set_limit("cpu", 2)
        runs.create_run(run_id="nightly")
        runs.mark_job_running("by-hand", run_id="nightly")
        log = OrchestrationLog(store, "build")
        graph = {"nodes": [{"id": "lint"}, {"id": "docs"}]}
        log.handle_events(
            [
                OrchestrationEvent(type="orch.started", payload={"unit_count": 2, "parallelism": 1, "graph": graph}),
                OrchestrationEvent(type="unit.started", unit="lint"),
            ]
        )
    return cli


def test_the_table_follows_what_happens(busy: Cli) -> None:
    with Terminal("watch", "--url", busy.url, rows=40) as terminal, open_store(busy.url) as store:
        begun = terminal.read_until("nightly")
        for text in ("default     50        5        0        0", "later-0", "1 min 2", "cpu", "build", "lint"):
            assert text in begun
        JobQueue(store).queue_job({"job_id": "bad", "tool": "fail", "queue": "mails"})
        terminal.read_until("mails")
        Worker(JobQueue(store), TOOLS, queues=["mails"]).run(until_idle=True)
        assert "no luck" in terminal.read_until("bad")
        JobStateStore(store=store).mark_job_running("by-hand")
        terminal.read_until("by-hand")
        JobStateStore(store=store).update_job_result("by-hand", JobResult(0, duration_s=1.5))
        terminal.read_until("1.5 s")
        OrchestrationLog(store, "build").handle_event(OrchestrationEvent(type="unit.completed", unit="lint"))
        terminal.read_until("1 of 2 complete")
        terminal.signal(signal.SIGINT)
        assert terminal.ended() == 130
    # The last picture is left there, the cursor is back, and one line says why it ended.
    last = plain(terminal.sent).rpartition("jobs of jobs in")[2]
    assert "1 of 2 complete" in last
    assert last.endswith("\ninterrupted\n")
    assert terminal.sent.rindex("\x1b[?25h") > terminal.sent.rindex("\x1b[?25l")
    assert "\x1b[32m" in terminal.sent  # green, for a job that completed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_leave_the_terminal_in_order_too(busy: Cli, number: signal.Signals) -> None:
    with Terminal("watch", "--url", busy.url) as terminal:
        terminal.read_until("ready")
        terminal.signal(number)
        assert terminal.ended() == 130
    assert terminal.sent.rindex("\x1b[?25h") > terminal.sent.rindex("\x1b[?25l")


def test_a_window_that_is_closed_ends_it(busy: Cli) -> None:
    with Terminal("watch", "--url", busy.url) as terminal:
        terminal.read_until("ready")
        assert terminal.hang_up() == 141


def test_it_fits_the_window_and_draws_no_more_than_people_can_see(busy: Cli) -> None:
    rows = 12
    with Terminal("watch", "--from", "beginning", "--url", busy.url, rows=rows) as terminal:
        terminal.read_until("50")
        begun = time.monotonic()
        seen = terminal.sent.count("jobs of jobs in")
        with open_store(busy.url) as store:
            for number in range(30):
                JobQueue(store).queue_job({"job_id": f"more-{number}", "tool": "double"})
        terminal.read_until("80")
        drawn = terminal.sent.count("jobs of jobs in") - seen
        assert drawn <= 4 * (time.monotonic() - begun) + 2
        terminal.signal(signal.SIGINT)
        assert terminal.ended() == 130
    last = plain(terminal.sent).rpartition("jobs of jobs in")[2].removesuffix("interrupted\n")
    assert last.count("\n") < rows
    assert "more" in last


def test_lines_where_they_are_asked_for_and_where_nobody_looks(busy: Cli) -> None:
    asked = ("watch", "--from", "beginning", "--limit", "1", "--url", busy.url)
    with Terminal(*asked) as terminal:
        assert terminal.ended() == 0
    assert "job.queued" in terminal.sent
    assert "\x1b[?25l" not in terminal.sent
    with Terminal("watch", "--lines", "--from", "beginning", "--url", busy.url) as terminal:
        terminal.read_until("caught up")
        terminal.signal(signal.SIGINT)
        assert terminal.ended() == 130
    with Terminal("watch", "--url", busy.url, TERM="dumb") as terminal:
        terminal.read_until("caught up")
    piped = in_pipe(*asked)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout.count("\n") == 1
    assert "\x1b" not in piped.stdout


def test_lines_come_as_it_happens_in_a_pipe(cli: Cli) -> None:
    cli("queue", "add", "a", "--tool", "t")
    command = [sys.executable, "-m", "eventstate", "watch", "--url", cli.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "caught up; waiting for what comes (Ctrl-C ends)\n"
        cli("queue", "cancel", "a")
        assert " a job.cancelled" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == "interrupted\n"


def test_a_store_that_can_not_be_opened_is_one_line(cli: Cli) -> None:
    with Terminal("watch", "--url", cli.url, columns=300) as terminal:
        assert terminal.ended() == 5
    assert plain(terminal.sent).startswith("error: ")
    assert plain(terminal.sent).count("\n") == 1


@pytest.fixture(params=["memory", "sqlite", "firestore"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else None
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    elif request.param == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", request.getfixturevalue("emulator_host"))
        url = f"firestore://{request.getfixturevalue('project_id')}"
    assert url is not None
    with open_store(url) as opened:
        yield opened


def test_what_the_table_is_made_of(store: Store) -> None:
    happened, looking = Happenings(), Looking(store, "jobs")
    queue = JobQueue(store)
    queue.queue_jobs([{"job_id": "a", "tool": "double", "metadata": {"n": 1}}, {"job_id": "b", "tool": "fail"}])
    queue.queue_jobs([{"job_id": f"d{n}", "tool": "double", "delay": 1000.0 - n, "queue": "later"} for n in range(2)])
    event = OrchestrationEvent(type="orch.started", payload={"graph": {"nodes": [{"id": "lint"}]}})
    OrchestrationLog(store, "build").handle_event(event)
    looking.begin()
    look = looking.look((), ())
    assert [tuple(queue) for queue in look.queues] == [("default", 2, 0, 0, 0), ("later", 0, 2, 0, 0)]
    assert [one.job_id for one in look.delayed] == ["d1", "d0"]
    assert [(id, found.summary.total) for id, found in look.orchestrations] == [("build", 1)]
    seen: list[tuple[str, str]] = []
    persister = StateMachinePersister(store, governor="jobs", machines=[JOBS])
    with Subscription(persister, machines=[JOBS]) as subscription:

        def follow() -> None:
            for delivery in subscription.deliveries(until_caught_up=True):
                happened.note(delivery)

        def tool(job: Any, _context: Any) -> int:
            follow()
            now = looking.look(happened.started(), happened.take_orchestrations())
            assert now.total_running == len(now.running) == 1
            seen.extend((one.job_id, one.worker.partition(":")[0]) for one in now.running)
            if job.tool == "fail":
                raise ValueError("no luck")
            return 1

        Worker(queue, {"double": tool, "fail": tool}, name="w").run(until_idle=True)
        follow()
    assert sorted(seen) == [("a", "w"), ("b", "w")]
    assert happened.counts() == {"completed": 1, "failed": 1}
    assert {end.job_id: end.told for end in happened.ends()}["b"] == "ValueError: no luck"
    assert happened.started() == []
    drawn = {section.columns[0]: section for section in sections_of(looking.look((), ()), happened, look.at)}
    assert drawn["ended"].columns == ("ended", "completed", "failed")
    assert drawn["next delayed"].rows[0][:2] == ("d1", "later")
    assert drawn["next delayed"].rows[0][2].startswith("16 min")
    assert drawn["orchestration"].rows[0][:3] == ("build", "running", "0 of 1 complete")


def test_the_store_is_read_when_something_happens_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    is_over = False
    look = Looking.look

    def counted(self: Looking, started: Iterable[str], changed: Iterable[str]) -> Look:
        nonlocal looks
        looks += 1
        if is_over:
            raise KeyboardInterrupt
        return look(self, started, changed)

    monkeypatch.setattr(Looking, "look", counted)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24)

    def act() -> None:
        nonlocal is_over
        try:
            until(lambda: pictures() > 3)  # they come, for spans of time go on
            before, drawn = looks, pictures()
            until(lambda: pictures() > drawn + 1)
            assert looks == before <= 2  # at the beginning, and once it has caught up
            JobQueue(store).queue_job({"job_id": "a", "tool": "t"})
            until(lambda: "default" in screen.getvalue())
        finally:
            is_over = True
            JobQueue(store).queue_job({"job_id": "b", "tool": "t"})

    def pictures() -> int:
        return screen.getvalue().count("jobs of jobs")

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        with pytest.raises(KeyboardInterrupt):
            LiveTable(store, "jobs", "now").show(console)
        acting.result()


def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


SIZES = st.lists(st.integers(0, 30), max_size=9)


@given(SIZES, st.integers(0, 60))
def test_the_sections_share_the_lines(sizes: list[int], lines: int) -> None:
    given = fit(sizes, lines)
    assert sum(mine + HEADING for mine in given if mine) <= max(lines, 0)
    assert all(0 <= mine <= size for mine, size in zip(given, sizes, strict=True))
    if sum(size + HEADING for size in sizes if size) <= lines:
        assert given == sizes  # nothing is cut where everything fits
    cut = [mine for mine, size in zip(given, sizes, strict=True) if 0 < mine < size]
    assert not cut or max(given) <= min(cut) + 1  # nobody has more who others wait for


@given(SIZES, st.integers(1, 60), st.integers(0, 50))
def test_a_picture_is_as_high_as_it_says(sizes: list[int], height: int, unread: int) -> None:
    sections = [
        Section(("name", "n"), [(f"row {row} \x1b[2J\n", "9") for row in range(size)], ("n",), size + unread)
        for size in sizes
    ]
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, width=20, color_system=None)
        lines = console.render_lines(framed("what it is of " * 9, sections, height))
    assert len(lines) <= height
    text = "".join(segment.text for line in lines for segment in line)
    assert "\x1b" not in text
    for section in sections:
        assert section.size >= len(section.rows)


@pytest.mark.parametrize("columns", [40, 80])
def test_long_ids_and_errors_leave_the_status_to_be_read(columns: int) -> None:
    console = Console(width=columns, height=10, file=io.StringIO())
    ends = [("j" * 150, "completed", "01:29:34Z", "1", "ValueError: " + "漢字 " * 900)]
    lines = console.render_lines(framed("", [Section(("last ends", "status", "at", "attempt", ""), ends)], 10))
    assert len(lines) == HEADING + 2
    assert "completed  01:29:34Z  1" in "".join(part.text for part in lines[-1])
