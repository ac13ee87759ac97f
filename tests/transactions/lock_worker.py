"""A process that acquires one lock again and again and writes under it: ``lock_worker.py FOLDER NAME LIFE``.

It says what it does in a log of its own, one line in one system call, so that a kill cuts no line but the last:
``acquired NUMBER WAITED``, ``wrote NUMBER PART``, ``refused NUMBER PART late`` (or ``early``: its lease was still
running by its own clock, which nobody may see), ``stale NUMBER`` (a second attempt was refused too) and
``released NUMBER``. Anything else that goes wrong is a line in ``errors.txt``. It ends when ``stop`` is there.
"""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from eventstate import (
    ANY,
    DistributedLock,
    LeaseLostError,
    LockManager,
    Machine,
    StateMachinePersister,
    open_store,
)
from eventstate.stores.base import Store

TTL_SECONDS = 0.4
RESOURCE = "the lock"
LEDGER = "1"
FILE, STOP, ERRORS = "store.db", "stop", "errors.txt"


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / FILE}"


@dataclass(frozen=True)
class Wrote:
    """Written under which number, which of that hold's writes, by whom."""

    number: int
    part: int
    client: str


def counted(count: int, _event: Wrote) -> int:
    return count + 1


ledgers = Machine("ledger", 0, counted)


class Worker:
    def __init__(self, folder: Path, name: str, life: str, store: Store) -> None:
        self.folder = folder
        self.client = f"{name}.{life}.{os.getpid()}"
        self._log = os.open(folder / f"{name}.{life}.log", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._store = store
        self._locks = LockManager(store)
        self._persister = StateMachinePersister(store, machines=[ledgers])
        self._chance = random.Random(f"{name} {life}")

    def note(self, *words: object) -> None:
        os.write(self._log, (" ".join(map(str, words)) + "\n").encode())

    def run(self) -> None:
        parent = os.getppid()
        while not (self.folder / STOP).exists() and os.getppid() == parent:
            began = time.monotonic()
            if self._chance.random() < 0.5:
                try:
                    with self._locks.lock(RESOURCE, self.client, ttl=TTL_SECONDS, wait=60) as lock:
                        self.work(lock, began)
                except LeaseLostError:
                    self.note("lost", lock.fence.number)
                else:
                    self.note("released", lock.fence.number)
            else:
                lock = self._locks.acquire_lock(RESOURCE, self.client, ttl=TTL_SECONDS, wait=60)
                self.work(lock, began)
                try:
                    self._locks.release_lock(lock)
                    self.note("released", lock.fence.number)
                except LeaseLostError:
                    self.note("lost", lock.fence.number)

    def work(self, lock: DistributedLock, began: float) -> None:
        number = lock.fence.number
        self.note("acquired", number, f"{time.monotonic() - began:.3f}")
        for part in range(self._chance.randrange(1, 5)):
            try:
                self.write(self._persister, lock, part)
            except LeaseLostError:
                # By its own clock the lease must be over, which is never later than by the store's.
                self.note("refused", number, part, "late" if time.monotonic() >= lock.deadline else "early")
                self.insist(lock)
                return
            self.note("wrote", number, part)
            time.sleep(self._chance.random() * 0.004)

    def write(self, persister: StateMachinePersister, lock: DistributedLock, part: int) -> None:
        persister.append(ledgers, LEDGER, Wrote(lock.fence.number, part, self.client), expected=ANY, fence=lock)

    def insist(self, lock: DistributedLock) -> None:
        """Try again with another persister, which remembers nothing."""
        try:
            self.write(StateMachinePersister(self._store, machines=[ledgers]), lock, 99)
        except LeaseLostError:
            self.note("stale", lock.fence.number)
        else:
            raise AssertionError(f"a stale write under {lock.lock_token} was accepted")


def main(folder: Path, name: str, life: str) -> None:
    try:
        with open_store(url_in(folder)) as store:
            Worker(folder, name, life, store).run()
    except BaseException:
        with (folder / ERRORS).open("a") as file:
            file.write(f"{name}.{life}: {traceback.format_exc()}\n")
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
