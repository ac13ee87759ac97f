"""Writers that are killed: a small server that forks them, kills them at random moments, and forks them again.

``kill_writer.py`` reads lines ``FOLDER KILLS SEED MANNER`` and answers each with how many writers it killed. It never
opens a store itself: only its children do. Each writer says what it is about to do, and what came of it, in a file of
its own beside the store. The manner is ``honest``, or ``early`` for writers that acknowledge before they append, which
whoever checks them must notice.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from eventstate import ANY, AppendTo, Machine, StateMachinePersister, StateNotFoundError, StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.stores.sqlite.connection import Settings
from eventstate.stores.sqlite.store import SqliteStore

FILE = "store.db"
ERRORS = "errors.txt"
GOVERNOR = "kills"
WRITERS = {"a": 1, "b": 1, "c": 4}
"""Names, and in how many threads each writes."""


@dataclass(frozen=True)
class Written:
    """``mark`` is unique: it names the command and the place in it."""

    mark: str
    padding: str = ""


@dataclass(frozen=True)
class Ledger:
    """The digest is over all marks so far: who acknowledges it acknowledges the whole history."""

    count: int = 0
    digest: str = ""


def evolve(ledger: Ledger, event: Written) -> Ledger:
    return Ledger(ledger.count + 1, chained(ledger.digest, event.mark))


def chained(digest: str, mark: str) -> str:
    return hashlib.sha256(f"{digest}{mark}".encode()).hexdigest()[:16]


ledgers = Machine("ledger", Ledger(), evolve)


class Command(NamedTuple):
    """One append under an idempotency key: the key alone says what it does."""

    key: str

    @property
    def number(self) -> int:
        return int(self.key.rpartition(".")[2])

    @property
    def own(self) -> str:
        """The stream that nobody else writes to while this writer lives."""
        return self.key.partition(".")[0]

    @property
    def size(self) -> int:
        """How many events it appends."""
        return (1, 1, 3, 3)[self.number % 4]

    def event(self, part: int) -> Written:
        return Written(f"{self.key}/{part}", "x" * (5000 if self.number % 9 == 0 else self.number % 50))

    def run(self, persister: StateMachinePersister) -> list[StateSnapshot[Ledger]]:
        match self.number % 4:
            case 0:
                return [persister.append(ledgers, self.own, self.event(0), expected=ANY, idempotency_key=self.key)]
            case 1:
                return [persister.execute(ledgers, "shared", decide, self.key, idempotency_key=self.key)]
            case 2:
                return persister.append_together(
                    AppendTo(ledgers, "shared", self.event(0), expected=ANY),
                    AppendTo(ledgers, self.own, self.event(1), self.event(2), expected=ANY),
                    idempotency_key=self.key,
                )
            case _:
                events = [self.event(part) for part in range(3)]
                return [persister.append(ledgers, "shared", *events, expected=ANY, idempotency_key=self.key)]


def decide(_ledger: Ledger, key: str) -> Written:
    return Command(key).event(0)


def open_kills(folder: Path) -> Store:
    """The store, with a log so short that kills meet checkpoints too."""
    return SqliteStore(Settings(path=str(folder / FILE), wal_pages=40), BlockingRuntime())


def persister_on(store: Store) -> StateMachinePersister:
    return StateMachinePersister(store, governor=GOVERNOR, machines=[ledgers], snapshot_every=6, keep_snapshots=2)


def note(log: int, *words: object) -> None:
    """One line in one system call: a kill can cut short the last line of a log, and none before it."""
    os.write(log, (" ".join(map(str, words)) + "\n").encode())


def acknowledge(log: int, command: Command, states: list[StateSnapshot[Ledger]]) -> None:
    for state in states:
        note(log, "done", command.key, state.id, state.version, state.data.digest)


def work_honestly(log: int, command: Command, persister: StateMachinePersister) -> None:
    acknowledge(log, command, command.run(persister))


def work_early(log: int, command: Command, persister: StateMachinePersister) -> None:
    """What no writer may do: a kill after the acknowledgement and before the commit loses an acknowledged event."""
    try:
        before = persister.load(ledgers, command.own)
    except StateNotFoundError:
        before = StateSnapshot(id=ledgers.state_id(command.own), data=Ledger())
    event = command.event(0)
    after = StateSnapshot(id=before.id, data=evolve(before.data, event), version=before.version + 1)
    acknowledge(log, command, [after])
    persister.append(ledgers, command.own, event, expected=before, idempotency_key=command.key)


MANNERS = {"honest": work_honestly, "early": work_early}


def write(folder: Path, name: str, life: int, manner: str, up: int) -> None:
    """Write until killed, or until the parent is gone."""
    parent = os.getppid()
    log = os.open(folder / f"{name}.{life}.log", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    with open_kills(folder) as store:
        persister = persister_on(store)
        os.write(up, b"u")

        def work(thread: int) -> None:
            number = life % 4
            while os.getppid() == parent:
                command = Command(f"{name}{thread}.{life}.{number}")
                note(log, "begin", command.key)
                MANNERS[manner](log, command, persister)
                number += 1

        threads = [guarded(folder, work, thread) for thread in range(1, WRITERS[name])]
        for thread in threads:
            thread.start()
        work(0)


def guarded(folder: Path, work: Callable[[int], None], thread: int) -> threading.Thread:
    def run() -> None:
        try:
            work(thread)
        except BaseException:
            fail(folder)

    return threading.Thread(target=run, daemon=True)


def fail(folder: Path) -> None:
    """Nothing may go wrong but the kill."""
    with (folder / ERRORS).open("a") as file:
        file.write(traceback.format_exc())
    os._exit(1)


class Life(NamedTuple):
    """A writer that lives, and when to end it; None until it is up."""

    pid: int
    up: int
    end: float | None


class Reaper:
    """Keeps the writers alive, and kills them."""

    births = count(1)

    def __init__(self, folder: Path, seed: int, manner: str) -> None:
        self._folder = folder
        self._manner = manner
        self._chance = random.Random(seed)
        self._lives: dict[str, Life] = {}
        self._has_failed = False
        self.kills = 0

    def run(self, kills: int) -> None:
        """Kill so many writers, and then those that are left; fewer if one ends by itself.

        Raises:
            TimeoutError: it takes half a minute more than a fifth of a second for each.
        """
        try:
            self._kill_until(kills, time.monotonic() + 30 + kills / 5)
        finally:
            for name in list(self._lives):
                self._kill(name)

    def _kill_until(self, kills: int, deadline: float) -> None:
        while self.kills < kills and not self._has_failed:
            for name in WRITERS.keys() - self._lives.keys():
                self._lives[name] = self._born(name)
            self._wait()
            due = [name for name, life in self._lives.items() if life.end is not None and life.end <= time.monotonic()]
            if due and self._chance.random() < 0.1:
                due = list(self._lives)  # at times none is left to keep the log's index
            for name in due:
                self._kill(name)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.kills} kills of {kills}")

    def _born(self, name: str) -> Life:
        life = next(self.births)
        read, up = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read)
                write(self._folder, name, life, self._manner, up)
            except BaseException:
                fail(self._folder)
            finally:
                os._exit(1)
        os.close(up)
        return Life(pid, read, None)

    def _wait(self) -> None:
        ends = [life.end for life in self._lives.values() if life.end is not None]
        waiting = {life.up: name for name, life in self._lives.items() if life.end is None}
        patience = max(0.0, min(ends, default=time.monotonic() + 0.05) - time.monotonic())
        for up in select.select(list(waiting), [], [], patience)[0]:
            name = waiting[up]
            if os.read(up, 1):
                self._lives[name] = self._lives[name]._replace(end=time.monotonic() + self._chance.uniform(0.005, 0.06))
            else:  # it ended by itself
                self._kill(name)

    def _kill(self, name: str) -> None:
        life = self._lives.pop(name)
        os.kill(life.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(life.pid, 0)[1])
        os.close(life.up)
        if code == -signal.SIGKILL:
            self.kills += 1
        else:
            self._has_failed = True
            with (self._folder / ERRORS).open("a") as file:
                file.write(f"writer {name} ended by itself: {code}\n")


def serve() -> None:
    for line in sys.stdin:
        folder, kills, seed, manner = line.split()
        reaper = Reaper(Path(folder), int(seed), manner)
        reaper.run(int(kills))
        print(reaper.kills, flush=True)


if __name__ == "__main__":
    serve()
