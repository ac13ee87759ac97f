"""The official Firestore emulator as a child process of the tests."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from eventstate.errors import EventStateError

JAR_VARIABLE: Final = "EVENTSTATE_FIRESTORE_EMULATOR_JAR"

_JAR: Final = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_SDK_ROOTS: Final = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk")
_MAIN: Final = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_JAVA: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1g", "-Duser.language=en", "-Duser.country=US")
_READY: Final = "is now running"
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
_PORT_ATTEMPTS: Final = 5


class EmulatorMissing(EventStateError):  # noqa: N818 - the reason why tests are skipped, rather than an error
    """The emulator can't run here; the message says what is missing."""


class Emulator:
    """A running emulator. It ends with this process, however this process ends."""

    def __init__(self, java: str, jar: Path, port: int, output: Path | None = None) -> None:
        """``output`` keeps its log, which has a stack trace for each refused precondition; None lets it go."""
        self._java = java
        self._jar = jar
        self._port = port
        self._output = output
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._start()
        atexit.register(self.stop)

    @property
    def host(self) -> str:
        """``host:port`` for FIRESTORE_EMULATOR_HOST."""
        return f"127.0.0.1:{self._port}"

    def wait_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Return once it answers.

        Raises:
            EmulatorMissing: it ended, or did not answer within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (process := self._process) is not None and time.monotonic() < deadline:
            # Its log, since on a taken port it is another's server that would answer.
            if _READY in self._log_text():
                return
            if process.poll() is not None:
                break
            time.sleep(_POLL_SECONDS)
        raise EmulatorMissing(f"the Firestore emulator is not ready on {self.host}: {self._log_text()[-2000:]}")

    def stop(self) -> None:
        """End it; stopping twice is fine. Does nothing in a forked child, whose parent still uses it."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            process, self._process = self._process, None
            watchdog, self._watchdog = self._watchdog, None
        # The watchdog goes first: it must not signal a process id that is free again.
        if watchdog is not None:
            _end(watchdog)
        if process is not None:
            _end(process)
        if self._log is not None:
            self._log.close()
            self._log = None
        atexit.unregister(self.stop)

    def restart(self, *, kill: bool = False) -> None:
        """Stop it, lose everything in it and start it again on the same port; returns when ready.

        ``kill`` ends it as a crash would.
        """
        if kill and self._process is not None:
            self._process.kill()
        self.stop()
        self._start()
        atexit.register(self.stop)
        self.wait_ready()

    def _start(self) -> None:
        place = ("--host=127.0.0.1", f"--port={self._port}")
        with self._lock:
            self._log = open(self._output, "w+b") if self._output else tempfile.TemporaryFile()  # noqa: SIM115
            self._process = _spawn(
                [self._java, *_JAVA, "-cp", str(self._jar), _MAIN, *place], subprocess.DEVNULL, self._log
            )
            # Reads until this process is gone, then kills; `stop` ends it before that.
            script = f"cat >/dev/null; kill -9 {self._process.pid}"
            self._watchdog = _spawn(["/bin/sh", "-c", script], subprocess.PIPE, self._log)

    def _log_text(self) -> str:
        with self._lock:
            return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace") if self._log else ""


def start_emulator(port: int | None = None, *, output: Path | None = None) -> Emulator:
    """A ready emulator on ``port``, or on a free one.

    Raises:
        EmulatorMissing: no java, no jar, or it did not start.
    """
    jar = find_jar()
    java = shutil.which("java")
    if java is None:
        raise EmulatorMissing("the Firestore emulator needs java, which is not on PATH")
    failed: EmulatorMissing | None = None
    for _ in range(_PORT_ATTEMPTS if port is None else 1):
        # A free port can be taken before java binds it: then java ends, and another is tried.
        emulator = Emulator(java, jar, port if port is not None else _free_port(), output)
        try:
            emulator.wait_ready()
        except EmulatorMissing as error:
            emulator.stop()
            failed = error
        else:
            return emulator
    assert failed is not None
    raise failed


def find_jar() -> Path:
    """The emulator's jar: what EVENTSTATE_FIRESTORE_EMULATOR_JAR names, else that of an installed Google Cloud SDK.

    Raises:
        EmulatorMissing: there is none; the message says how to install it.
    """
    named = os.environ.get(JAR_VARIABLE)
    candidates = [Path(named)] if named else [Path(root) / _JAR for root in (*_gcloud_roots(), *_SDK_ROOTS)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if named:
        raise EmulatorMissing(f"{JAR_VARIABLE} names {named}, which is not a file")
    raise EmulatorMissing(
        "no Firestore emulator: install google-cloud-cli-firestore-emulator (Debian) or run"
        f" 'gcloud components install cloud-firestore-emulator', or name its jar in {JAR_VARIABLE}"
    )


def _gcloud_roots() -> Sequence[str]:
    """The SDK that ``gcloud`` on PATH belongs to; asking it would take a second."""
    gcloud = shutil.which("gcloud")
    return [str(Path(gcloud).resolve().parent.parent)] if gcloud else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(command: Sequence[str], stdin: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the tests' terminal must reach the tests first.
    return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)
    if process.stdin is not None:
        process.stdin.close()
