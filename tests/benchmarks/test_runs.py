"""What a run does around its measurements: the estimate, the order of arms, requests, seeds, interruption."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from benchmarks import registry as arms
from benchmarks.cases import QUICK, cases
from benchmarks.interruption import Interrupted, interruptible
from benchmarks.progress import TRUST, Progress, Step
from benchmarks.protocol import Request
from benchmarks.runner import groups, request
from benchmarks.seeds import digest, sources


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rest_is_estimated_from_what_was_measured() -> None:
    clock = Clock()
    progress = Progress(stream=io.StringIO(), clock=clock)
    progress.expect([Step("fast", 3, 1.0), Step("other", 2, 1.0)])
    assert progress.remaining() == 5.0
    progress("fast", "first")
    clock.now = 4.0
    progress("fast", "second")
    off = (4.0 + TRUST) / (1.0 + TRUST)  # this machine is slower than thought, which is believed only so far
    assert progress.remaining() == pytest.approx(2 * 4.0 + 2 * off)


def test_slow_preparations_say_nothing_about_the_measurements() -> None:
    clock = Clock()
    progress = Progress(stream=io.StringIO(), clock=clock)
    progress.expect([Step("data", 1, 1.0, "preparation"), Step("measured", 2, 1.0)])
    progress("data", "first")
    clock.now = 100.0
    progress.end()
    assert progress.remaining() == 2.0


def test_steps_that_are_not_made_are_not_waited_for() -> None:
    progress = Progress(stream=io.StringIO(), clock=Clock())
    progress.expect([Step("one", 2, 3.0)])
    progress.drop("one")
    assert progress.remaining() == 3.0


def test_each_line_says_how_far_and_how_long() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=Clock())
    progress.expect([Step("one", 2, 60.0)])
    progress("one", "the first")
    assert stream.getvalue() == "[1/2, 0:00, about 2:00 left] the first\n"


def test_two_arms_stand_between_two_references() -> None:
    chosen = (arms.OURS, arms.EVENTSOURCING, arms.LANGGRAPH)
    assert [[arm.name for arm in group] for group in groups(chosen)] == [["eventstate", "eventsourcing"], ["langgraph"]]


def test_slow_peers_take_part_in_the_first_rounds_only() -> None:
    (case,) = [case for case in cases(QUICK) if case.name == "w4"]
    last = case.rounds - 1
    assert case.takes_part(arms.EVENTSOURCING, 0)
    assert not case.takes_part(arms.EVENTSOURCING, last)
    assert case.takes_part(arms.OURS, last)


def test_one_writer_is_measured_in_at_least_seven_rounds() -> None:
    assert all(case.rounds >= 7 and case.peer_rounds is None for case in cases(QUICK) if case.name.startswith("w1"))


def test_a_request_comes_back_from_its_text_with_its_parts() -> None:
    (case,) = [case for case in cases(QUICK) if case.name == "w4"]
    part = request(case, arms.OURS, Path("store.db"))
    whole = Request(workload="growth", module="", style="sync", path="", parts=(part, part))
    assert Request.from_json(whole.to_json()) == whole


def test_a_seed_is_written_again_when_the_code_behind_it_changes(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    file = package / "module.py"
    file.write_text("1")
    (package / "notes.txt").write_text("not code")
    before = digest(sources([package]))
    (package / "notes.txt").write_text("changed")
    assert digest(sources([package])) == before
    file.write_text("2")
    assert digest(sources([package])) != before


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_once(number: signal.Signals, exit_code: int) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    steps: list[str] = []

    def run() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), number)
                steps.append("went on")
            finally:
                os.kill(os.getpid(), number)  # an impatient second one does not cut the cleaning short
                steps.append("cleaned")

    with pytest.raises(Interrupted) as raised:
        run()
    assert steps == ["cleaned"]
    assert raised.value.exit_code == exit_code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
