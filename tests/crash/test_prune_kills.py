"""A prune that is killed, at every step that it makes, loses nothing, and the next one ends its work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventstate import DirectoryArchive, StateMachinePersister, open_store
from tests.crash.prune_worker import PLACES, POLICY, prune
from tests.crash.tally import GOVERNOR, noted, tallies

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]

STREAMS = 20
Log = dict[str, list[Any]]


def make_log(url: str) -> None:
    """Streams of one event to many, some of several in an entry, with snapshots; one that is deleted."""
    with open_store(url) as store:
        persister = StateMachinePersister(
            store, governor=GOVERNOR, machines=[tallies], snapshot_every=5, keep_snapshots=2
        )
        for n in range(STREAMS):
            version = 0
            while version <= n:
                events = [noted(version + k, 40) for k in range(1 + version % 3)]
                version = persister.append(tallies, f"{n:03}", *events, expected=version).version
        persister.delete_state(tallies, "007", expected=persister.load(tallies, "007").version)


def read_log(url: str, archive: Path | None = None) -> tuple[dict[str, Any], Log]:
    """All current states, and all that can be read of the histories."""
    with open_store(url) as store:
        persister = StateMachinePersister(
            store,
            governor=GOVERNOR,
            machines=[tallies],
            archive=DirectoryArchive(archive) if archive is not None else None,
        )
        report = persister.validate_consistency()
        assert report.is_consistent, report.findings
        states = {item.id: (item.version, item.data, item.status) for item in persister.recover()}
        return states, {id: list(persister.history(id)) for id in states}


class Killed:
    """A copy of a store, pruned by a process that kills itself at one step."""

    def __init__(self, original: Path, folder: Path, place: str, count: int) -> None:
        self.name = f"{place} {count}"
        self.folder = folder / self.name.replace(" ", "-")
        self.folder.mkdir()
        shutil.copy(original, self.folder / "store.db")
        self.url = f"sqlite:///{self.folder / 'store.db'}"
        self.archive = self.folder / "archive"
        command = [sys.executable, "-m", "tests.crash.prune_worker", self.url, str(self.archive), place, str(count)]
        self.returned = subprocess.run(command, capture_output=True, timeout=60, check=False)

    @property
    def was_killed(self) -> bool:
        assert self.returned.returncode in (0, -9), self.returned.stderr.decode()
        return self.returned.returncode == -9


def kills(original: Path, folder: Path, places: list[str], step: int) -> Iterator[Killed]:
    """A kill at each ``step``-th passing of each place, until the prune comes to its end before it."""
    with ThreadPoolExecutor(2) as pool:
        for place in places:
            count = 1
            while True:
                both = list(pool.map(lambda c, p=place: Killed(original, folder, p, c), (count, count + step)))
                yield from (killed for killed in both if killed.was_killed)
                if not all(killed.was_killed for killed in both):
                    break
                count += 2 * step


def check(killed: Killed, states: dict[str, Any], log: Log) -> None:
    """What is there after a kill, and after the run that follows it."""
    now, live = read_log(killed.url)
    assert now == states, killed.name
    for id, steps in live.items():
        assert steps == log[id][len(log[id]) - len(steps) :], f"{killed.name}: {id} is not the end of what it was"
    assert read_log(killed.url, killed.archive) == (states, log), killed.name
    prune(killed.url, str(killed.archive))
    assert read_log(killed.url, killed.archive) == (states, log), killed.name
    now, live = read_log(killed.url)
    assert sum(map(len, live.values())) < sum(map(len, log.values())) / 2
    with open_store(killed.url) as store:
        entries = sum(len(live[id]) for id in live)
        rows = len([None for _ in _all_entries(store)])
        assert rows <= entries, f"{killed.name}: entries are left before the bases"


def _all_entries(store: Any) -> Iterator[Any]:
    from eventstate.runtime.blocking import drive

    after = None
    while True:
        page = drive(store.scan("entry", GOVERNOR, after=after))
        yield from page.documents
        after = page.next
        if after is None:
            return


def sweep(folder: Path, step: int) -> int:
    original = folder / "original.db"
    make_log(f"sqlite:///{original}")
    states, log = read_log(f"sqlite:///{original}")
    count = 0
    for killed in kills(original, folder, list(PLACES), step):
        check(killed, states, log)
        shutil.rmtree(killed.folder)
        count += 1
    return count


def test_a_prune_that_is_killed_loses_nothing(fast_folder: Path) -> None:
    assert sweep(fast_folder, step=9) >= 8


@pytest.mark.torture
@pytest.mark.timeout(1_800)
def test_a_prune_that_is_killed_at_any_step_loses_nothing(fast_folder: Path) -> None:
    assert sweep(fast_folder, step=1) >= 60


def test_a_prune_goes_by_the_policy(fast_folder: Path) -> None:
    assert POLICY.keep_last == 2
    url = f"sqlite:///{fast_folder / 'store.db'}"
    make_log(url)
    states, log = read_log(url)
    prune(url, str(fast_folder / "archive"))
    now, live = read_log(url)
    assert now == states
    assert all(2 <= len(steps) <= 4 for id, steps in live.items() if len(log[id]) > 4)
