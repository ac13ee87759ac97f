"""The write-ahead log stays small, says why where it can't, and never makes a commit fail."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import apsw
import pytest

from eventstate import ANY, Event, StateMachinePersister, open_store
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.sqlite import checkpoint
from eventstate.stores.sqlite.checkpoint import HARD_FACTOR, Checkpointer
from eventstate.stores.sqlite.connection import Settings
from eventstate.stores.sqlite.store import SqliteStore

pytestmark = pytest.mark.backend("sqlite")

SOFT = 50
PAGE = 4096 + 24


def open_small(tmp_path: Path) -> SqliteStore:
    return SqliteStore(Settings(path=str(tmp_path / "store.db"), durability="off", wal_pages=SOFT), BlockingRuntime())


def pages(tmp_path: Path) -> float:
    return (tmp_path / "store.db-wal").stat().st_size / PAGE


def append(persister: StateMachinePersister, count: int, id: str = "doc") -> None:
    for _ in range(count):
        persister.append(id, Event("x", state="x" * 1000), expected=ANY)


def test_the_log_stays_within_its_bound(tmp_path: Path) -> None:
    with open_small(tmp_path) as store:
        persister = StateMachinePersister(store, snapshot_every=10)
        largest = 0.0
        for _ in range(60):
            append(persister, 10)
            largest = max(largest, pages(tmp_path))
        assert SOFT / 2 < largest < SOFT * HARD_FACTOR
        assert persister.load("doc").version == 600


def test_the_log_stays_within_its_bound_beside_busy_readers(tmp_path: Path) -> None:
    with open_small(tmp_path) as store:
        persister = StateMachinePersister(store)
        append(persister, 20)
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                list(persister.history("doc"))

        readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
        for reader in readers:
            reader.start()
        largest = 0.0
        for _ in range(40):
            append(persister, 10, "busy")
            largest = max(largest, pages(tmp_path))
        done.set()
        for reader in readers:
            reader.join(30)
        assert largest < SOFT * HARD_FACTOR * 2


def test_a_reader_that_holds_the_log_is_named_and_commits_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_small(tmp_path) as store:
        persister = StateMachinePersister(store)
        append(persister, 5)
        shell = apsw.Connection(f"{tmp_path}/store.db")  # such as somebody's SQLite shell with an open cursor
        shell.execute("BEGIN")
        shell.execute("SELECT count(*) FROM heads").fetchall()
        with caplog.at_level(logging.WARNING, "eventstate.sqlite"):
            append(persister, 200)
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == 1  # not one a commit
        assert "can't shrink" in warnings[0]
        assert "close it" in warnings[0]
        assert str(tmp_path) in warnings[0]
        held = pages(tmp_path)
        assert held > SOFT * HARD_FACTOR
        shell.execute("COMMIT")
        shell.close()
        append(persister, 200)
        assert pages(tmp_path) < held * 1.5
        checked = persister.validate_consistency()
        assert checked.is_consistent
        assert checked.total_events == 405


def test_a_failing_checkpoint_is_no_commits_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 0
    real = checkpoint.Checkpointer.run_if_due

    class Failing:
        """A writer connection whose checkpoints fail."""

        def __init__(self, writer: apsw.Connection) -> None:
            self._writer = writer

        def __getattr__(self, name: str) -> object:
            return getattr(self._writer, name)

        def wal_checkpoint(self, **_: object) -> None:
            nonlocal failures
            failures += 1
            raise apsw.IOError("disk I/O error")

    def failing(self: Checkpointer, writer: apsw.Connection) -> None:
        real(self, Failing(writer))  # type: ignore[arg-type]

    with open_small(tmp_path) as store:
        persister = StateMachinePersister(store)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "eventstate.sqlite"):
            patch.setattr(Checkpointer, "run_if_due", failing)
            append(persister, 100)
        assert failures > 1
        assert "will be tried again" in caplog.text
        grown = pages(tmp_path)
        assert persister.load("doc").version == 100
        append(persister, 200)
        assert pages(tmp_path) <= grown + SOFT * HARD_FACTOR
        assert persister.validate_consistency().is_consistent


def test_what_a_blocked_checkpoint_put_off_is_not_put_off_once_the_log_begins_anew(tmp_path: Path) -> None:
    """Another process may have copied the log back meanwhile."""
    checkpointer = Checkpointer(Settings(path=str(tmp_path / "store.db"), wal_pages=SOFT))
    copied: list[int] = []

    class Writer:
        def set_busy_timeout(self, _milliseconds: int) -> None: ...
        def set_busy_handler(self, _handler: object) -> None: ...

        def wal_checkpoint(self, mode: int) -> tuple[int, int]:
            copied.append(mode)
            return 5000, 10

    connection = Writer()
    for logged, due in [(SOFT - 1, False), (5000, True), (5001, False), (10, False), (SOFT, True)]:
        before = len(copied)
        checkpointer._note(None, "main", logged)  # type: ignore[arg-type]
        checkpointer.run_if_due(connection)  # type: ignore[arg-type]
        assert (len(copied) > before) is due, logged


def test_a_reader_inside_the_store_never_holds_the_log(tmp_path: Path) -> None:
    """Iterators over a long history hold nothing open between their pages."""
    with open_small(tmp_path) as store:
        persister = StateMachinePersister(store)
        append(persister, 600)
        history = persister.history("doc")
        next(history)
        recovery = persister.recover()
        next(recovery)
        append(persister, 300)
        assert pages(tmp_path) < SOFT * HARD_FACTOR
        assert len(list(history)) == 899  # it goes to where the stream is by then


def test_the_file_grows_no_further_once_it_is_read_and_written_at_rest(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert not (tmp_path / "store.db-wal").exists()
