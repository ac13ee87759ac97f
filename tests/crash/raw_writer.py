"""A bare SQLite writer: ``raw_writer.py FOLDER SYNCHRONOUS ROWS``. Prints each row's number once it is committed."""

from __future__ import annotations

import hashlib
import os
import sys

import apsw


def payload(number: int) -> bytes:
    """What row ``number`` holds."""
    return hashlib.sha512(str(number).encode()).digest() * 4


def main(folder: str, synchronous: str, rows: int) -> None:
    """Commit rows one by one, with a checkpoint every few."""
    connection = apsw.Connection(f"{folder}/raw.db")
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.pragma("wal_autocheckpoint", 8)
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, payload)")
    for number in range(rows):
        connection.execute("INSERT INTO rows VALUES (?, ?)", (number, payload(number)))
        os.write(1, f"{number}\n".encode())
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
