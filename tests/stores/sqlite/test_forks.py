"""A store in a process that forks: the child begins anew, and neither can harm the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventstate import ANY, Event, NotSupportedError, StateMachinePersister, open_store
from eventstate.stores.sqlite import sharing
from tests.errors.children import in_child
from tests.stores.sqlite.world import engine_of

pytestmark = pytest.mark.backend("sqlite")


def locks_of(pid: int, path: Path) -> int:
    """How many locks the kernel holds for a process on a store's files."""
    inodes = {str(file.stat().st_ino) for file in path.parent.glob(path.name + "*")}
    held = 0
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        held += fields[4] == str(pid) and fields[5].rpartition(":")[2] in inodes
    return held


def states(url: str) -> set[str]:
    with open_store(url) as store:
        return {state.id for state in StateMachinePersister(store).list_states(limit=1000).states}


def test_what_a_child_acknowledges_stays_when_its_parent_closes(tmp_path: Path, sqlite_url: str) -> None:
    """The child must hold locks of its own: else its parent, as the last one by the locks, deletes the log under it."""
    path = tmp_path / "store.db"
    steps = [os.pipe() for _ in range(3)]

    store = open_store(sqlite_url)
    StateMachinePersister(store).save_state("parent", 1, expected=0)
    pid = os.fork()
    if pid == 0:
        try:
            with open_store(sqlite_url) as own:
                persister = StateMachinePersister(own)
                persister.save_state("early", 1, expected=0)
                os.write(steps[0][1], bytes([locks_of(os.getpid(), path)]))
                os.read(steps[1][0], 1)
                for number in range(20):
                    persister.save_state(f"late-{number}", number, expected=0)
                os.write(steps[2][1], b"x")
                time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(steps[0][0], 1)[0] > 0
    store.close()
    os.write(steps[1][1], b"x")
    assert os.read(steps[2][0], 1) == b"x"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert states(sqlite_url) == {"parent", "early", *(f"late-{number}" for number in range(20))}
    for ends in steps:
        for end in ends:
            os.close(end)


def test_parent_and_children_write_together(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc", 0, expected=0)

        def work(name: int) -> None:
            with open_store(sqlite_url) as own:
                mine = StateMachinePersister(own)
                for number in range(20):
                    mine.append("doc", Event("x", state=[name, number]), expected=ANY)
            os._exit(0)

        pids: list[int] = []
        for name in range(3):
            pid = os.fork()
            if pid == 0:
                try:
                    work(name)
                finally:
                    os._exit(1)
            pids.append(pid)
        for number in range(20):
            persister.append("doc", Event("x", state=["parent", number]), expected=ANY)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
        assert persister.load("doc").version == 81
        assert persister.validate_consistency().is_consistent


def test_forks_in_the_middle_of_reads_and_commits(sqlite_url: str) -> None:
    """Other threads are stopped for the moment of the fork, and go on afterwards."""
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc", 0, expected=0)
        done = threading.Event()
        odd: list[BaseException] = []
        written = [0] * 4

        def write(name: int) -> None:
            try:
                while not done.is_set():
                    persister.append(f"own-{name}", Event("x", state=1), expected=ANY)
                    written[name] += 1
            except BaseException as error:
                odd.append(error)

        def read() -> None:
            try:
                while not done.is_set():
                    persister.list_states()
            except BaseException as error:
                odd.append(error)

        threads = [threading.Thread(target=write, args=(name,), daemon=True) for name in range(4)]
        threads += [threading.Thread(target=read, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()

        def child() -> int:
            with open_store(sqlite_url) as own:
                return StateMachinePersister(own).append("children", Event("x", state=1), expected=ANY).version

        versions = [in_child(child) for _ in range(15)]
        done.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert odd == []
        assert versions == list(range(1, 16))
        assert [persister.load(f"own-{name}").version for name in range(4)] == written
        assert persister.validate_consistency().is_consistent


def test_no_connection_is_open_at_the_moment_of_a_fork(sqlite_url: str) -> None:
    others = apsw.connections()  # of other tests: their threads may still be at work

    def opened() -> int:
        return sum(connection not in others for connection in apsw.connections())

    with open_store(sqlite_url) as store, open_store(sqlite_url + "?mode=ro") as reader:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
        StateMachinePersister(reader).load("doc")
        assert opened() >= 2
        assert in_child(opened) == 0
        assert StateMachinePersister(reader).load("doc").data == 1
        assert StateMachinePersister(store).save_state("doc", 2, expected=1).version == 2


@pytest.mark.parametrize("has_ctypes", [True, False])
def test_a_child_forked_in_the_middle_of_a_commit_is_told_so(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, has_ctypes: bool
) -> None:
    """Where quiet can't be had in time, the child gets a typed error instead of a file without locks."""
    monkeypatch.setattr(sharing, "FORK_PATIENCE_SECONDS", 0.05)
    if not has_ctypes:
        monkeypatch.setattr(sharing, "_load_ctypes", lambda: None)
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc", 1, expected=0)
        held, go = threading.Event(), threading.Event()

        def hold() -> None:
            with engine_of(store).exclusive_writer() as writer:
                writer.execute("BEGIN IMMEDIATE")
                held.set()
                go.wait(20)
                writer.execute("COMMIT")

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(20)

        def child() -> None:
            open_store(sqlite_url)

        with pytest.raises(NotSupportedError, match="spawn"):
            in_child(child)
        go.set()
        holder.join()
        assert persister.save_state("doc", 2, expected=1).version == 2
        assert in_child(lambda: states(sqlite_url)) == {"doc"}


def in_pool(url: str, number: int) -> int:
    with open_store(url) as store:
        return StateMachinePersister(store).save_state(f"pool-{number}", number, expected=0).version


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(sqlite_url: str, method: Any) -> None:
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc", 1, expected=0)
        if method == "fork":
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.starmap(in_pool, [(sqlite_url, number) for number in range(4)]) == [1, 1, 1, 1]
        else:
            process = multiprocessing.get_context(method).Process(target=in_pool, args=(sqlite_url, 0))
            process.start()
            process.join(60)
            assert process.exitcode == 0
        assert persister.exists("pool-0")
