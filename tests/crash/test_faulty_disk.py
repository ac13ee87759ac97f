"""The faulty disk fails when and how it was told to, and shows the mistakes of a careless writer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import apsw
import pytest

from eventstate.testing.iofaults import OPERATIONS, Fault, FaultyDisk, Operation


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with FaultyDisk() as disk:
        yield disk


def rows_in(path: Path) -> list[int]:
    connection = apsw.Connection(str(path), vfs="unix")
    try:
        return [row[0] for row in connection.execute("SELECT number FROM rows ORDER BY number")]
    finally:
        connection.close()


def prepared(path: Path, checkpoint_pages: int = 0) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("wal_autocheckpoint", checkpoint_pages)
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, payload)")
    return connection


def insert(connection: apsw.Connection, number: int) -> bool:
    """Whether a row was committed without an error."""
    try:
        connection.execute("INSERT INTO rows VALUES (?, zeroblob(300))", (number,))
    except (apsw.IOError, apsw.FullError):
        return False
    return True


def test_a_disk_without_a_fault_works(disk: FaultyDisk, fast_folder: Path) -> None:
    connection = prepared(fast_folder / "raw.db")
    assert all(insert(connection, number) for number in range(5))
    connection.close()
    assert rows_in(fast_folder / "raw.db") == [0, 1, 2, 3, 4]
    assert disk.hits == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(operation="write", number=3), apsw.IOError),
        (Fault(operation="write", number=3, kind="enospc"), apsw.FullError),
        (Fault(operation="write", number=3, kind="short"), apsw.FullError),
        (Fault(operation="sync", number=2), apsw.IOError),
    ],
)
def test_it_fails_once_and_works_again(
    fault: Fault, error: type[apsw.Error], disk: FaultyDisk, fast_folder: Path
) -> None:
    connection = prepared(fast_folder / "raw.db")
    disk.arm(fault)
    done = [insert(connection, number) for number in range(4)]
    assert (done.count(False), disk.hits) == (1, 1)
    assert type(fault.error) is error
    connection.close()


def test_it_fails_for_ever_until_disarmed(disk: FaultyDisk, fast_folder: Path) -> None:
    connection = prepared(fast_folder / "raw.db")
    disk.arm(Fault(operation="sync", number=2, sticky=True))
    assert [insert(connection, number) for number in range(4)] == [True, False, False, False]
    disk.disarm()
    assert insert(connection, 9)
    connection.close()


def use_all_operations(path: Path) -> None:
    connection = prepared(path)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_can_fail(operation: Operation, disk: FaultyDisk, fast_folder: Path) -> None:
    disk.arm(Fault(operation=operation, number=1))
    with pytest.raises(apsw.Error):
        use_all_operations(fast_folder / "raw.db")
    assert disk.hits == 1


def test_a_short_write_leaves_half(disk: FaultyDisk, fast_folder: Path) -> None:
    connection = prepared(fast_folder / "raw.db")
    before = (fast_folder / "raw.db-wal").stat().st_size
    disk.arm(Fault(operation="write", number=2, kind="short"))
    assert not insert(connection, 1)
    assert (fast_folder / "raw.db-wal").stat().st_size == before + 24 + 2048  # a frame's head, half a page
    connection.close()


def test_a_silent_short_write_loses_a_row_without_an_error(disk: FaultyDisk, fast_folder: Path) -> None:
    connection = prepared(fast_folder / "raw.db")
    disk.arm(Fault(operation="write", number=2, kind="silent"))
    assert insert(connection, 1)
    assert disk.hits == 1
    connection.close()


def test_a_fault_that_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="short"):
        Fault(operation="open", number=1, kind="short")


def test_other_connections_are_not_affected_afterwards(fast_folder: Path) -> None:
    with FaultyDisk() as disk:
        disk.arm(Fault(operation="open", number=1, sticky=True))
        with pytest.raises(apsw.CantOpenError):
            prepared(fast_folder / "raw.db")
    prepared(fast_folder / "raw.db").close()


def test_a_writer_that_takes_every_error_of_a_commit_for_a_failure_is_caught(
    disk: FaultyDisk, fast_folder: Path
) -> None:
    """With SQLite's own checkpoints a COMMIT raises although it has committed."""
    deceived = 0
    for number in count(1):
        path = fast_folder / f"raw{number}.db"
        connection = prepared(path, checkpoint_pages=4)
        disk.arm(Fault(operation="sync", number=number))
        failed = [row for row in range(12) if not insert(connection, row)]
        hits = disk.hits
        disk.disarm()
        connection.close()
        if not hits:
            break
        deceived += bool(set(failed) & set(rows_in(path)))
    assert number > 10
    assert deceived > 3
