"""Holders that are stopped for longer than their lease, or killed: nothing they do afterwards is written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from eventstate import ANY, DistributedLock, Event, LeaseLostError, LockManager, StateMachinePersister, open_store
from eventstate.stores.base import Store
from eventstate.stores.sqlite.backup import backup, restore
from tests.transactions import lock_worker
from tests.transactions.lock_worker import ERRORS, LEDGER, RESOURCE, STOP, TTL_SECONDS, Wrote, ledgers, url_in

pytestmark = pytest.mark.backend("sqlite")

ROOT = Path(__file__).parents[2]
NAMES = [f"w{n}" for n in range(8)]


class Acquired(NamedTuple):
    name: str
    number: int
    waited: float


@dataclass(frozen=True)
class Said:
    """What all workers said."""

    acquired: tuple[Acquired, ...] = ()
    written: frozenset[tuple[int, int]] = frozenset()
    refused: frozenset[tuple[int, int]] = frozenset()
    early: tuple[str, ...] = ()
    stale: int = 0
    own: dict[str, list[int]] = field(default_factory=dict)
    """Numbers by log, in the order in which it says them."""


def read_logs(folder: Path) -> Said:
    """What the logs say; without a last line that a kill cut short."""
    acquired: list[Acquired] = []
    written: set[tuple[int, int]] = set()
    refused: set[tuple[int, int]] = set()
    early: list[str] = []
    own: dict[str, list[int]] = {}
    stale = 0
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text().split("\n")[:-1]:
            word, number, *rest = line.split()
            if word == "acquired":
                acquired.append(Acquired(log.name.partition(".")[0], int(number), float(rest[0])))
                own.setdefault(log.name, []).append(int(number))
            elif word == "wrote":
                written.add((int(number), int(rest[0])))
            elif word == "refused":
                refused.add((int(number), int(rest[0])))
                early += [f"{log.name}: {line}"] if rest[1] == "early" else []
            elif word == "stale":
                stale += 1
    return Said(tuple(acquired), frozenset(written), frozenset(refused), tuple(early), stale, own)


def read_ledger(store: Store) -> list[Wrote]:
    return [step.data for step in StateMachinePersister(store, machines=[ledgers]).history(ledgers, LEDGER)]


def violations(said: Said, ledger: list[Wrote]) -> list[str]:
    """Everything that must not be; empty for locks that hold."""
    wrong = [f"refused while its lease was running: {line}" for line in said.early]
    numbers = [write.number for write in ledger]
    for before, after in pairwise(ledger):
        if after.number < before.number:
            wrong.append(f"{after} was written after {before}")
    for number, group in groupby(sorted(ledger, key=lambda w: w.number), key=lambda w: w.number):
        writes = list(group)
        if [write.part for write in writes] != list(range(len(writes))):
            wrong.append(f"hold {number} wrote {[write.part for write in writes]}")
        if len({write.client for write in writes}) != 1:
            wrong.append(f"hold {number} is of several clients")
    if len([key for key, _ in groupby(numbers)]) != len(set(numbers)):
        wrong.append("writes of two holds mix")
    there = {(write.number, write.part) for write in ledger}
    wrong += [f"{write} was acknowledged, and is lost" for write in sorted(said.written - there)]
    wrong += [f"{write} was refused, and is there" for write in sorted(said.refused & there)]
    twice = [number for number, times in Counter(a.number for a in said.acquired).items() if times > 1]
    wrong += [f"number {number} was given twice" for number in twice]
    wrong += [f"{log}: numbers do not grow" for log, own in said.own.items() if own != sorted(set(own))]
    owners = {a.number: a.name for a in said.acquired}
    wrong += [
        f"{write} is not by who acquired it, {owners[write.number]}"
        for write in ledger
        if write.number in owners and not write.client.startswith(f"{owners[write.number]}.")
    ]
    return wrong


class Tally(NamedTuple):
    """What was done to the workers."""

    stops: int = 0
    kills: int = 0


Chaos = Callable[[int, float, Tally, int], tuple[Tally, Said]]
"""Called with how many acquisitions there must be, the longest pause, what is to be done, and how many refusals."""


class Workers:
    """Eight processes, kept alive."""

    lives = count(1)

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def keep_alive(self) -> None:
        for name in NAMES:
            if name not in self._processes:
                command = [sys.executable, lock_worker.__file__, str(self._folder), name, str(next(self.lives))]
                environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
                self._processes[name] = subprocess.Popen(command, env=environment)
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} ended by itself: {process.returncode}"

    def holder(self, manager: LockManager) -> str | None:
        """Who holds the lock just now."""
        for info in manager.list_locks():
            name, _, pid = info.client_id.split(".")
            if name in self._processes and self._processes[name].pid == int(pid):
                return name
        return None

    def stop(self, name: str, seconds: float) -> None:
        """Stop a worker for a while, in whatever it does."""
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Let all come to their end by themselves."""
        (self._folder / STOP).touch()
        for process in self._processes.values():
            assert process.wait(60) == 0

    def kill_all(self) -> None:
        for name in list(self._processes):
            with suppress(ProcessLookupError):
                self.kill(name)


@pytest.fixture
def chaos(fast_folder: Path) -> Iterator[Chaos]:
    """Lets workers work until all that is wanted has happened; stops and kills holders meanwhile."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    workers = Workers(fast_folder, chance)

    def run(acquisitions: int, pause: float, wanted: Tally, refusals: int) -> tuple[Tally, Said]:
        print(f"\nseed {seed}")
        stops = kills = 0

        def is_enough() -> bool:
            said = read_logs(fast_folder)
            return (
                len(said.acquired) >= acquisitions
                and {acquired.name for acquired in said.acquired} == set(NAMES)
                and len(said.refused) >= refusals
                and stops >= wanted.stops
                and kills >= wanted.kills
            )

        with open_store(url_in(fast_folder)) as store:
            manager = LockManager(store)
            workers.keep_alive()
            until(lambda: workers.holder(manager), "somebody holds the lock")
            while not is_enough():
                assert not (fast_folder / ERRORS).exists(), (fast_folder / ERRORS).read_text()
                workers.keep_alive()
                time.sleep(chance.random() * pause)
                name = workers.holder(manager)
                if name is None:
                    continue
                if (stops + kills) % 3 < 2:
                    workers.stop(name, TTL_SECONDS * chance.uniform(1.2, 2.0))
                    stops += 1
                else:
                    workers.kill(name)
                    kills += 1
            workers.end()
        errors = fast_folder / ERRORS
        assert not errors.exists(), f"seed {seed}\n{errors.read_text()}"
        return Tally(stops, kills), read_logs(fast_folder)

    yield run
    workers.kill_all()


def until(happened: Callable[[], object], what: str) -> None:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < 60, what
        time.sleep(0.01)


def told(tally: Tally, said: Said, ledger: list[Wrote], seconds: float) -> None:
    by_name = Counter(acquired.name for acquired in said.acquired)
    waits = sorted(acquired.waited for acquired in said.acquired)
    print(
        f"{len(said.acquired)} acquisitions in {seconds:.1f} s, {tally.stops} holders stopped, {tally.kills} killed;"
        f" {len(ledger)} writes, {len(said.refused)} refused and {said.stale} once more\n"
        f"by process: {' '.join(f'{name}={by_name[name]}' for name in NAMES)}\n"
        f"waited: {waits[len(waits) // 2] * 1000:.0f} ms (median), {waits[-1] * 1000:.0f} ms (longest)"
    )


def judge(folder: Path, tally: Tally, said: Said, seconds: float) -> None:
    with open_store(url_in(folder)) as store:
        ledger = read_ledger(store)
        report = StateMachinePersister(store, machines=[ledgers]).validate_consistency()
        told(tally, said, ledger, seconds)
        assert report.is_consistent, report.findings
        assert violations(said, ledger) == []
        last = LockManager(store).acquire_lock(RESOURCE, "the last", wait=30)
        assert last.fence.number > max(acquired.number for acquired in said.acquired)
        assert last.fence.number > ledger[-1].number
    by_name = Counter(acquired.name for acquired in said.acquired)
    assert all(by_name[name] > 0 for name in NAMES), by_name


@pytest.mark.serial
@pytest.mark.timeout(240)
def test_500_acquisitions(chaos: Chaos, fast_folder: Path) -> None:
    began = time.monotonic()
    tally, said = chaos(500, 0.8, Tally(stops=3, kills=2), 1)
    judge(fast_folder, tally, said, time.monotonic() - began)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_5000_acquisitions(chaos: Chaos, fast_folder: Path) -> None:
    began = time.monotonic()
    tally, said = chaos(5000, 0.3, Tally(stops=20, kills=20), 10)
    judge(fast_folder, tally, said, time.monotonic() - began)


# The checker can fail


def sound() -> tuple[Said, list[Wrote]]:
    ledger = [Wrote(number, part, f"w{number % 2}.1.9") for number in (3, 4, 7) for part in range(2)]
    acquired = tuple(Acquired(f"w{number % 2}", number, 0.1) for number in (3, 4, 5, 7))
    written = frozenset((write.number, write.part) for write in ledger)
    own = {"w1.1.log": [3, 5, 7], "w0.1.log": [4]}
    return Said(acquired, written, frozenset({(5, 0)}), (), 1, own), ledger


def test_locks_that_hold_have_no_violations() -> None:
    said, ledger = sound()
    assert violations(said, ledger) == []
    assert violations(said, [*ledger, Wrote(8, 0, "w1.1.9")]) == [], "one killed before it could say so"


def test_the_checker_sees_what_is_wrong() -> None:
    said, ledger = sound()
    late = Wrote(4, 2, "w0.1.9")
    assert any("was written after" in line for line in violations(said, [*ledger, late]))
    assert any("mix" in line for line in violations(said, [*ledger, late]))
    assert any("lost" in line for line in violations(said, ledger[:-1]))
    assert any("wrote [1]" in line for line in violations(said, ledger[1:]))
    assert any("is there" in line for line in violations(said, [*ledger[:4], Wrote(5, 0, "w1.1.9"), *ledger[4:]]))
    assert any("several clients" in line for line in violations(said, [*ledger[:-1], Wrote(7, 1, "w0.1.9")]))
    assert any("not by who" in line for line in violations(said, [replace(w, client="w5.1.9") for w in ledger]))
    doubled = replace(said, acquired=(*said.acquired, Acquired("w0", 3, 0.1)))
    assert "number 3 was given twice" in violations(doubled, ledger)
    assert any("do not grow" in line for line in violations(replace(said, own={"w1.1.log": [5, 3]}), ledger))
    assert len(violations(replace(said, early=("w1.1.log: refused 7 1 early",)), ledger)) == 1


def test_a_line_cut_short_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "w1.1.log").write_text("acquired 7 0.100\nwrote 7 0\nrefused 7 1 late\nstale 7\nwrote 7")
    said = read_logs(tmp_path)
    assert said == Said((Acquired("w1", 7, 0.1),), frozenset({(7, 0)}), frozenset({(7, 1)}), (), 1, {"w1.1.log": [7]})


# A restored backup


@pytest.fixture
def restored(tmp_path: Path) -> Callable[[Callable[[Store], None], Callable[[Store], None]], Path]:
    """A file restored from a backup: taken after the first, before the second of what is done to the store."""

    def run(before: Callable[[Store], None], after: Callable[[Store], None]) -> Path:
        path, copy = tmp_path / "store.db", tmp_path / "copy.db"
        with open_store(f"sqlite:///{path}") as store:
            before(store)
            backup(store, copy)
            after(store)
        restore(copy, path, replace=True)
        return path

    return run


Restored = Callable[[Callable[[Store], None], Callable[[Store], None]], Path]


def test_a_restored_backup_gives_higher_tokens_than_any_before(restored: Restored) -> None:
    numbers: dict[str, list[int]] = {"a": [], "b": [], "new": []}

    def use(*names: str, times: int) -> Callable[[Store], None]:
        def run(store: Store) -> None:
            manager = LockManager(store)
            for _ in range(times):
                for name in names:
                    lock = manager.acquire_lock(name, "x", wait=0)
                    numbers[name].append(lock.fence.number)
                    manager.release_lock(lock)

        return run

    path = restored(use("a", "b", times=3), use("a", "b", "new", times=5))
    with open_store(f"sqlite:///{path}") as store:
        assert store.epoch == 2
        use("a", "b", "new", times=2)(store)
    for name, given in numbers.items():
        assert given == sorted(set(given)), f"{name}: {given}"


def test_a_lock_given_out_after_the_backup_is_void_in_the_restored_store(restored: Restored) -> None:
    """Whoever held one goes on where nobody knows of it."""
    locks = []

    def hold(store: Store) -> None:
        StateMachinePersister(store).append("doc", Event("noted", state=1), expected=ANY)
        locks.append(LockManager(store).acquire_lock("a", "x", ttl=3600))

    path = restored(lambda store: None, hold)
    with open_store(f"sqlite:///{path}") as store:
        refused(store, locks[0])
        taken = LockManager(store).acquire_lock("a", "y", wait=0)
        assert taken.fence.number > locks[0].fence.number
        refused(store, locks[0])
        StateMachinePersister(store).append("doc", Event("noted", state=1), expected=0, fence=taken)


def test_a_lock_held_at_the_backup_is_void_in_the_restored_store(restored: Restored) -> None:
    """It had been released since, and others had it: what the copy says about it is past."""
    locks = []

    def hold(store: Store) -> None:
        locks.append(LockManager(store).acquire_lock("a", "x", ttl=0.2))

    def go_on(store: Store) -> None:
        LockManager(store).release_lock(locks[0])
        locks.append(LockManager(store).acquire_lock("a", "y", ttl=3600, wait=0))

    path = restored(hold, go_on)
    with open_store(f"sqlite:///{path}") as store:
        manager = LockManager(store)
        for lock in locks:
            for call in (manager.extend_lock, manager.release_lock):
                with pytest.raises(LeaseLostError):
                    call("a", lock.lock_token)
            with pytest.raises(LeaseLostError):
                manager.extend_lock(lock)
        taken = manager.acquire_lock("a", "z", wait=30)
        assert taken.fence.number > max(lock.fence.number for lock in locks)
        for lock in locks:
            refused(store, lock)
        assert [info.lock_token for info in manager.list_locks()] == [taken.lock_token]


def test_its_fence_is_void_before_anybody_else_has_the_lock(restored: Restored) -> None:
    locks = []

    def hold(store: Store) -> None:
        locks.append(LockManager(store).acquire_lock("a", "x", ttl=3600))

    path = restored(hold, lambda store: None)
    with open_store(f"sqlite:///{path}") as store:
        refused(store, locks[0])


def refused(store: Store, lock: DistributedLock) -> None:
    """Fail unless nothing can be written under a lock."""
    persister = StateMachinePersister(store)
    with pytest.raises(LeaseLostError):
        persister.append("doc", Event("noted", state=2), expected=ANY, fence=lock)
    assert not persister.exists("doc")
