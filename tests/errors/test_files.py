"""Files that are no store, or can't be one: one typed error that says what to do, and nothing changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventstate import (
    ConfigurationError,
    CorruptionError,
    Event,
    EventStateError,
    FormatError,
    NotADatabaseError,
    StateMachinePersister,
    StoreClosedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    open_store,
)
from eventstate.stores.sqlite import schema

pytestmark = pytest.mark.backend("sqlite")


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 500)


def tiny(path: Path) -> None:
    path.write_text("hi")


def binary(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)


def other_application(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')")
    connection.close()


def other_wal(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


def other_id(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("application_id", 0x1234)
    connection.close()


def other_version(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 7)
    connection.close()


def newer(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE things (text)")
    connection.pragma("application_id", schema.APPLICATION_ID)
    connection.pragma("user_version", schema.FORMAT + 4)
    connection.close()


@pytest.mark.parametrize("mode", ["rw", "ro"])
@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (text, NotADatabaseError, "no SQLite database"),
        (tiny, NotADatabaseError, "no SQLite database"),
        (binary, NotADatabaseError, "no SQLite database"),
        (other_application, NotADatabaseError, "another application"),
        (other_wal, NotADatabaseError, "another application"),
        (other_id, NotADatabaseError, "another application"),
        (other_version, NotADatabaseError, "another application"),
        (newer, FormatError, "upgrade eventstate"),
        (Path.mkdir, NotADatabaseError, "it is a folder"),
    ],
)
def test_what_is_no_store_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], error: type[EventStateError], said: str, mode: str
) -> None:
    path = tmp_path / "thing.db"
    make(path)

    def contents() -> dict[str, bytes]:
        # Reading a file in WAL mode makes an index beside it, which a read-only connection can't remove again.
        beside = ("-shm", "-wal") if mode == "ro" else ()
        return {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file() and not f.name.endswith(beside)}

    before = contents()
    for _ in range(2):
        with pytest.raises(error, match=said) as caught:
            open_store(f"{url_of(path)}?mode={mode}")
        assert str(path) in str(caught.value)
        assert not caught.value.is_transient
    assert contents() == before
    if isinstance(caught.value, FormatError):
        assert (caught.value.found, caught.value.supported) == (schema.FORMAT + 4, schema.FORMAT)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    with pytest.raises(NotADatabaseError):
        open_store(url_of(path) + "?mode=ro")
    with open_store(url_of(path)) as store:
        assert StateMachinePersister(store).save_state("doc", 1, expected=0).version == 1


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_paths_that_lead_nowhere(tmp_path: Path, mode: str) -> None:
    (tmp_path / "file").touch()
    for path, said in [
        ("missing/store.db", "make it first" if mode == "rw" else "no such file"),
        ("file/store.db", "no file can have this path" if mode == "rw" else "no such file"),
        ("x" * 300 + ".db", "no file can have this path"),
        ("nul%00.db", "no file can have this path"),
    ]:
        with pytest.raises((ConfigurationError, StoreUnavailableError), match=said):
            open_store(f"{url_of(tmp_path)}/{path}?mode={mode}")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_link_to_a_store_is_the_store(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    (tmp_path / "loop.db").symlink_to(tmp_path / "loop.db")
    with open_store(url_of(tmp_path / "store.db")) as one, open_store(url_of(tmp_path / "link.db")) as other:
        StateMachinePersister(one).save_state("doc", 1, expected=0)
        assert StateMachinePersister(other).load("doc").data == 1
    with pytest.raises(EventStateError):
        open_store(url_of(tmp_path / "loop.db"))


def test_a_closed_store(tmp_path: Path) -> None:
    for url in (url_of(tmp_path / "store.db"), "memory://"):
        store = open_store(url)
        persister = StateMachinePersister(store)
        persister.save_state("doc", 1, expected=0)
        store.close()
        store.close()
        calls: list[Callable[[], Any]] = [
            lambda: persister.load("doc"),  # noqa: B023
            lambda: persister.save_state("doc", 2, expected=1),  # noqa: B023
            lambda: list(persister.history("doc")),  # noqa: B023
            lambda: persister.list_states(),  # noqa: B023
            lambda: persister.list_governors(),  # noqa: B023
            lambda: persister.recover_all(),  # noqa: B023
        ]
        for call in calls:
            with pytest.raises(StoreClosedError, match="open it again with open_store") as caught:
                call()
            assert caught.value.store == store.url
    with open_store(url_of(tmp_path / "store.db")) as again:
        assert StateMachinePersister(again).load("doc").data == 1


def test_a_store_opened_read_only_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    url = url_of(tmp_path / "store.db")
    with open_store(url) as store:
        StateMachinePersister(store).save_state("doc", {"a": 1}, expected=0)
    with open_store(url + "?mode=ro") as store:
        persister = StateMachinePersister(store)
        for call in (
            lambda: persister.save_state("doc", 2, expected=1),
            lambda: persister.append("new", Event("x", state=1), expected=0),
            lambda: persister.delete_state("doc", expected=1),
            lambda: persister.create_snapshot("doc"),
        ):
            with pytest.raises(StoreReadOnlyError, match=r"opened with \?mode=ro"):
                call()
        assert persister.load("doc").data == {"a": 1}
        assert persister.validate_consistency().is_consistent
        assert persister.recover_all().current == 1
        assert len(list(persister.history("doc"))) == 1
    with pytest.raises(StoreUnavailableError, match="no such file"):
        open_store(url_of(tmp_path / "missing.db") + "?mode=ro")
    assert not (tmp_path / "missing.db").exists()


def test_a_file_with_damaged_pages(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with open_store(url_of(path)) as store:
        persister = StateMachinePersister(store)
        for number in range(50):
            persister.save_state(f"doc-{number}", {"pad": "x" * 500}, expected=0)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)
    with pytest.raises(EventStateError) as caught, open_store(url_of(path)) as store:
        StateMachinePersister(store).list_states()
    assert isinstance(caught.value, CorruptionError)
    assert str(path) in str(caught.value)


def test_a_file_that_is_deleted_under_an_open_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with open_store(url_of(path)) as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
        with open_store(url_of(path)) as fresh:
            assert StateMachinePersister(fresh).list_states().states == []
            assert StateMachinePersister(fresh).save_state("doc", 2, expected=0).version == 1
    with open_store(url_of(path)) as store:
        assert StateMachinePersister(store).load("doc").data == 2
