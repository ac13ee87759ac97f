"""Backups of a store that is written to, and bringing them back."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import apsw
import pytest

from eventstate import (
    ANY,
    ConfigurationError,
    Event,
    EventStateError,
    FormatError,
    InvalidInputError,
    NotADatabaseError,
    StateMachinePersister,
    StoreUnavailableError,
    open_store,
)
from eventstate.stores.sqlite import schema
from eventstate.stores.sqlite.backup import backup, restore
from tests.errors.children import in_child
from tests.stores.sqlite.world import engine_of, url_of

pytestmark = pytest.mark.backend("sqlite")


def saved(path: Path, data: object = 1) -> None:
    with open_store(url_of(path)) as store:
        persister = StateMachinePersister(store)
        version = persister.load("doc").version if persister.exists("doc") else 0
        persister.save_state("doc", data, expected=version)


def loaded(path: Path) -> object:
    with open_store(url_of(path, "?mode=ro")) as store:
        persister = StateMachinePersister(store)
        assert persister.validate_consistency().is_consistent
        return persister.load("doc").data


def test_a_backup_taken_while_writers_go_on_is_consistent(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path / "store.db")) as store:
        persister = StateMachinePersister(store, snapshot_every=5)
        done = threading.Event()
        acknowledged = [0] * 4

        def work(name: int) -> None:
            while not done.is_set():
                persister.append(f"doc-{name}", Event("x", state="x" * 500), expected=ANY)
                acknowledged[name] += 1

        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in range(4)]
        for thread in threads:
            thread.start()
        while min(acknowledged) < 3:
            time.sleep(0.001)
        for number in range(5):
            before = list(acknowledged)
            size = backup(store, tmp_path / f"copy-{number}.db")
            after = list(acknowledged)
            copy = tmp_path / f"copy-{number}.db"
            assert size == copy.stat().st_size
            assert copy.stat().st_mode & 0o777 == 0o600
            with open_store(url_of(copy, "?mode=ro")) as copied:
                reader = StateMachinePersister(copied)
                assert reader.validate_consistency().is_consistent
                for name in range(4):
                    assert before[name] <= reader.load(f"doc-{name}").version <= after[name] + 1
        done.set()
        for thread in threads:
            thread.join(30)
        assert persister.validate_consistency().is_consistent
    assert not list(tmp_path.glob("*.partial"))


def test_a_restored_store_is_a_new_incarnation(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    with open_store(url_of(path)) as store:
        persister = StateMachinePersister(store)
        first = persister.save_state("doc", 1, expected=0)
        backup(store, copy)
        node, epoch = store.node, engine_of(store).epoch
        persister.save_state("doc", "lost by the restore", expected=1)
    assert restore(copy, path, replace=True) == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    with open_store(url_of(path)) as store:
        assert store.node != node
        assert store.node.startswith(node)
        assert engine_of(store).epoch == epoch + 1
        persister = StateMachinePersister(store)
        assert persister.load("doc").data == 1
        second = persister.save_state("doc", 2, expected=1)
        assert first.causality.happened_before(second.causality)
        assert set(second.causality.as_dict()) == {node, store.node}
        assert persister.validate_consistency().is_consistent
        third = tmp_path / "third.db"
        backup(store, third)
    restore(third, tmp_path / "fourth.db")
    with open_store(url_of(tmp_path / "fourth.db")) as store:
        assert engine_of(store).epoch == epoch + 2
    # What was restored from is left as it was, for the next time.
    assert loaded(copy) == 1
    assert loaded(third) == 2


def test_a_live_store_is_not_replaced(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    saved(path)
    with open_store(url_of(path)) as store:
        backup(store, copy)
        with pytest.raises(StoreUnavailableError, match="a process has it open"):
            restore(copy, path, replace=True)
        persister = StateMachinePersister(store)
        assert persister.save_state("doc", 2, expected=1).version == 2
    for options in ("", "?mode=ro"):
        ready, done = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                with open_store(url_of(path, options)) as store:
                    StateMachinePersister(store).load("doc")
                    os.write(ready[1], b"x")
                    os.read(done[0], 1)
            finally:
                os._exit(0)
        os.read(ready[0], 1)
        with pytest.raises(StoreUnavailableError, match="a process has it open"):
            restore(copy, path, replace=True)
        os.write(done[1], b"x")
        os.waitpid(pid, 0)
        for end in (*ready, *done):
            os.close(end)
    assert loaded(path) == 2
    restore(copy, path, replace=True)
    assert loaded(path) == 1


def test_a_log_left_behind_is_not_replayed_into_a_restored_store(tmp_path: Path) -> None:
    """As after a crash: the old file with a log beside it."""
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    saved(path, "old")
    with open_store(url_of(path)) as store:
        backup(store, copy)

    def crash() -> None:
        store = open_store(url_of(path))
        StateMachinePersister(store).save_state("doc", "in the log", expected=1)
        os._exit(0)

    with pytest.raises(AssertionError):
        in_child(crash)
    assert (tmp_path / "store.db-wal").stat().st_size > 0
    restore(copy, path, replace=True)
    assert not (tmp_path / "store.db-wal").exists()
    assert loaded(path) == "old"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    saved(path)
    copy.write_text("precious")
    with open_store(url_of(path)) as store:
        with pytest.raises(InvalidInputError, match="name a new file"):
            backup(store, copy)
        with pytest.raises(ConfigurationError, match="make it first"):
            backup(store, tmp_path / "missing" / "copy.db")
    with open_store("memory://") as memory, pytest.raises(InvalidInputError, match="no SQLite store"):
        backup(memory, tmp_path / "memory.db")
    assert copy.read_text() == "precious"
    with pytest.raises(InvalidInputError, match="replace=True"):
        restore(path, copy)
    with pytest.raises(InvalidInputError, match="does not exist"):
        restore(tmp_path / "nothing.db", tmp_path / "new.db")
    with pytest.raises(ConfigurationError, match="make it first"):
        restore(path, tmp_path / "missing" / "new.db")
    assert copy.read_text() == "precious"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "store.db"]


def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    saved(path)
    text, other, newer, empty = (tmp_path / name for name in ("text", "other.db", "newer.db", "empty.db"))
    text.write_text("Dear diary, " * 100)
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    empty.touch()
    with open_store(url_of(path)) as store:
        backup(store, newer)
    connection = apsw.Connection(str(newer))
    connection.pragma("user_version", schema.FORMAT + 1)
    connection.close()
    for source, error in (
        (text, NotADatabaseError),
        (other, NotADatabaseError),
        (empty, NotADatabaseError),
        (newer, FormatError),
    ):
        for target in (path, tmp_path / "new.db"):
            with pytest.raises(error):
                restore(source, target, replace=True)
    with pytest.raises(EventStateError):
        restore(tmp_path, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    assert loaded(path) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_a_backup_can_be_opened_where_nothing_can_be_written(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "folder" / "copy.db"
    saved(path)
    copy.parent.mkdir()
    with open_store(url_of(path)) as store:
        backup(store, copy)
    assert loaded(copy) == 1
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]
