"""A writer on a SQLite store: ``store_writer.py FOLDER DURABILITY SHAPE COMMITS``.

Prints ``id version number size`` for every event once its append has returned.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from eventstate import ANY, AppendTo, StateMachinePersister
from eventstate.errors import EventStateError
from tests.crash.tally import HastyRuntime, line_of, noted, open_tallies, persister_on, tallies


def append(persister: StateMachinePersister, id: str, number: int, size: int = 100) -> None:
    """Append an event, and tell the world in one system call once it is done."""
    state = persister.append(tallies, id, noted(number, size), expected=ANY)
    os.write(1, f"{line_of(state, number)}\n".encode())


def one_by_one(folder: Path, durability: str, commits: int, prefix: str = "s") -> None:
    """Single events, three streams in turn."""
    with open_tallies(folder, durability) as store:
        persister = persister_on(store)
        for number in range(commits):
            append(persister, f"{prefix}{number % 3}", number)


def together(folder: Path, durability: str, commits: int) -> None:
    """Two streams in one commit, with texts larger than a page."""
    with open_tallies(folder, durability) as store:
        persister = persister_on(store)
        for number in range(commits):
            states = persister.append_together(
                AppendTo(tallies.state_id("large"), noted(number, 6000), expected=ANY),
                AppendTo(tallies.state_id(f"small{number % 4}"), noted(number, 30), expected=ANY),
            )
            os.write(1, "".join(f"{line_of(state, number)}\n" for state in states).encode())


def reopened(folder: Path, durability: str, commits: int) -> None:
    """The file is closed and opened again after every few commits."""
    for start in range(0, commits, 4):
        with open_tallies(folder, durability) as store:
            persister = persister_on(store)
            for number in range(start, min(start + 4, commits)):
                append(persister, f"s{number % 2}", number)


def threads(folder: Path, durability: str, commits: int) -> None:
    """Four threads that share commits."""
    with open_tallies(folder, durability) as store:
        persister = persister_on(store)

        def work(name: str) -> None:
            for number in range(commits // 4):
                append(persister, name, number)

        workers = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def processes(folder: Path, durability: str, commits: int) -> None:
    """Two processes on one file."""
    with open_tallies(folder, durability):  # made before the other looks for it
        command = [sys.executable, __file__, str(folder), durability, "other", str(commits // 2)]
        other = subprocess.Popen(command)
        one_by_one(folder, durability, commits // 2, "p")
        assert other.wait() == 0


def other(folder: Path, durability: str, commits: int) -> None:
    """The second of two processes."""
    one_by_one(folder, durability, commits, "q")


def stubborn(folder: Path, durability: str, commits: int) -> None:
    """Goes on after errors."""
    with suppress(EventStateError), open_tallies(folder, durability) as store:
        persister = persister_on(store)
        for number in range(commits):
            with suppress(EventStateError):
                append(persister, "s", number)


HEIR_COMMITS = 3


def heir(folder: Path, durability: str, commits: int) -> None:
    """A process dies right after a commit whose sync failed; the next one goes on from what it left."""
    subprocess.run([sys.executable, __file__, str(folder), durability, "doomed", str(commits)], check=True)
    with open_tallies(folder, durability) as store:
        persister = persister_on(store)
        for number in range(HEIR_COMMITS):
            append(persister, "s", number)


def doomed(folder: Path, durability: str, commits: int) -> None:
    """Ends at once where it would settle an unknown outcome."""
    runtime = HastyRuntime()
    runtime.sleep = lambda seconds: os._exit(0)
    store = open_tallies(folder, durability, runtime)
    persister = persister_on(store)
    for number in range(commits):
        append(persister, "s", number)
    os._exit(0)


SHAPES = {shape.__name__: shape for shape in (one_by_one, together, reopened, threads, processes)}

if __name__ == "__main__":
    run = (SHAPES | {"other": other, "stubborn": stubborn, "heir": heir, "doomed": doomed})[sys.argv[3]]
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[4]))
