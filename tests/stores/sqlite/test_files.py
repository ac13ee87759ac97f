"""The files of a store: who may read them, and what is left of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstate import StateMachinePersister, open_store
from tests.stores.sqlite.world import engine_of

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


@pytest.mark.usefixtures("no_umask")
def test_only_their_owner_can_read_the_files(tmp_path: Path, sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        assert modes(tmp_path) == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


@pytest.mark.usefixtures("no_umask")
def test_an_existing_file_keeps_its_rights(tmp_path: Path, sqlite_url: str) -> None:
    open_store(sqlite_url).close()
    (tmp_path / "store.db").chmod(0o640)
    with open_store(sqlite_url) as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        assert set(modes(tmp_path).values()) == {0o640}


def test_closing_leaves_one_file_that_holds_everything(tmp_path: Path, sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        assert (tmp_path / "store.db-wal").stat().st_size > 0
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]
    moved = (tmp_path / "store.db").rename(tmp_path / "moved.db")
    with open_store(f"sqlite:///{moved}") as store:
        assert StateMachinePersister(store).load("doc").data == 1


def test_no_files_stay_open(tmp_path: Path, sqlite_url: str) -> None:
    def open_files() -> list[str]:
        links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        return [str(link.readlink()) for link in links if link.is_symlink()]

    for _ in range(3):
        with open_store(sqlite_url) as store:
            persister = StateMachinePersister(store)
            persister.save_state("doc", 1, expected=persister.load("doc").version if persister.exists("doc") else 0)
            list(persister.history("doc"))
        assert not [name for name in open_files() if str(tmp_path) in name]


@pytest.mark.parametrize(
    ("options", "durability", "synchronous"),
    [
        ("", "power-loss", 2),
        ("?durability=full", "power-loss", 2),
        ("?durability=normal", "process-crash", 1),
        ("?durability=off", "none", 0),
    ],
)
def test_what_a_commit_survives_is_said_and_set(
    sqlite_url: str, options: str, durability: str, synchronous: int
) -> None:
    with open_store(sqlite_url + options) as store:
        assert store.capabilities.durability == durability
        with engine_of(store).exclusive_writer() as writer:
            assert writer.pragma("synchronous") == synchronous
            assert writer.pragma("journal_mode") == "wal"
            assert writer.pragma("wal_autocheckpoint") == 0
