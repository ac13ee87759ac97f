"""Histories on disk: what is written comes back, whatever became of the writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from eventstate.errors import InvalidInputError
from eventstate.testing.serializability import Append, Outcome, Read, Recorder, check, read_histories

CHILD = Path(__file__).with_name("recording_child.py")


def start(folder: Path, process: str, count: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(CHILD), str(folder), process, str(count)], stdout=subprocess.PIPE)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_is_recorded_comes_back(tmp_path: Path) -> None:
    begun = time.monotonic_ns()
    operations = [Read("x", ()), Append("x", 1), Append("ü", 2**62), Read("x", (1,))]
    with Recorder(tmp_path / "new", "one") as recorder:
        done = recorder.begin([Append("x", 1), Append("ü", 2**62)])
        recorder.end(done, Outcome.COMMITTED, operations)
        refused = recorder.begin([Append("x", 3)])
        recorder.end(refused, Outcome.ABORTED)
        lost = recorder.begin([Append("x", 4)])
        recorder.end(lost, Outcome.UNKNOWN)
        left = recorder.begin([Append("x", 5)])
        empty = recorder.begin([])
        recorder.end(empty, Outcome.COMMITTED, [])
    history = read_histories(tmp_path / "new")
    assert [(one.id, one.process, one.outcome, list(one.operations)) for one in history] == [
        (done, "one", Outcome.COMMITTED, operations),
        (refused, "one", Outcome.ABORTED, [Append("x", 3)]),
        (lost, "one", Outcome.UNKNOWN, [Append("x", 4)]),
        (left, "one", Outcome.UNKNOWN, [Append("x", 5)]),
        (empty, "one", Outcome.COMMITTED, []),
    ]
    assert [one.ended is None for one in history] == [False, False, False, True, False]
    times = [time for one in history for time in (one.started, one.ended) if time is not None]
    assert sorted(times) == times
    assert begun <= times[0] <= times[-1] <= time.monotonic_ns()
    assert isinstance(history[0].operations[0], Read)
    assert isinstance(history[0].operations[1], Append)


def test_a_folder_without_histories(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a history")
    assert read_histories(tmp_path) == []


def test_a_name_is_given_once(tmp_path: Path) -> None:
    Recorder(tmp_path, "one").close()
    with pytest.raises(FileExistsError):
        Recorder(tmp_path, "one")
    with Recorder(tmp_path) as first, Recorder(tmp_path) as second:
        assert first.process != second.process
        first.close()


def test_threads_share_a_recorder(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:

        def work(thread: int) -> None:
            for number in range(300):
                append = Append(f"k{thread}", number)
                recorder.end(
                    recorder.begin([append]), Outcome.COMMITTED, [Read(f"k{thread}", (*range(number),)), append]
                )

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = read_histories(tmp_path)
    assert len({one.id for one in history}) == len(history) == 1200
    assert check(history) == []


def test_a_file_cut_anywhere_can_be_read(tmp_path: Path) -> None:
    with Recorder(tmp_path, "one") as recorder:
        for number in range(3):
            id = recorder.begin([Append("x", number)])
            recorder.end(id, Outcome.COMMITTED, [Append("x", number), Read("x", (*range(number + 1),))])
    path = only_file(tmp_path)
    content = path.read_bytes()
    seen: set[tuple[int, int]] = set()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        history = read_histories(tmp_path)
        outcomes = Counter(one.outcome for one in history)
        seen.add((outcomes[Outcome.COMMITTED], outcomes[Outcome.UNKNOWN]))
        assert check(history) == []
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)}


@pytest.mark.parametrize(
    "line",
    [
        b"{torn\n",
        b'"text"\n',
        b"[]\n",
        b"{}\n",
        b'{"id":"none:1","ended":1,"outcome":"committed"}\n',
        b'{"id":"one:0","ended":1,"outcome":"perhaps"}\n',
        b'{"id":"one:0","ended":1,"outcome":"committed","operations":[1]}\n',
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path: Path, line: bytes) -> None:
    with Recorder(tmp_path, "one") as recorder:
        recorder.begin([Append("x", 1)])
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(InvalidInputError, match=f"line 2 of .*{path.name}"):
        read_histories(tmp_path)


@pytest.mark.serial
def test_a_writer_killed_in_the_middle_of_a_transaction_leaves_it_unknown(tmp_path: Path) -> None:
    child = start(tmp_path, "one", count=250)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    history = read_histories(tmp_path)
    assert [one.outcome for one in history] == [Outcome.COMMITTED] * 250 + [Outcome.UNKNOWN]
    assert list(history[-1].operations) == [Append("one-2", 251)]
    assert history[-1].ended is None
    assert check(history) == []


@pytest.mark.serial
def test_writers_killed_at_any_moment_leave_histories(tmp_path: Path) -> None:
    children = [start(tmp_path, f"p{number}") for number in range(3)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    until = time.monotonic() + 60
    while any(path.read_bytes().count(b"\n") < 20 for path in tmp_path.iterdir()):  # two lines a transaction
        assert time.monotonic() < until
        time.sleep(0.01)
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
    history = read_histories(tmp_path)
    assert {one.process for one in history} == {"p0", "p1", "p2"}
    assert [one.started for one in history] == sorted(one.started for one in history)
    for process, done in Counter(one.process for one in history if one.outcome is Outcome.COMMITTED).items():
        unknown = [one for one in history if one.process == process and one.outcome is not Outcome.COMMITTED]
        assert done > 1
        assert len(unknown) <= 1
    assert check(history) == []
