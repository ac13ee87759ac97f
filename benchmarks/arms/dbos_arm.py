"""The library dbos: one workflow per machine, one step per append, on its SQLite system database."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.arms.session import Shape, durability
from benchmarks.payloads import CHANGED_BY, REASON, State

RUNS: dict[str, Callable[[], None]] = {}
"""What each workflow does: workflow arguments are stored, so they can't hold a function."""


@DBOS.step()
def change(data: State, changed_by: str, reason: str) -> dict[str, Any]:
    return {"data": data, "changed_by": changed_by, "reason": reason}


@DBOS.workflow()
def write(machine: str) -> None:
    RUNS[machine]()


class DbosSession:
    """Appends are only possible inside a workflow: see `within`."""

    def __init__(self, path: Path) -> None:
        config: DBOSConfig = {
            "name": "benchmark",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "ERROR",
        }
        self.dbos = DBOS(config=config)
        DBOS.launch()

    def within(self, machine: str, run: Callable[[], None]) -> None:
        RUNS[machine] = run
        with SetWorkflowID(machine):
            write(machine)

    def append(self, machine: str, before: int, state: State) -> None:
        change(state, CHANGED_BY, REASON)

    def rebuild(self, machine: str) -> int:
        return DBOS.list_workflow_steps(machine)[-1]["output"]["data"]["n"]

    def recover(self) -> tuple[int, int]:
        raise NotImplementedError("recovery runs workflows again through a queue: not comparable")

    def facts(self) -> dict[str, str]:
        with self.dbos._sys_db.engine.connect() as connection:
            journal_mode = connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar_one()
            synchronous = connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar_one()
        return durability(journal_mode=journal_mode, synchronous=synchronous, sqlite=sqlite3.sqlite_version)

    def close(self) -> None:
        DBOS.destroy()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> DbosSession:
    return DbosSession(path)
