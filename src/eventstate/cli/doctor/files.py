"""A store file as the operating system sees it. It is never opened here: closing it would drop SQLite's locks."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from eventstate.cli.doctor.lines import Line, bad, ok, shown_bytes, warn

LARGE_WAL = 64 * 1024 * 1024
"""Twice what a log grows to before it is copied back into the file."""

LITTLE_SPACE = 256 * 1024 * 1024


def check_file(path: Path) -> Iterator[Line]:
    """Its size, log, rights, folder, disk, and who has it open."""
    status = path.stat()
    yield ok("file", f"{path}, {shown_bytes(status.st_size)}")
    yield _log(path)
    yield _rights(path, status)
    folder = path.parent
    if os.access(folder, os.W_OK):
        yield ok("folder", f"{folder} can be written")
    else:
        yield warn("folder", f"{folder} can't be written by this user: SQLite can't make its log there")
    yield _space(folder)
    yield from _users(path)


def _log(path: Path) -> Line:
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LARGE_WAL:
        return warn("log", f"{shown_bytes(size)} wait to be copied into the file: does a reader stay open for long?")
    return ok("log", shown_bytes(size))


def _rights(path: Path, status: os.stat_result) -> Line:
    text = stat.filemode(status.st_mode)
    if not os.access(path, os.R_OK):
        return bad("rights", f"{text}: this user can't read it")
    if not os.access(path, os.W_OK):
        return warn("rights", f"{text}: this user can't write it")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn("rights", f"{text}: others than its owner may use it; chmod 600 {path}")
    return ok("rights", f"{text}, its owner only")


def _space(folder: Path) -> Line:
    free = shutil.disk_usage(folder).free
    text = f"{shown_bytes(free)} free"
    return ok("disk", text) if free > LITTLE_SPACE else warn("disk", f"{text}: writes will soon fail")


def _users(path: Path) -> Iterator[Line]:
    """The processes that have it open, where the system tells (Linux); one of them may keep it locked."""
    processes = Path("/proc")
    if not (processes / "self" / "fd").is_dir():
        return
    names = {str(path), f"{path}-wal"}
    users = sorted({int(link.parts[2]) for link in processes.glob("[0-9]*/fd/*") if _target(link) in names})
    others = [f"{pid} ({_name(processes / str(pid))})" for pid in users if pid != os.getpid()]
    yield ok("open in", ", ".join(others) or "no other process that this user can see")


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)  # noqa: PTH115 a Path would normalise it, for thousands of links
    except OSError:  # the process or the file descriptor is gone, or is another user's
        return None


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "gone"
