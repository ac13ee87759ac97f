"""What writers wrote down outside the store: before each append what they meant, after it what came of it.

One file per writer, one line per fact. A line is one write to a file opened for appending, so what a writer wrote
before it was killed is there, and at most its last line is cut short.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Outcome = Literal["acknowledged", "refused"]

_MARKS: dict[str, Outcome] = {"a": "acknowledged", "r": "refused"}


class Intent(NamedTuple):
    """An append that a writer was about to make. ``name`` is stored with the event, and used only once."""

    name: str
    state_id: str
    version: int
    digest: str


def digest_of(state: bytes) -> str:
    """Names a state by its content."""
    return hashlib.sha256(state).hexdigest()[:24]


class Ledger:
    """Where one writer process writes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._write("\n")  # the process before may have been killed in the middle of a line

    def intend(self, intent: Intent) -> None:
        """Before the append."""
        self._write(f"i {intent.name} {intent.state_id} {intent.version} {intent.digest}\n")

    def acknowledge(self, intent: Intent) -> None:
        """The append returned."""
        self._write(f"a {intent.name}\n")

    def refuse(self, intent: Intent) -> None:
        """Somebody else was faster: nothing of it may be stored."""
        self._write(f"r {intent.name}\n")

    def started(self, recovered: int, lost: int) -> None:
        """The process recovered every state and goes on."""
        self._write(f"s {recovered} {lost}\n")

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode())


@dataclass(slots=True, kw_only=True)
class Records:
    """All that the writers wrote down."""

    intents: dict[str, Intent] = field(default_factory=dict[str, Intent])
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    starts: int = 0
    lost_at_start: int = 0

    def named(self, outcome: Outcome) -> list[Intent]:
        """The intents with an outcome."""
        return [self.intents[name] for name, found in self.outcomes.items() if found == outcome]

    @property
    def in_flight(self) -> list[Intent]:
        """The appends whose writer was killed before it knew."""
        return [intent for name, intent in self.intents.items() if name not in self.outcomes]


def read_ledgers(paths: Iterable[Path]) -> Records:
    """Everything in some ledgers; lines that a kill cut short are left out.

    A writer that was killed before its first line has none.
    """
    records = Records()
    for path in filter(Path.exists, paths):
        for line in path.read_text().split("\n")[:-1]:
            _read_line(line.split(" "), records)
    return records


def _read_line(parts: list[str], records: Records) -> None:
    match parts:
        case ["i", name, state_id, version, digest] if len(digest) == 24:
            records.intents[name] = Intent(name, state_id, int(version), digest)
        case ["a" | "r" as mark, name] if name in records.intents:
            records.outcomes[name] = _MARKS[mark]
        case ["s", recovered, lost] if recovered.isdigit() and lost.isdigit():
            records.starts += 1
            records.lost_at_start += int(lost)
        case _:
            pass
