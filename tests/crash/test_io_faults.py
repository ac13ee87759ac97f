"""A disk that fails at any one operation: nothing acknowledged is lost, and what is said to have failed has failed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from eventstate import ANY, StateMachinePersister
from eventstate.errors import CommitUnknownError, EventStateError
from eventstate.testing.iofaults import OPERATIONS, Fault, FaultyDisk, Kind, Operation
from tests.crash.inspect_store import Noted, check_contents, contents, read_events
from tests.crash.tally import FILE, noted, open_tallies, persister_on, tallies

pytestmark = pytest.mark.backend("sqlite")

APPENDS = 8
SIZE = 1500


@pytest.fixture(scope="module")
def disk() -> Iterator[FaultyDisk]:
    with FaultyDisk() as disk:
        yield disk


@dataclass
class Outcome:
    """What a writer was told about its events, and what was found where it failed."""

    acknowledged: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    unknown: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def fresh(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def left_by_a_crash(folder: Path) -> Noted:
    """The events that a process would find if this one died now."""
    copy = fresh(folder.with_name("copy"))
    files = [path for path in folder.iterdir() if not path.name.endswith("-shm")]
    # By another process: closing a copied file in this one would drop the store's locks.
    subprocess.run(["cp", *files, copy], check=True)
    return check_contents(contents(copy / FILE)) if (copy / FILE).exists() else {}


def write(folder: Path, disk: FaultyDisk, fault: Fault, writers: int, outcome: Outcome) -> None:
    """Append until the end; a fault that stays is mended once it has been met a few times."""
    disk.arm(fault)
    with open_tallies(folder) as store:
        persister = persister_on(store)

        def work(writer: int) -> None:
            for number in range(writer, APPENDS, writers):
                append(persister, writer, number, outcome)
                if len(outcome.failed) + len(outcome.unknown) >= 3:
                    disk.disarm()
                if writers == 1 and number in outcome.failed and number in numbers(left_by_a_crash(folder)):
                    outcome.problems.append(f"{number} was reported as failed, but a crash would bring it back")

        threads = [Thread(target=work, args=(writer,), daemon=True) for writer in range(1, writers)]
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), f"{fault}: an append never returns"
        disk.disarm()


def append(persister: StateMachinePersister, writer: int, number: int, outcome: Outcome) -> None:
    """Append one event, and note what was said about it. Errors outside of the library's tree pass."""
    try:
        persister.append(tallies, f"s{writer}", noted(number, SIZE), expected=ANY)
    except CommitUnknownError as error:
        outcome.unknown[number] = error.token
    except EventStateError:
        outcome.failed.add(number)
    else:
        outcome.acknowledged.add(number)


def numbers(events: Noted) -> list[int]:
    return [number for number, _ in events.values()]


def judge(folder: Path, outcome: Outcome) -> None:
    """Compare what was told with what a new process finds."""
    with open_tallies(folder) as store:
        persister = persister_on(store)
        found = numbers(read_events(persister))
        for number, token in outcome.unknown.items():
            if persister.settle(token) is not (number in found):
                outcome.problems.append(f"{number} was settled wrongly")
    problems = {
        "lost": outcome.acknowledged - set(found),
        "written although reported as failed": outcome.failed & set(found),
        "twice": {number for number in found if found.count(number) > 1},
    }
    outcome.problems += [f"{what}: {sorted(which)}" for what, which in problems.items() if which]


KINDS: list[tuple[Operation, Kind]] = [
    *((operation, "eio") for operation in OPERATIONS),
    ("write", "enospc"),
    ("write", "short"),
]


@pytest.mark.parametrize("writers", [1, 4], ids=["alone", "in groups"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize(("operation", "kind"), KINDS)
def test_each_failure_is_survived_and_told_truly(
    operation: Operation, kind: Kind, sticky: bool, writers: int, disk: FaultyDisk, fast_folder: Path
) -> None:
    problems: list[str] = []
    seen: Counter[str] = Counter()
    for number in count(1):
        fault = Fault(operation=operation, number=number, kind=kind, sticky=sticky)
        outcome = Outcome()
        folder = fresh(fast_folder / "store")
        try:
            write(folder, disk, fault, writers, outcome)
        except EventStateError:
            seen["open or close failed"] += 1
        finally:
            disk.disarm()
        if not disk.hits:
            break
        judge(folder, outcome)
        seen.update(
            injected=1,
            acknowledged=len(outcome.acknowledged),
            failed=len(outcome.failed),
            unknown=len(outcome.unknown),
        )
        problems += [f"{fault}: {problem}" for problem in outcome.problems]
    assert not problems, "\n".join(problems[:10])
    assert seen["injected"] >= 1
