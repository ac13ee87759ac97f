"""Commands as processes of their own, on a terminal of some size or in a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(**more: str) -> dict[str, str]:
    """That of the tests, on a terminal that can do what most can."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    path = os.pathsep.join([str(Path.cwd()), *sys.path])
    return {**kept, "TERM": "xterm", "PYTHONPATH": path, **more}


def plain(text: str) -> str:
    """Without what steers the terminal."""
    return _STEERING.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


class Terminal:
    """``eventstate`` with its three streams on a terminal of its own."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24, **more: str) -> None:
        self._primary, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.sent = ""
        """What the terminal was sent."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eventstate", *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env=environment(**more),
            start_new_session=True,
        )
        os.close(secondary)

    def read_until(self, text: str, seconds: float = 60) -> str:
        """Wait until the terminal was sent a text, for all that came until then."""
        until = time.monotonic() + seconds
        while text not in plain(self.sent):
            assert self._read(until - time.monotonic()), f"{text!r} did not come:\n{self.sent}"
        return plain(self.sent)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> int:
        """Close the window; the exit code."""
        os.close(self._primary)
        self._primary = -1
        return self._process.wait(60)

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end; the exit code."""
        until = time.monotonic() + seconds
        while self._read(until - time.monotonic()):
            pass
        return self._process.wait(10)

    def _read(self, seconds: float) -> bool:
        """Take what comes; False at the end, and where nothing comes."""
        ready, _, _ = select.select([self._primary], [], [], max(0.0, seconds))
        try:
            part = os.read(self._primary, 65536) if ready else b""
        except OSError:  # the last process let go of the terminal
            return False
        self.sent += part.decode(errors="replace")
        return bool(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, type: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)
        if self._primary >= 0:
            os.close(self._primary)


def on_terminal(*arguments: str, columns: int = 80, code: int = 0) -> str:
    """What somebody reads in a window after a command has ended."""
    with Terminal(*arguments, columns=columns) as terminal:
        assert terminal.ended() == code, terminal.sent
        return plain(terminal.sent)


def in_pipe(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command whose output a program reads."""
    return subprocess.run(
        [sys.executable, "-m", "eventstate", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**more),
    )


def read_by_head(*arguments: str) -> tuple[int, str, str]:
    """What ``| head -1`` shows of a command; then its exit code, that line, and what it said on stderr."""
    command = [sys.executable, "-m", "eventstate", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        pipesize=4096,  # or all of it would fit, and nobody would miss the reader
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        return process.wait(60), line, told
