"""No rights, no space, a lock held too long, a fork: what the surroundings do to a store, in real children."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    ConfigurationError,
    Event,
    EventStateError,
    StateMachinePersister,
    StorageFullError,
    Store,
    StoreForkedError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
    open_async_store,
    open_store,
)
from eventstate.stores.sqlite.connection import Settings
from eventstate.stores.sqlite.store import SqliteStore
from tests.crash.tally import HastyRuntime
from tests.errors.children import in_child

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="eventstate-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def url_of(folder: Path, options: str = "") -> str:
    return f"sqlite:///{folder / 'store.db'}{options}"


def fill(url: str, states: int = 1) -> None:
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        for number in range(states):
            persister.save_state(f"doc-{number}", {"n": number}, expected=0)


def save(url: str) -> int:
    with open_store(url) as store:
        return StateMachinePersister(store).save_state("more", 1, expected=ANY).version


def load(url: str) -> Any:
    with open_store(url) as store:
        return StateMachinePersister(store).load("doc-0").data


# Rights. Tests may run as root, whom no rights bind: the child is another user then.


def test_a_file_that_this_user_may_not_read(shared_folder: Path) -> None:
    url = url_of(shared_folder)
    fill(url)
    (shared_folder / "store.db").chmod(0o000)
    for call in (lambda: save(url), lambda: load(url + "?mode=ro")):
        with pytest.raises(StorePermissionError, match="can't be read by this user") as caught:
            in_child(call, as_nobody=True)
        assert not caught.value.is_transient
    (shared_folder / "store.db").chmod(0o600)
    assert load(url) == {"n": 0}


def test_a_file_that_this_user_may_not_write(shared_folder: Path) -> None:
    url = url_of(shared_folder)
    fill(url)
    (shared_folder / "store.db").chmod(0o444)
    with pytest.raises(StoreReadOnlyError, match=r"open with \?mode=ro"):
        in_child(lambda: save(url), as_nobody=True)
    assert in_child(lambda: load(url + "?mode=ro"), as_nobody=True) == {"n": 0}


def test_a_folder_that_this_user_may_not_write(shared_folder: Path) -> None:
    shared_folder.chmod(0o755)
    url = url_of(shared_folder)
    if os.getuid() != 0:
        shared_folder.chmod(0o555)
    with pytest.raises(StorePermissionError, match="rights of the file and its folders"):
        in_child(lambda: save(url), as_nobody=True)
    assert list(shared_folder.iterdir()) == []


def test_a_file_in_a_folder_that_this_user_may_not_write(shared_folder: Path) -> None:
    """SQLite needs its log beside the file."""
    url = url_of(shared_folder)
    fill(url)
    (shared_folder / "store.db").chmod(0o666)
    shared_folder.chmod(0o555)
    for options in ("", "?mode=ro"):
        with pytest.raises((StoreReadOnlyError, StorePermissionError, StoreUnavailableError), match="folder") as caught:
            in_child(lambda: (load if "ro" in options else save)(url + options), as_nobody=True)  # noqa: B023
        assert "store.db" in str(caught.value)
    shared_folder.chmod(0o777)
    assert load(url) == {"n": 0}


def test_a_folder_that_this_user_may_not_enter(shared_folder: Path) -> None:
    url = url_of(shared_folder)
    fill(url)
    shared_folder.chmod(0o000)
    for options in ("", "?mode=ro"):
        with pytest.raises(StorePermissionError, match="Permission denied"):
            in_child(lambda: save(url + options), as_nobody=True)  # noqa: B023
    shared_folder.chmod(0o777)
    assert load(url) == {"n": 0}


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory, where this user may mount one."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=4m"):
        url = url_of(tmp_path)
        fill(url)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises((StoreReadOnlyError, StoreUnavailableError)) as caught:
            save(url)
        assert "store.db" in str(caught.value)
        with pytest.raises(StoreReadOnlyError, match="Read-only file system"):
            open_store(f"sqlite:///{tmp_path}/other.db")
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path)], check=True)
        assert save(url) == 1


# Space


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m"):
        with open_store(url_of(tmp_path)) as store:
            persister = StateMachinePersister(store)
            acknowledged: list[str] = []

            def save_many() -> None:
                for number in range(1000):
                    persister.save_state(f"doc-{number}", {"pad": "x" * 20_000}, expected=0)
                    acknowledged.append(f"doc-{number}")

            with pytest.raises(StorageFullError, match="free space and try again") as caught:
                save_many()
            assert not caught.value.is_transient
            assert len(acknowledged) > 5
            # Reads go on, nothing acknowledged is gone, nothing refused is there.
            assert [s.id for s in persister.list_states(limit=1000).states] == sorted(acknowledged)
            assert persister.validate_consistency().is_consistent
            for _ in range(3):
                with pytest.raises(StorageFullError):
                    persister.save_state("big", {"pad": "x" * 200_000}, expected=0)
            subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path)], check=True)
            assert persister.save_state("big", {"pad": "x" * 200_000}, expected=0).version == 1
            assert persister.validate_consistency().is_consistent
        with open_store(url_of(tmp_path)) as store:
            found = StateMachinePersister(store).list_states(limit=1000).states
            assert [s.id for s in found] == sorted([*acknowledged, "big"])


def test_no_space_to_make_a_store_in(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=64k"):
        (tmp_path / "filler").write_bytes(b"x" * 65_536)
        with pytest.raises((StorageFullError, StoreUnavailableError)) as caught:
            save(url_of(tmp_path))
        assert isinstance(caught.value, StorageFullError)
        (tmp_path / "filler").unlink()


def beyond_the_limit(folder: Path) -> list[str]:
    """Write until the process may not make its files larger, then lift the limit and go on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    acknowledged: list[str] = []
    with SqliteStore(Settings(path=str(folder / "store.db")), HastyRuntime()) as store:
        persister = StateMachinePersister(store)
        try:
            for number in range(1000):
                key = f"k{number}"
                persister.save_state(f"doc-{number}", {"pad": "x" * 20_000}, expected=0, idempotency_key=key)
                acknowledged.append(f"doc-{number}")
        except EventStateError:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        number = len(acknowledged)
        again = persister.save_state(f"doc-{number}", {"pad": "x" * 20_000}, expected=0, idempotency_key=f"k{number}")
        assert again.version == 1
        assert persister.validate_consistency().is_consistent
    return [*acknowledged, f"doc-{number}"]


def test_files_that_may_grow_no_larger(tmp_path: Path) -> None:
    """Not ENOSPC but EFBIG: the outcome of the commit is settled, and the same call succeeds once there is room."""
    written = in_child(lambda: beyond_the_limit(tmp_path))
    assert 3 < len(written) < 1000
    with open_store(url_of(tmp_path)) as store:
        found = StateMachinePersister(store).list_states(limit=1000).states
        assert [s.id for s in found] == sorted(written)


# A lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            connection = apsw.Connection(str(path))
            connection.execute("BEGIN IMMEDIATE")
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            connection.close(True)
        finally:
            os._exit(0)
    os.read(ready[0], 1)
    try:
        yield
    finally:
        os.write(done[1], b"x")
        os.waitpid(pid, 0)
        for end in (*ready, *done):
            os.close(end)


def test_a_lock_held_longer_than_the_timeout(tmp_path: Path) -> None:
    url = url_of(tmp_path, "?timeout=0.3")
    fill(url)
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        with locked(tmp_path / "store.db"):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match=r"another process kept it locked.*timeout=") as caught:
                persister.save_state("more", 1, expected=0)
            assert 0.25 < time.monotonic() - began < 30
            assert caught.value.is_transient
            assert caught.value.suggested_backoff > 0
            assert persister.load("doc-0").data == {"n": 0}  # readers go on
            assert not persister.exists("more")
        assert persister.save_state("more", 1, expected=0).version == 1


def test_a_lock_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    url = url_of(tmp_path, "?timeout=20")
    fill(url)

    async def waits() -> float:
        longest, last = 0.0, time.monotonic()
        async with open_async_store(url) as store:
            persister = AsyncStateMachinePersister(store)
            with locked(tmp_path / "store.db"):
                saving = asyncio.create_task(persister.save_state("more", 1, expected=0))
                for _ in range(30):  # the loop runs on meanwhile
                    await asyncio.sleep(0.01)
                    longest, last = max(longest, time.monotonic() - last), time.monotonic()
                assert not saving.done()
            assert (await saving).version == 1
        return longest

    assert asyncio.run(waits()) < 15


# Forks


def use_inherited(store: Store, persister: StateMachinePersister) -> list[str]:
    """What a child gets that goes on with its parent's store."""
    raised: list[str] = []
    for call in (
        lambda: persister.load("doc-0"),
        lambda: persister.save_state("doc-0", 5, expected=1),
        lambda: list(persister.history("doc-0")),
        lambda: persister.list_governors(),
    ):
        try:
            call()
        except StoreForkedError as error:
            raised.append(str(error))
    store.close()
    return raised


def test_a_child_can_not_use_its_parents_store_and_harms_nothing(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    fill(url)
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc-0", 1, expected=1)
        raised = in_child(lambda: use_inherited(store, persister))
        assert len(raised) == 4
        assert all("open it again here" in text for text in raised)
        assert persister.save_state("doc-0", 2, expected=2).version == 3
        assert persister.load("doc-0").data == 2
    assert load(url) == 2


def test_a_child_can_open_the_store_anew(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    fill(url)
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        persister.load("doc-0")
        assert in_child(lambda: save(url)) == 1
        assert persister.load("more").version == 1
        assert persister.save_state("more", 2, expected=1).version == 2


def test_a_memory_store_is_inherited_whole_and_each_process_has_its_own_from_then_on() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        persister.append("doc", Event("x", state=1), expected=0)
        assert in_child(lambda: persister.append("doc", Event("x", state=2), expected=1).version) == 2
        assert persister.load("doc").version == 1


def test_an_engine_is_shared_with_one_durability(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)), pytest.raises(ConfigurationError, match="durability=full"):
        open_store(url_of(tmp_path, "?durability=off"))
