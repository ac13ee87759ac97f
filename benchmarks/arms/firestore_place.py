"""Where a Firestore arm works: the runner's path is ``HOST:PORT/PROJECT`` of an emulator."""

from __future__ import annotations

from pathlib import Path

COLLECTION = "bench"


def place(path: Path) -> tuple[str, str]:
    """The emulator's ``host:port``, and the project."""
    return path.parent.name, path.name
