"""One file, many stores: one engine per process, shared by sync and asyncio stores; several processes on the file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    Event,
    StateMachinePersister,
    open_async_store,
    open_store,
)
from eventstate.runtime.blocking import drive
from tests.stores.sqlite.world import engine_of

pytestmark = pytest.mark.backend("sqlite")


def test_two_stores_of_a_process_share_one_engine_and_see_each_other(tmp_path: Path, sqlite_url: str) -> None:
    with open_store(sqlite_url) as one, open_store(sqlite_url) as other:
        assert engine_of(one) is engine_of(other)
        assert one.node == other.node
        first, second = StateMachinePersister(one), StateMachinePersister(other)
        first.save_state("doc", 1, expected=0)
        assert second.load("doc").data == 1
        second.save_state("doc", 2, expected=1)
        assert first.load("doc").data == 2
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "store.db")
    with open_store(sqlite_url) as one, open_store(f"sqlite:///{link}") as other:
        assert engine_of(one) is engine_of(other)
    with open_store(sqlite_url) as one, open_store(sqlite_url + "?mode=ro") as reader:
        assert engine_of(one) is not engine_of(reader)


def test_the_engine_lives_as_long_as_its_last_store(sqlite_url: str) -> None:
    one, other = open_store(sqlite_url), open_store(sqlite_url)
    engine = engine_of(one)
    one.close()
    one.close()
    assert not engine.is_closed
    assert StateMachinePersister(other).save_state("doc", 1, expected=0).version == 1
    other.close()
    assert engine.is_closed
    with open_store(sqlite_url) as again:
        assert engine_of(again) is not engine
        assert StateMachinePersister(again).load("doc").data == 1


def test_sync_and_asyncio_stores_on_one_file(sqlite_url: str) -> None:
    async def tasks() -> None:
        async with open_async_store(sqlite_url) as store:
            persister = AsyncStateMachinePersister(store)

            async def work(name: int) -> None:
                for version in range(10):
                    await persister.append(f"task-{name}", Event("x", state=version), expected=version)

            await asyncio.gather(*(work(name) for name in range(16)))

    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)

        def work(name: int) -> None:
            for version in range(10):
                persister.append(f"thread-{name}", Event("x", state=version), expected=version)

        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in range(8)]
        threads += [threading.Thread(target=lambda: asyncio.run(tasks()), daemon=True) for _ in range(1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert not any(thread.is_alive() for thread in threads)
        assert persister.get_stats().total_events == 240
        assert persister.validate_consistency().is_consistent


def test_a_sync_store_used_inside_the_loop_of_an_asyncio_store(sqlite_url: str) -> None:
    """Bad manners, since it blocks the loop, but it must end."""

    async def main() -> int:
        with open_store(sqlite_url) as blocking:
            sync = StateMachinePersister(blocking)
            async with open_async_store(sqlite_url) as store:
                persister = AsyncStateMachinePersister(store)
                for number in range(20):
                    tasks = [
                        asyncio.create_task(persister.append(f"a-{n}", Event("x", state=n), expected=ANY))
                        for n in range(5)
                    ]
                    await asyncio.sleep(0)
                    sync.append("s", Event("x", state=number), expected=number)
                    await asyncio.gather(*tasks)
                return sync.get_stats().total_events

    outcome: list[int] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(main())), daemon=True)
    thread.start()
    thread.join(60)
    assert outcome == [120]


WRITER = """
import sys
from eventstate import *
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.stdin.readline()  # all begin at once
with open_store(url) as store:
    persister = StateMachinePersister(store, snapshot_every=10)
    for number in range(count):
        persister.append("shared", Event("x", state=[name, number]), expected=ANY)
        state = persister.append("own-" + name, Event("x", state=number), expected=number)
        print(state.position, flush=False)
"""


def test_many_processes_make_one_file_at_once(tmp_path: Path) -> None:
    """Switching a new file to its log needs it for oneself for a moment: the others wait."""
    for number in range(15):
        url = f"sqlite:///{tmp_path}/store-{number}.db"
        go = os.pipe()
        pids: list[int] = []
        for name in range(6):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    os.read(go[0], 1)
                    with open_store(url) as store:
                        StateMachinePersister(store).save_state(f"doc-{name}", name, expected=0)
                    code = 0
                finally:
                    os._exit(code)
            pids.append(pid)
        os.write(go[1], b"x" * len(pids))
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)
        os.close(go[0])
        os.close(go[1])
        with open_store(url) as store:
            assert len(StateMachinePersister(store).list_states().states) == len(pids)


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_process_that_is_just_making_the_file_is_waited_for(tmp_path: Path, sqlite_url: str, begin: str) -> None:
    (tmp_path / "store.db").touch()
    other = apsw.Connection(f"{tmp_path}/store.db")
    other.execute(begin)
    other.execute("SELECT * FROM sqlite_schema").fetchall()
    outcome: list[object] = []

    def work() -> None:
        try:
            with open_store(sqlite_url) as store:
                outcome.append(StateMachinePersister(store).save_state("doc", 1, expected=0).version)
        except BaseException as error:
            outcome.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.3)
    waiting = worker.is_alive()
    other.execute("COMMIT")
    worker.join(30)
    other.close()
    assert outcome == [1]
    assert waiting


def test_several_processes_append_to_one_file(tmp_path: Path, sqlite_url: str) -> None:
    """All of them make the file, too."""
    count, names = 40, ["a", "b", "c", "d"]
    command = [sys.executable, "-c", WRITER, sqlite_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([*command, name, str(count)], env=environment, **pipes) for name in names]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    outputs = [writer.communicate(timeout=100) for writer in writers]
    assert [(writer.returncode, error) for writer, (_, error) in zip(writers, outputs, strict=True)] == [(0, "")] * 4
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        shared = [tuple(t.to_state) for t in persister.history("shared")]
        assert len(shared) == len(set(shared)) == count * 4
        for name in names:
            assert [number for who, number in shared if who == name] == list(range(count))
            assert [t.to_state for t in persister.history(f"own-{name}")] == list(range(count))
        entries = drive(store.feed(0)).entries
        assert [position for position, _ in entries] == list(range(1, count * 8 + 1))
        versions = [document.key.n for _, document in entries if document.key.id == "shared"]
        assert versions == list(range(1, count * 4 + 1))
        assert persister.validate_consistency().is_consistent
    told = [int(line) for output, _ in outputs for line in output.split()]
    assert len(set(told)) == count * 4
