"""A tool that runs a program: in a process group of its own, with bounded memory, ended as a whole."""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from eventstate.errors import InvalidInputError
from eventstate.jobs.orchestrator.callable_tool import stopped_result
from eventstate.jobs.orchestrator.output import Output
from eventstate.jobs.orchestrator.tool import DEFAULT_TIMEOUT, ToolContext
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.stores.own_files import refuse_own

SLICE: Final = 0.05
"""Seconds after which it is looked whether the program, or its time, has ended, if it prints nothing."""
CHUNK: Final = 64 * 1024
KEEPER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")))


class SubprocessTool:
    """Does jobs by running the program that their ``command`` names: ``exe`` with ``args``, never through a shell.

    The program runs in ``paths["working_dir"]``, or else in ``paths["repo_root"]``, in a process group of its own.
    When its time is up, or the job is cancelled, the whole group gets SIGTERM, and SIGKILL after ``grace`` seconds.
    What a program leaves running when it ends is killed as well. So is a program when this process dies: a small
    process beside it, its keeper, sees to that, and takes as long to start as Python does. What a program prints goes
    to ``paths["log_file"]``, if that is named, and its beginning and end into the result. A program that a signal ended
    has 128 and the signal's number as its exit code, as in a shell: negative ones have meanings of their own. Needs a
    POSIX system.

    Args:
        timeout: seconds, for jobs that do not say themselves.
        grace: seconds from SIGTERM to SIGKILL.
        env: variables for all its jobs, over those of this process; a job's own win.
        keeper: False for programs that may go on when this process is killed.
    """

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        grace: float = 5.0,
        env: Mapping[str, str] | None = None,
        keeper: bool = True,
    ) -> None:
        self.timeout = timeout
        self.grace = grace
        self._env = dict(env or {})
        self._has_keeper = keeper

    def run(self, job: JobSpec, context: ToolContext) -> JobResult:
        """Run the program to its end.

        Raises:
            InvalidInputError: the job names no program, or a store's file as its log.
            OSError: the program can't be started, or the log can't be written.
        """
        started = time.monotonic()
        timeout = self.timeout if context.timeout is None else context.timeout
        folder = job.paths.get("working_dir") or job.paths.get("repo_root") or None
        with _log(job.paths.get("log_file"), folder) as log, self._started(job, folder) as process:
            program = _Program(process, log)
            try:
                ended = program.follow(started + timeout, context)
                if not ended:
                    program.stop(self.grace)
            except BaseException:
                program.stop(self.grace)
                raise
            finally:
                program.finish()
        seconds = time.monotonic() - started
        if ended:
            return JobResult(_exit_code(process.returncode), _report(job), seconds, program.out.text, program.err.text)
        stopped = stopped_result(not context.is_cancelled, seconds)
        stopped.error_report_path = _report(job)
        stopped.stdout = program.out.text
        stopped.stderr = f"{program.err.text}\n{stopped.stderr}".lstrip()
        return stopped

    @contextmanager
    def _started(self, job: JobSpec, folder: str | None) -> Generator[subprocess.Popen[bytes]]:
        """The program, running; with a keeper as long as the block lasts."""
        argv, env = _argv(job), {**os.environ, **self._env, **job.env}
        _check_there(argv[0], folder, env)
        if not self._has_keeper:
            yield _start(argv, folder, env)
            return
        watched, held = os.pipe()
        try:
            try:
                locale = f"={env['LC_CTYPE']}" if "LC_CTYPE" in env else ""
                process = _start([*KEEPER, str(watched), locale, *argv], folder, env, watched)
            finally:
                os.close(watched)
            yield process
        finally:
            os.close(held)


def _start(argv: Sequence[str], folder: str | None, env: Mapping[str, str], *passed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=passed,
    )


def _check_there(exe: str, folder: str | None, env: Mapping[str, str]) -> None:
    """Raise a FileNotFoundError for a program that is not there: its keeper could only say so in passing."""
    found = Path(folder or ".", exe).exists() if os.sep in exe else shutil.which(exe, path=env.get("PATH"))
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), exe)


class _Program:
    """A program that runs, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes] | None) -> None:
        self._process = process
        self._log = log
        self.out, self.err = Output(), Output()
        self._selector = selectors.DefaultSelector()
        for stream, output in ((process.stdout, self.out), (process.stderr, self.err)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, output)

    def follow(self, until: float, context: ToolContext | None) -> bool:
        """Take what it prints until it ends; False where its time is up or the job was cancelled before."""
        while self._process.poll() is None:
            left = until - time.monotonic()
            if left <= 0 or (context is not None and context.is_cancelled):
                return False
            if self._selector.get_map():
                self._take(min(left, SLICE))
            else:  # it has closed both; now only its end is waited for
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(min(left, SLICE))
        return True

    def _take(self, seconds: float) -> bool:
        """Read what there is, waiting so long for something; whether there was anything."""
        found = False
        for key, _ in self._selector.select(seconds):
            stream = cast("IO[bytes]", key.fileobj)
            try:
                chunk = os.read(stream.fileno(), CHUNK)
            except BlockingIOError:
                continue
            if not chunk:
                self._selector.unregister(stream)
                continue
            found = True
            key.data.add(chunk)
            if self._log is not None:
                self._log.write(chunk)
        return found

    def stop(self, grace: float) -> None:
        """Ask it and all of its group to end, and wait so long for that."""
        self.signal(signal.SIGTERM)
        until = time.monotonic() + grace
        self.follow(until, None)
        while self._is_group_there() and (left := until - time.monotonic()) > 0:
            self._take(min(left, SLICE))  # waits as well where all is closed

    def _is_group_there(self) -> bool:
        """Whether others of its group are there still."""
        try:
            os.killpg(self._process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the whole group."""
        with suppress(ProcessLookupError, PermissionError):  # nobody is left, or only zombies (macOS)
            os.killpg(self._process.pid, number)

    def finish(self) -> None:
        """Leave nothing behind: no process, no output unread, nothing open."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        try:
            # What left the group may print for ever: only what is there already is taken.
            until = time.monotonic() + 1.0
            while self._selector.get_map() and self._take(0) and time.monotonic() < until:
                pass
        finally:
            self._selector.close()
            for stream in (self._process.stdout, self._process.stderr):
                assert stream is not None
                stream.close()


def _argv(job: JobSpec) -> Sequence[str]:
    """The program and its arguments.

    Raises:
        InvalidInputError: there are none.
    """
    exe: Any = job.command.get("exe")
    args: Any = job.command.get("args", [])
    if not isinstance(exe, str) or not exe:
        raise InvalidInputError(f"job {job.job_id!r} names no program: command.exe is missing")
    if not isinstance(args, list | tuple) or not all(isinstance(arg, str) for arg in cast("list[Any]", args)):
        raise InvalidInputError(f"job {job.job_id!r}: command.args must be a list of texts")
    return [exe, *cast("list[str]", args)]


def _report(job: JobSpec) -> str | None:
    return job.paths.get("error_report")


def _exit_code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


@contextmanager
def _log(path: str | None, folder: str | None) -> Generator[IO[bytes] | None]:
    """The job's log, to be added to; None where none is named."""
    if not path:
        yield None
        return
    file = Path(folder or ".") / path
    refuse_own(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as log:
        yield log
