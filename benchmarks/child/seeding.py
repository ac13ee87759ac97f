"""Writing the stores that the reading workloads use, and their size on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from benchmarks.child.opening import arm, shape
from benchmarks.protocol import Request


def run(request: Request) -> dict[str, Any]:
    path = Path(request.path)
    arm(request).seed(path, shape(request), variant=request.variant)
    checkpoint(path)
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    return {"bytes": size, "bytes_per_event": size / (request.machines * request.events)}


def checkpoint(path: Path) -> None:
    """Bring everything from the write-ahead log into the database file, so that sizes compare."""
    connection = sqlite3.connect(path)
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    if busy:
        raise RuntimeError("the store is still in use after its arm has closed it")
