"""Stored bytes changed behind the library's back."""

from __future__ import annotations

from pathlib import Path

import apsw


def flip_entry(file: Path, id: str, version: int) -> None:
    """Change one bit in the middle of an entry."""
    _flip(file, "entries", "stream = (SELECT number FROM streams WHERE id = ?) AND version = ?", (id, version))


def flip_head(file: Path, id: str) -> None:
    """Change one bit in the middle of a head."""
    _flip(file, "heads", "stream = (SELECT number FROM streams WHERE id = ?)", (id,))


def _flip(file: Path, table: str, where: str, bindings: tuple[str | int, ...]) -> None:
    connection = apsw.Connection(str(file))
    try:
        body = bytearray(connection.execute(f"SELECT body FROM {table} WHERE {where}", bindings).get)
        body[len(body) // 2] ^= 1
        connection.execute(f"UPDATE {table} SET body = ? WHERE {where}", (bytes(body), *bindings))
        assert connection.changes() == 1
    finally:
        connection.close()
