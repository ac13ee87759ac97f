"""Record what a process does to the files of one folder, system call by system call.

The recording is what `eventstate.testing.crashstates` makes crash states from. It needs ``strace``
(Linux). The folder must be flat, files ending in ``-shm`` are left out (SQLite rebuilds them after a crash).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from eventstate.testing.fileoperations import (
    Acknowledge,
    FileOperation,
    Link,
    Recording,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)


def is_available() -> bool:
    """True if processes can be recorded here."""
    return shutil.which("strace") is not None


def record(command: Sequence[str], folder: Path, *, inject: str | None = None, timeout: float = 120) -> Recording:
    """Run a command to its end and record what it, and every process it starts, does to the files in ``folder``.

    Lines on its standard output become `Acknowledge` operations, in their place among the others.
    ``inject`` lets system calls fail, in strace's own words: ``fdatasync:error=EIO:when=5``; with
    ``fdatasync:retval=0`` they lie.

    Raises:
        RuntimeError: the command failed, or used the folder in a way that can't be followed.
        subprocess.TimeoutExpired: it took more than ``timeout`` seconds; it and its children are killed.
    """
    folder = folder.resolve()
    work = folder.with_name(folder.name + ".trace")
    work.mkdir()
    try:
        initial = _contents(folder)
        trace, output, errors = work / "trace", work / "output", work / "errors"
        options = ("-e", f"inject={inject}") if inject else ()
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            code = _run([*_STRACE, *options, "-o", str(trace), *command], stdout, stderr, timeout)
        if code:
            raise RuntimeError(f"{command} ended with {code}: {errors.read_text()[-2000:]}")
        with trace.open() as lines:
            recording = _Reader(folder, output, initial).read(lines)
    finally:
        shutil.rmtree(work)
    if recording.files_at_end() != _contents(folder):
        raise RuntimeError("the folder holds something else than what was recorded")
    return recording


def _run(command: Sequence[str], stdout: IO[bytes], stderr: IO[bytes], timeout: float) -> int:
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)
    try:
        return process.wait(timeout)
    except BaseException:
        # The whole session: strace alone would leave the processes that it follows running.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not _is_left_out(path.name)}


_CHANGING: Final = (
    "write pwrite64 writev pwritev pwritev2 truncate ftruncate fallocate copy_file_range sendfile splice open openat"
    " openat2 creat unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mmap"
    " fsync fdatasync sync_file_range lseek"
)
_STRACE: Final = (
    *("strace", "--seccomp-bpf", "-f", "-y", "-xx", "-qq", "-s", str(4 * 1024 * 1024)),
    *("-e", "signal=none", "-e", "trace=" + _CHANGING.replace(" ", ",")),
)
_SYNCING: Final = frozenset({"fsync", "fdatasync"})
_OPENING: Final = frozenset({"open", "openat", "openat2", "creat"})
_NAMING: Final = frozenset(
    {"unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"}
    | {"mkdir", "mkdirat", "rmdir", "truncate"}
)

_CALL: Final = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?|0x[0-9a-f]+)")
_BEGUN: Final = re.compile(r"(\w+)\((.*?),? <unfinished \.\.\.>")
_ENDED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_FILE: Final = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


def _is_left_out(name: str) -> bool:
    return name.endswith("-shm")


def _decoded(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _escaped(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(text))


class _Call(NamedTuple):
    name: str
    arguments: str
    result: int
    since: int
    """How many operations were complete when the call began."""


class _Reader:
    """Turns the lines of a trace into operations."""

    def __init__(self, folder: Path, output: Path, initial: Mapping[str, bytes]) -> None:
        self._folder = str(folder)
        self._output = str(output)
        self._marks = (_escaped(self._folder), _escaped(self._output))
        self._names = {name: number for number, name in enumerate(initial)}
        self._initial = {name: (self._names[name], content) for name, content in initial.items()}
        self._sizes = {self._names[name]: len(content) for name, content in initial.items()}
        self._unnamed: dict[str, int] = {}
        self._cursors: dict[tuple[str, str], int] = {}
        self._appending: set[tuple[str, str]] = set()
        self._operations: list[FileOperation] = []
        self._line = b""

    def read(self, lines: Iterator[str]) -> Recording:
        begun: dict[str, tuple[str, int]] = {}
        for line in lines:
            process, _, text = line.partition(" ")
            text = text.lstrip()
            since = len(self._operations)
            if unfinished := _BEGUN.match(text):
                arguments = unfinished[2]
                if unfinished[1] == "write" and self._marks[1] in arguments:
                    # Whoever reads the line may act on it before the call returns.
                    self._acknowledge(_Call("write", arguments, 0, since))
                    arguments = ""
                begun[process] = arguments, since
                continue
            if ended := _ENDED.match(text):
                arguments, since = begun.pop(process)
                separator = "" if ended[2].startswith(")") or not arguments else ", "
                text = f"{ended[1]}({arguments}{separator}{ended[2].lstrip(', ')}"
            if not any(mark in text for mark in self._marks):
                continue
            call = _CALL.match(text)
            if call is None:
                raise RuntimeError(f"can't read this line of the trace: {text[:200]}")
            if call[3] == "?" or (call[3] == "0" and text.rstrip().endswith("(INJECTED)")):
                continue  # the process ended in it, or it was told of a success that never was
            self._follow(_Call(call[1], call[2], int(call[3], 0), since))
        return Recording(initial=self._initial, operations=self._operations)

    def _follow(self, call: _Call) -> None:
        if call.result < 0 and call.name not in _SYNCING:
            return
        target = _FILE.match(call.arguments)
        path = os.fsdecode(_decoded(target[2])) if target else ""
        if path == self._output:
            self._acknowledge(call)
        elif call.name in _OPENING:
            self._opened(call)
        elif call.name in _NAMING:
            self._named(call)
        elif call.name == "mmap":
            self._mapped(call)
        elif path == self._folder:
            if call.name in _SYNCING:
                self._operations.append(SyncFolder(call.since, failed=call.result != 0))
        elif target and (name := self._name(path)):
            self._changed(call, target[1], name, self._unnamed[name] if target[3] else self._names[name])

    def _name(self, path: str) -> str | None:
        """The name in the folder; None for what is elsewhere or left out."""
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        if folder != self._folder:
            if folder.startswith(self._folder + "/"):
                raise RuntimeError(f"{path}: only flat folders can be followed")
            return None
        return None if _is_left_out(name) else name

    def _acknowledge(self, call: _Call) -> None:
        if call.name != "write":
            return
        text = _TEXT.search(call.arguments)
        assert text is not None
        *complete, self._line = (self._line + _decoded(text[1])).split(b"\n")
        self._operations.extend(Acknowledge(line.decode()) for line in complete)

    def _opened(self, call: _Call) -> None:
        text = _TEXT.search(call.arguments)
        assert text is not None
        path = os.fsdecode(_decoded(text[1]))
        if path == self._folder and "O_TMPFILE" in call.arguments:
            raise RuntimeError("files without a name can't be followed")
        name = self._name(path)
        if name is None:
            return
        if name not in self._names:
            self._names[name] = number = len(self._sizes)
            self._sizes[number] = 0
            self._operations.append(Link(name, number))
        elif "O_TRUNC" in call.arguments:
            self._truncated(self._names[name], 0)
        cursor = (str(call.result), name)
        self._cursors[cursor] = 0
        self._appending.discard(cursor)
        if "O_APPEND" in call.arguments:
            self._appending.add(cursor)

    def _named(self, call: _Call) -> None:
        names = [self._name(os.fsdecode(_decoded(text[1]))) for text in _TEXT.finditer(call.arguments)]
        if call.name in ("unlink", "unlinkat"):
            if names[0] is not None:
                self._unnamed[names[0]] = self._names.pop(names[0])
                self._operations.append(Unlink(names[0]))
        elif call.name.startswith("rename") and "RENAME_EXCHANGE" not in call.arguments:
            self._renamed(*names)
        elif names != [None] * len(names):
            raise RuntimeError(f"{call.name} in the folder can't be followed")

    def _renamed(self, source: str | None, target: str | None) -> None:
        if source is None or target is None:
            if source != target:
                raise RuntimeError("a rename into or out of the folder can't be followed")
            return
        if target in self._names:
            self._unnamed[target] = self._names[target]
        self._names[target] = number = self._names.pop(source)
        self._operations.append(Rename(source, target, number))

    def _mapped(self, call: _Call) -> None:
        if "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments:
            path = re.search(r", \d+<((?:\\x[0-9a-f]{2})+)>", call.arguments)
            if path and self._name(os.fsdecode(_decoded(path[1]))):
                raise RuntimeError("writes through a memory map can't be followed")

    def _changed(self, call: _Call, descriptor: str, name: str, file: int) -> None:
        cursor = (descriptor, name)
        if call.name in _SYNCING:
            self._operations.append(Sync(file, call.since, failed=call.result != 0))
        elif call.name == "pwrite64":
            self._wrote(call, file, int(call.arguments.rpartition(", ")[2]))
        elif call.name == "write":
            offset = self._sizes[file] if cursor in self._appending else self._cursors.get(cursor, 0)
            self._cursors[cursor] = offset + call.result
            self._wrote(call, file, offset)
        elif call.name == "ftruncate":
            self._truncated(file, int(call.arguments.rpartition(", ")[2]))
        elif call.name == "lseek":
            self._cursors[cursor] = call.result
        else:
            raise RuntimeError(f"{call.name} can't be followed")

    def _wrote(self, call: _Call, file: int, offset: int) -> None:
        text = _TEXT.search(call.arguments, call.arguments.index('"'))
        assert text is not None
        if text[2]:
            raise RuntimeError("a write is too long to be followed")
        data = _decoded(text[1])[: call.result]
        self._sizes[file] = max(self._sizes[file], offset + len(data))
        self._operations.append(Write(file, offset, data))

    def _truncated(self, file: int, size: int) -> None:
        self._sizes[file] = size
        self._operations.append(Truncate(file, size))
