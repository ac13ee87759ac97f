"""Writers and subscribers as processes of their own, killed again and again; at the end it is judged what was told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

import orjson

from eventstate import open_store
from eventstate.log.following import Selection
from eventstate.runtime.blocking import drive
from eventstate.testing.deliveries import (
    Got,
    Session,
    Truth,
    Violation,
    check_deliveries,
    committed_entries,
    sessions_of,
)
from tests.subscriptions.reader import selection_of

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.05
TOLD_BYTES = 2_000
"""What a subscriber has written down before it is killed."""


class Outcome(NamedTuple):
    """What came of a party."""

    deliveries: int
    entries: int
    sessions: Counter[str]
    kills: int
    violations: list[Violation]


class Party:
    """Processes on one store.

    Args:
        killed_readers: which subscribers are killed, each time once it has been told something.
        kill_writers, kill_readers: seconds between two kills of one of them.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        writers: int,
        readers: dict[str, str],
        killed_readers: Iterable[str],
        kill_writers: float = 0.7,
        kill_readers: float = 1.0,
        seed: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._url = url
        self._folder = folder
        self._readers = readers
        self._killed = sorted(killed_readers)
        self._kill_writers = kill_writers
        self._kill_readers = kill_readers
        self._random = Random(seed)
        self._environment = {**os.environ, **(environment or {})}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._writer_names = [f"writer-{number}" for number in range(writers)]
        self._sizes: dict[str, int] = {}
        self.kills = 0
        self._reader_kills = 0

    def run(self, *, entries: int, timeout: float, sessions: int = 0) -> Outcome:
        """Go on until so many commits are there, and readers were killed so often; then have everybody come to an end.

        Args:
            sessions: of readers that are killed; on a busy machine they come more slowly than commits.
        """
        began = time.monotonic()
        for name in [*self._readers, *self._writer_names]:
            self._start(name)
        due = {True: began + self._kill_writers, False: began + self._kill_readers}
        try:
            while self._committed() < entries or self._reader_kills < sessions:
                assert time.monotonic() - began < timeout, "the party takes too long"
                time.sleep(LOOK_SECONDS)
                self._revive(list(self._running))
                for is_writer in due:
                    if time.monotonic() >= due[is_writer]:
                        self._kill_one(self._writer_names if is_writer else self._killed)
                        pause = self._kill_writers if is_writer else self._kill_readers
                        due[is_writer] = time.monotonic() + pause * (0.5 + self._random.random())
            self._end(self._writer_names, "writers.stop")
            self._revive(list(self._readers))
            self._end(list(self._readers), "readers.stop")
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()
        return self._outcome()

    def _committed(self) -> int:
        """How many entries there are, as well as one can say at once."""
        with open_store(self._url) as store:
            if store.capabilities.feed_order == "store":
                from eventstate.log.following.ordered import last_position

                return drive(last_position(store))
            return len(drive(committed_entries(store, Selection())))

    def _start(self, name: str) -> None:
        self._sizes[name] = self._size(name)
        if name in self._readers:
            command = ["reader", self._url, name, self._readers[name], str(self._log(name)), self._flag("readers.stop")]
        else:
            command = ["writer", self._url, str(self._random.randrange(1 << 30)), self._flag("writers.stop")]
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", f"tests.subscriptions.{command[0]}", *command[1:]], cwd=ROOT, env=self._environment
        )

    def _flag(self, name: str) -> str:
        return str(self._folder / name)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _kill_one(self, names: list[str]) -> None:
        if not names:
            return
        name = self._random.choice(names)
        process = self._running[name]
        if process.poll() is None and (name in self._writer_names or self._size(name) > self._sizes[name] + TOLD_BYTES):
            process.kill()
            self.kills += 1
            self._reader_kills += name in self._readers

    def _size(self, name: str) -> int:
        log = self._log(name)
        return log.stat().st_size if log.exists() else 0

    def _revive(self, names: list[str]) -> None:
        for name in names:
            code = self._running[name].poll()
            if code is not None:
                assert code == -9, f"{name} ended with {code}"
                self._start(name)

    def _end(self, names: list[str], flag: str) -> None:
        Path(self._flag(flag)).touch()
        for name in names:
            code = self._running[name].wait(120)
            assert code in (0, -9), f"{name} ended with {code}"

    def _outcome(self) -> Outcome:
        deliveries = 0
        sessions: Counter[str] = Counter()
        violations: list[Violation] = []
        with open_store(self._url) as store:
            entries = drive(committed_entries(store, Selection()))
        for name, choice in self._readers.items():
            told = self._told(name)
            deliveries += sum(isinstance(note, Got) for session in told for note in session.notes)
            sessions[name] = len(told)
            violations += check_deliveries(Truth(entries, selection_of(choice)), told)
        return Outcome(deliveries, len(entries), sessions, self.kills, violations)

    def _told(self, name: str) -> list[Session]:
        lines = self._log(name).read_bytes().splitlines()
        return sessions_of([orjson.loads(line) for line in lines])
