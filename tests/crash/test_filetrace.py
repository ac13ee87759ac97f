"""Recordings follow what a process did to its files, and refuse what they can't follow."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from eventstate.testing.fileoperations import (
    Acknowledge,
    Link,
    Recording,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)
from eventstate.testing.filetrace import is_available, record

pytestmark = pytest.mark.skipif(not is_available(), reason="strace is not installed")


def run(folder: Path, body: str, *, inject: str | None = None, timeout: float = 60) -> Recording:
    """Record a script in which ``folder`` is the recorded folder. That its end is right, `record` checks itself."""
    target = folder / "recorded"
    target.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(f"import os, threading\nfolder = {str(target)!r}\n" + textwrap.dedent(body))
    return record([sys.executable, str(script)], target, inject=inject, timeout=timeout)


def test_operations_are_recorded_in_their_order(fast_folder: Path) -> None:
    recording = run(
        fast_folder,
        """
        fd = os.open(folder + "/a", os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b"hello", 3)
        os.fsync(fd)
        os.write(1, b"one\\n")
        os.ftruncate(fd, 4)
        os.rename(folder + "/a", folder + "/b")
        os.fsync(os.open(folder, os.O_RDONLY))
        os.write(1, b"tw"); os.write(1, b"o\\nthree")
        os.unlink(folder + "/b")
        """,
    )
    assert recording.operations == [
        Link("a", 0),
        Write(0, 3, b"hello"),
        Sync(0, 2),
        Acknowledge("one"),
        Truncate(0, 4),
        Rename("a", "b", 0),
        SyncFolder(6),
        Acknowledge("two"),
        Unlink("b"),
    ]
    assert recording.acknowledged == ["one", "two"]


def test_a_plain_write_goes_to_where_the_file_stands(fast_folder: Path) -> None:
    (fast_folder / "recorded").mkdir()
    (fast_folder / "recorded/a").write_bytes(b"before")
    recording = run(
        fast_folder,
        """
        with open(folder + "/a", "ab") as file:
            file.write(b"1"); file.flush(); file.write(b"2")
        with open(folder + "/a", "r+b") as file:
            file.seek(2); file.write(b"XY")
        with open(folder + "/b", "wb") as file:
            file.write(b"12"); file.flush(); file.write(b"34")
        with open(folder + "/b", "wb") as file:
            file.write(b"5")
        """,
    )
    assert recording.initial == {"a": (0, b"before")}
    assert recording.files_at_end() == {"a": b"beXYre12", "b": b"5"}


def test_a_write_to_a_removed_or_replaced_file_goes_to_that_file(fast_folder: Path) -> None:
    recording = run(
        fast_folder,
        """
        old = os.open(folder + "/a", os.O_CREAT | os.O_RDWR)
        os.unlink(folder + "/a")
        new = os.open(folder + "/a", os.O_CREAT | os.O_RDWR)
        os.pwrite(new, b"new", 0); os.pwrite(old, b"old", 0)
        other = os.open(folder + "/b", os.O_CREAT | os.O_RDWR)
        os.rename(folder + "/b", folder + "/a")
        os.pwrite(new, b"NEW", 0); os.pwrite(other, b"other", 0)
        """,
    )
    writes = [operation for operation in recording.operations if isinstance(operation, Write)]
    assert writes == [Write(1, 0, b"new"), Write(0, 0, b"old"), Write(1, 0, b"NEW"), Write(2, 0, b"other")]
    assert recording.files_at_end() == {"a": b"other"}


def test_child_processes_and_threads_are_followed(fast_folder: Path) -> None:
    recording = run(
        fast_folder,
        """
        fd = os.open(folder + "/a", os.O_CREAT | os.O_RDWR)
        def work(number):
            for step in range(50):
                os.pwrite(fd, bytes([number]) * 100, (number * 50 + step) * 100)
                os.fsync(fd)
                os.write(1, b"%d %d\\n" % (number, step))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads: thread.start()
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        for thread in threads: thread.join()
        if os.fork() == 0:
            os.pwrite(fd, b"child", 0)
            os._exit(0)
        os.wait()
        """,
    )
    assert len(recording.acknowledged) == 150
    assert recording.files_at_end()["a"].startswith(b"child")
    synced: set[int] = set()
    since = -1
    for number, operation in enumerate(recording.operations):
        assert not isinstance(operation, Sync) or since <= number
        if isinstance(operation, Sync):
            earlier = recording.operations[: operation.since]
            synced |= {item.offset // 100 for item in earlier if isinstance(item, Write)}
        elif isinstance(operation, Acknowledge):
            thread, step = map(int, operation.line.split())
            assert thread * 50 + step in synced, "acknowledged before its own sync had ended"


def test_an_injected_failure_is_a_failed_sync(fast_folder: Path) -> None:
    recording = run(
        fast_folder,
        """
        fd = os.open(folder + "/a", os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b"x", 0)
        for _ in range(2):
            try:
                os.fsync(fd)
            except OSError:
                pass
        """,
        inject="fsync:error=EIO:when=1",
    )
    assert recording.operations == [Link("a", 0), Write(0, 0, b"x"), Sync(0, 2, failed=True), Sync(0, 3)]


def test_other_folders_and_shared_memory_files_are_left_out(fast_folder: Path) -> None:
    recording = run(
        fast_folder,
        """
        with open(folder + "/../elsewhere", "wb") as file:
            file.write(b"x")
        import mmap
        fd = os.open(folder + "/a-shm", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 4096)
        mmap.mmap(fd, 4096)[0] = 1
        os.unlink(folder + "/a-shm")
        """,
    )
    assert recording.operations == []


def test_a_command_that_takes_too_long_is_killed_with_its_children(fast_folder: Path) -> None:
    ticks = fast_folder / "ticks"
    body = f"import time\nos.fork()\nwhile True: time.sleep(0.01); open({str(ticks)!r}, 'ab').write(b'x')"
    for timeout in (1, 5, 25):
        with pytest.raises(subprocess.TimeoutExpired):
            run(fast_folder, body, timeout=timeout)
        if ticks.exists():  # on a busy machine it takes a while to begin
            break
    size = ticks.stat().st_size
    time.sleep(0.2)
    assert ticks.stat().st_size == size > 0


@pytest.mark.parametrize(
    "body",
    [
        "import mmap; fd = os.open(folder + '/a', os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 9); mmap.mmap(fd, 9)",
        "os.mkdir(folder + '/sub')",
        "open(folder + '/a', 'w').close(); os.link(folder + '/a', folder + '/b')",
        "os.symlink('/etc', folder + '/a')",
        "open(folder + '/../x', 'w').close(); os.rename(folder + '/../x', folder + '/x')",
        "fd = os.open(folder + '/a', os.O_CREAT | os.O_RDWR); os.writev(fd, [b'a', b'b'])",
        "os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))",
        "raise SystemExit(3)",
    ],
)
def test_what_can_not_be_followed_is_refused(fast_folder: Path, body: str) -> None:
    with pytest.raises(RuntimeError):
        run(fast_folder, body)
