"""Noticing what others commit: other processes, across forks, and until the end."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import apsw
import pytest

from eventstate import open_async_store, open_store
from eventstate.core.documents import CURSOR, Committed, Key, Require
from eventstate.errors import StoreUnavailableError
from eventstate.runtime.blocking import drive
from eventstate.stores.sqlite.watching import Watching
from eventstate.stores.watching import Watch
from tests.errors.children import in_child
from tests.stores.sqlite.world import commit, engine_of, get, put

pytestmark = pytest.mark.backend("sqlite")

A, B = Key(CURSOR, "g", "a"), Key(CURSOR, "g", "b")
SOON = 30.0
"""So long is waited for what comes at once where all is well."""

WRITER = """
import sys, time
from eventstate import open_store
from eventstate.core.documents import *
from eventstate.runtime.blocking import drive
with open_store(sys.argv[1]) as store:
    for line in sys.stdin:
        drive(store.commit(Batch(line.strip(), [Put(Key(CURSOR, "g", "a"), line.encode(), Require.ANY)])))
        print(time.monotonic(), flush=True)
"""


class OtherProcess:
    """Writes document ``a`` when told to."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.write("warm-up")

    def write(self, text: str) -> float:
        """The moment after the commit, by the machine's clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def wait(watch: Watch, timeout: float = SOON) -> bool:
    return drive(watch.wait(timeout))


def peace(watch: Watch) -> None:
    while wait(watch, 0.1):
        pass


def ended(name: str = "eventstate-sqlite-watch") -> bool:
    """Whether no thread of this name is left, after a while at most."""
    deadline = time.monotonic() + SOON
    while any(thread.name == name for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.serial
def test_a_commit_of_another_process_wakes_soon(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, OtherProcess(sqlite_url) as other, store.watch([A]) as watch:
        taken: list[float] = []
        for number in range(20):
            peace(watch)
            committed = other.write(str(number))
            assert wait(watch)
            taken.append(time.monotonic() - committed)
            assert get(store, A).body == b"%d\n" % number
        assert statistics.median(taken) < 1


@pytest.mark.serial
def test_a_commit_of_another_process_wakes_a_task_soon(sqlite_url: str) -> None:
    async def main() -> list[float]:
        taken: list[float] = []
        async with open_async_store(sqlite_url) as store:
            with store.watch([A]) as watch:
                for number in range(20):
                    while await watch.wait(0.1):
                        pass
                    committed = await asyncio.to_thread(other.write, str(number))
                    assert await watch.wait(SOON)
                    taken.append(time.monotonic() - committed)
        return taken

    with OtherProcess(sqlite_url) as other:
        assert statistics.median(asyncio.run(main())) < 1


def test_forks_in_between(sqlite_url: str) -> None:
    """The child has a store of its own; the parent goes on noticing, and notices the child."""
    with open_store(sqlite_url) as store, store.watch([A]) as watch:

        def child(number: int) -> bool:
            with open_store(sqlite_url) as own, own.watch([B]) as mine:
                commit(own, put("b", b"%d" % number, Require.ANY))
                assert wait(mine)
                return isinstance(commit(own, put("a", b"%d" % number, Require.ANY)), Committed)

        for number in range(10):
            peace(watch)
            assert in_child(lambda number=number: child(number))
            while get(store, A).body != b"%d" % number:
                assert wait(watch), "the child's commit was not noticed"
            peace(watch)
            commit(store, put("a", b"own", Require.ANY))
            assert wait(watch)
            with OtherProcess(sqlite_url):
                while get(store, A).body != b"warm-up\n":
                    assert wait(watch), "nothing is noticed after a fork"
    assert ended()


def test_a_child_closes_what_it_inherited(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, store.watch([A]) as watch:
        peace(watch)
        assert in_child(lambda: (watch.close(), store.close())) == (None, None)
        commit(store, put("a", b"1", Require.ANY))
        assert wait(watch)


def test_nothing_is_left_after_the_last_watch(tmp_path: Path, sqlite_url: str) -> None:
    others = apsw.connections()  # of other tests: their threads may still be at work

    def opened() -> int:
        return sum(connection not in others for connection in apsw.connections())

    with open_store(sqlite_url) as store:
        before = opened()
        for _ in range(3):
            with store.watch([A]), store.watch([A, B]) as second:
                assert opened() == before + 1
                commit(store, put("b", b"1", Require.ANY))
                assert wait(second)
            assert ended()
            assert opened() == before
        watch = store.watch([A])
    assert ended()
    assert opened() == 0
    assert wait(watch), "those who wait are told of the end"
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]


def test_closing_in_the_middle_of_a_look_leaves_no_connection(sqlite_url: str) -> None:
    others = apsw.connections()
    for _ in range(100):
        store = open_store(sqlite_url)
        store.watch([A])
        time.sleep(0.0101)
        store.close()
    assert ended()
    assert [connection for connection in apsw.connections() if connection not in others] == []


def test_a_file_that_can_not_be_read_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """And noticed when it can be again."""
    works = threading.Event()
    made: list[apsw.Connection] = []

    def connect() -> apsw.Connection:
        if not works.is_set():
            raise StoreUnavailableError(store="sqlite:///x.db", detail="gone")
        made.append(apsw.Connection(":memory:"))
        return made[-1]

    class Runtime:
        def waiter(self) -> Any:
            raise AssertionError

    watching = Watching(connect)
    with caplog.at_level(logging.WARNING):
        watch = watching.add([A], Runtime())  # type: ignore[arg-type]
        deadline = time.monotonic() + SOON
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        assert len(caplog.messages) == 1
        works.set()
        deadline = time.monotonic() + SOON
        while not watch._signal._is_set and time.monotonic() < deadline:
            time.sleep(0.01)
        assert watch._signal._is_set
    watching.close()
    assert ended()


def test_a_loop_that_was_closed_under_its_watch_disturbs_no_commit(sqlite_url: str) -> None:
    loop = asyncio.new_event_loop()
    kept: list[Any] = []

    async def begin() -> None:
        store = open_async_store(sqlite_url)
        watch = store.watch([A])
        waiting = asyncio.ensure_future(watch.wait(60))
        await asyncio.sleep(0.05)
        kept.extend((store, watch, waiting))

    loop.run_until_complete(begin())
    loop.close()
    with open_store(sqlite_url) as store, store.watch([A]) as watch:
        assert engine_of(store) is engine_of(kept[0])
        assert isinstance(commit(store, put("a", b"1", Require.ANY)), Committed)
        assert wait(watch)
        peace(watch)
        with OtherProcess(sqlite_url):
            assert wait(watch), "the thread that looks for changes is gone"
    store, watch, waiting = kept
    watch.close()
    waiting._log_destroy_pending = False
    waiting.get_coro().close()
    engine_of(store).close()
    assert ended()
