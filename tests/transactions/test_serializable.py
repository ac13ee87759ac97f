"""Strictly serializable, says the checker: soaks in processes that are killed, in threads, and on the emulator."""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventstate import open_store
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.testing.serializability import Outcome, Transaction, check, read_histories
from tests.transactions import soak
from tests.transactions.reaping import reap
from tests.transactions.soak import FILE, History, Planner, final_lists, losing, manager_on, transact

CHECKER_SECONDS = 120.0


def checked(name: str, history: Sequence[Transaction], final: Mapping[str, Sequence[int]], **figures: object) -> None:
    """Fail unless the checker finds nothing, in time; print what there was to find it in."""
    began = time.monotonic()
    found = check(history, final=final)
    taken = time.monotonic() - began
    outcomes = Counter(one.outcome.name for one in history)
    longest = max(map(len, final.values()))
    print(
        f"{name}: {len(history):,} transactions {dict(outcomes)}, {len(final):,} lists up to {longest} long,"
        f" {figures}; checked in {taken:.1f} s; anomalies: {len(found)}"
    )
    assert [str(one) for one in found] == []
    assert taken < CHECKER_SECONDS, "the checker took too long"
    committed = outcomes["COMMITTED"]
    assert committed > len(history) * 0.5, "hardly anything was committed"
    assert longest >= 4, "no list was shared"


def soak_processes(folder: Path, target: int, kills: int, limit: float) -> None:
    seed = random.randrange(10**9)
    (folder / "period.txt").write_text("0.4")
    began = time.monotonic()
    done = reap(soak.__name__, folder, seed=seed, kills=kills, target=target, life=0.9, names="a,b,c", limit=limit)
    taken = time.monotonic() - began
    history = read_histories(folder)
    with open_store(f"sqlite:///{folder / FILE}") as store:
        final = drive(final_lists(store))
    assert done >= kills
    assert len(history) >= target
    checked("sqlite, 3 processes", history, final, kills=done, seconds=round(taken, 1))
    unknown = sum(one.outcome is Outcome.UNKNOWN for one in history)
    assert unknown >= kills / 4, "the kills met hardly any transaction"


def soak_threads(store: Store, target: int, *, threads: int, period: float, rate: float = 0.03) -> None:
    seed = random.randrange(10**9)
    history = History()
    shared = manager_on(store)
    errors: list[str] = []
    left = iter(range(target))
    mutex = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(f"{seed}{number}")
        manager = shared if number % 2 else manager_on(losing(store, chance, rate))
        planner = Planner(chance, number * 10_000_000, lambda: int(time.monotonic() / period))
        try:
            while True:
                with mutex:
                    if next(left, None) is None:
                        return
                drive(transact(manager, history, planner.plan()))
        except BaseException:
            errors.append(traceback.format_exc())

    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)]
    with switching_often():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(3000)
    assert errors == [], f"seed {seed}\n{errors[0]}"
    checked(f"{store.url.partition(':')[0]}, {threads} threads", history.transactions(), drive(final_lists(store)))


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads that hold the interpreter for a short time only, so that they meet in more places."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.mark.serial
@pytest.mark.timeout(500)
@pytest.mark.backend("sqlite")
def test_processes_that_are_killed(fast_folder: Path) -> None:
    soak_processes(fast_folder, target=6_000, kills=15, limit=400)


@pytest.mark.timeout(300)
@pytest.mark.backend("memory")
def test_threads() -> None:
    with open_store("memory://") as store:
        soak_threads(store, 6_000, threads=6, period=0.1)


@pytest.fixture
def firestore(emulator_host: str, project_id: str) -> Iterator[Store]:
    from eventstate.stores.firestore import open_firestore

    with open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=emulator_host) as store:
        yield store


@pytest.mark.timeout(300)
@pytest.mark.backend("firestore")
def test_on_the_emulator(firestore: Store) -> None:
    soak_threads(firestore, 500, threads=4, period=1.0, rate=0.05)


@pytest.mark.torture
@pytest.mark.serial
@pytest.mark.timeout(3600)
@pytest.mark.backend("sqlite")
def test_processes_that_are_killed_for_long(fast_folder: Path) -> None:
    for round in range(3):
        folder = fast_folder / str(round)
        folder.mkdir()
        soak_processes(folder, target=12_000, kills=50, limit=1200)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.backend("memory")
def test_threads_for_long() -> None:
    for _ in range(2):
        with open_store("memory://") as store:
            soak_threads(store, 15_000, threads=8, period=0.1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.backend("firestore")
def test_on_the_emulator_for_long(firestore: Store) -> None:
    soak_threads(firestore, 3_000, threads=6, period=1.0, rate=0.05)
