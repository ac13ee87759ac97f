"""LangGraph's SqliteSaver: every append is a full checkpoint."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import sqlite3
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver

from benchmarks.arms.langgraph_checkpoints import checkpoint, config, n_of
from benchmarks.arms.session import Shape, durability, machine_name
from benchmarks.payloads import State, state


class LanggraphSession:
    """Keeps the parent checkpoint's id in memory while writing. ``whole``: rebuild reads every checkpoint."""

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self.saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False, timeout=30))
        self.saver.setup()
        self._whole = whole
        self._parents: dict[str, str] = {}

    def append(self, machine: str, before: int, state: State) -> None:
        value, metadata, versions = checkpoint(before, state)
        self.saver.put(config(machine, self._parents.get(machine)), value, metadata, versions)
        self._parents[machine] = value["id"]

    def rebuild(self, machine: str) -> int:
        if self._whole:
            return max(n_of(saved) for saved in self.saver.list(config(machine)))
        return n_of(self.saver.get_tuple(config(machine)))

    def recover(self) -> tuple[int, int]:
        rows = self.saver.conn.execute(
            "SELECT DISTINCT thread_id FROM checkpoints"
        ).fetchall()  # it lists no ids itself
        saved = [self.saver.get_tuple(config(machine)) for (machine,) in rows]
        return len(saved), sum(n_of(one) for one in saved)

    def facts(self) -> dict[str, str]:
        (journal_mode,) = self.saver.conn.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = self.saver.conn.execute("PRAGMA synchronous").fetchone()
        return durability(journal_mode=journal_mode, synchronous=synchronous, sqlite=sqlite3.sqlite_version)

    def close(self) -> None:
        self.saver.conn.close()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> LanggraphSession:
    return LanggraphSession(path, whole=shape is not None and shape.snapshot_every == 0)


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """One checkpoint per event."""
    session = LanggraphSession(path)
    session.saver.conn.execute("PRAGMA synchronous = OFF")
    for n in range(1, shape.events + 1):
        for index in range(shape.machines):
            session.append(machine_name(index), n - 1, state(shape.size, n))
    session.close()
