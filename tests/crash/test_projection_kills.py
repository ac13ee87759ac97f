"""Projectors that are killed between handling and commit count exactly; nobody sees less while it is rebuilt."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from eventstate import Projection, ProjectionManager, StateMachinePersister, open_store
from tests.crash.projection_worker import count, url_of

SECONDS = 900.0

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.projection_worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def stopped(process: subprocess.Popen[str]) -> str:
    """Let it end by itself; what it had printed."""
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return out


def check_counts(file: Path) -> int:
    """Fail unless the projection is what the log says, event by event; how many events."""
    with open_store(url_of(str(file))) as store:
        manager = ProjectionManager(store)
        manager.catch_up(Projection("counts", count))
        persister = StateMachinePersister(store)
        expected: dict[str, dict[str, int]] = defaultdict(lambda: {"events": 0, "sum": 0, "last": 0})
        after, total = "", 0
        while after is not None:
            page = persister.list_states(limit=1000, after=after)
            for state in page.states:
                for event in persister.history(state.id):
                    told = expected[state.id]
                    told["events"] += 1
                    told["sum"] += event.to_state["n"]
                    told["last"] = event.version
                    total += 1
            after = page.next
        found = dict(manager.list("counts"))
        assert found.pop("all", 0) == total
        assert found == expected
        assert manager.status("counts").events == total
        return total


def kill_projectors(file: Path, lives: int) -> int:
    """Two writers, and projectors that are killed one after the other; how many kills."""
    writers = [start("write", str(file), name) for name in "ab"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    try:
        killed = int(stopped(start("nursery", str(file), str(lives), "11")))
    finally:
        for writer in writers:
            stopped(writer)
    assert check_counts(file) > lives
    return killed


def test_projectors_that_are_killed_count_exactly(fast_folder: Path) -> None:
    assert kill_projectors(fast_folder / "kills.db", 20) == 20


@pytest.mark.torture
def test_projectors_that_are_killed_again_and_again_count_exactly(fast_folder: Path) -> None:
    assert kill_projectors(fast_folder / "kills.db", 330) >= 300


def rebuild_beside_writers(file: Path, rebuilds: int) -> None:
    """Four writers, a projector, readers; the projection is rebuilt again and again meanwhile."""
    with open_store(url_of(str(file))) as store:
        ProjectionManager(store).catch_up(Projection("counts", count))
        others = [start("write", str(file), name) for name in "abcd"]
        others.append(start("run", str(file)))
        for process in others:
            assert process.stdout is not None
            process.stdout.readline()
        seen: list[list[int]] = [[], []]
        is_over = threading.Event()

        def look(mine: list[int], manager: ProjectionManager) -> None:
            while not is_over.is_set():
                mine.append(manager.get("counts", "all") or 0)

        readers = [threading.Thread(target=look, args=(mine, ProjectionManager(store))) for mine in seen]
        for reader in readers:
            reader.start()
        try:
            for _ in range(rebuilds):
                ProjectionManager(store).rebuild(Projection("counts", count))
        finally:
            is_over.set()
            for reader in readers:
                reader.join(SECONDS)
            for process in others:
                stopped(process)
        for counts in seen:
            assert len(counts) > 10
            assert counts == sorted(counts), "a reader saw less than before"
        assert ProjectionManager(store).status("counts").generation == rebuilds + 1
    check_counts(file)


def test_rebuilds_beside_four_writers(fast_folder: Path) -> None:
    rebuild_beside_writers(fast_folder / "rebuild.db", 3)


@pytest.mark.torture
def test_many_rebuilds_beside_four_writers(fast_folder: Path) -> None:
    rebuild_beside_writers(fast_folder / "rebuild.db", 10)
