"""Commands of the Google Cloud CLI: shown as they are, run one after the other, their failures told."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from eventstate.errors import ConfigurationError, ProgramFailedError, ProgramMissingError

if TYPE_CHECKING:
    from eventstate.cli.options import Globals

PROGRAM: Final = "gcloud"
_INSTALL: Final = "install the Google Cloud CLI (cloud.google.com/sdk), or run elsewhere what --dry-run shows"
_SECONDS_TO_END: Final = 10
_THERE_ALREADY: Final = ("ALREADY_EXISTS", "already exists")

Command = Sequence[str]
"""Arguments, the program's name first."""

Became = Literal["done", "there already"]


class Database(NamedTuple):
    """Which database commands are about."""

    project: str
    database: str

    @property
    def arguments(self) -> Sequence[str]:
        return (f"--database={self.database}", f"--project={self.project}", "--quiet")


def database_of(options: Globals, project: str | None, database: str | None) -> Database:
    """The database of ``--project`` and ``--database``, or of a Firestore URL.

    Raises:
        ConfigurationError: neither names a project.
    """
    from eventstate.stores.firestore.url import parse_url

    url = options.resolved_url
    if url.startswith("firestore://"):
        named = parse_url(url)
        if not project or project == named.project:
            return Database(named.project, database or named.database)
    if not project:
        raise ConfigurationError("which project? Pass --project ID, or --url firestore://project[/database]")
    return Database(project, database or "(default)")


def shown(command: Command) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(command)


def find_program() -> str:
    """Where gcloud is.

    Raises:
        ProgramMissingError: nowhere.
    """
    path = shutil.which(PROGRAM)
    if path is None:
        raise ProgramMissingError(program=PROGRAM, advice=_INSTALL)
    return path


def run_all(commands: Sequence[Command], done: Callable[[Command, Became], None]) -> None:
    """Run commands one after the other; what exists already is left as it is.

    Raises:
        ProgramMissingError: gcloud is not installed; nothing was run.
        ProgramFailedError: one failed; those after it were not run.
    """
    path = find_program()
    for command in commands:
        done(command, _run(path, command))


def run_in_front(command: Command) -> None:
    """Run a command with the terminal as its own, until it ends. A stop is passed on, and its end waited for.

    Cut off it would leave behind what it has started itself, on the same port.

    Raises:
        ProgramMissingError: gcloud is not installed.
        ProgramFailedError: it failed, or was killed by others.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    path = find_program()
    try:
        process = subprocess.Popen([path, *command[1:]])
    except OSError as error:
        raise ProgramFailedError(command=shown(command), code=-1, output=str(error)) from error

    def pass_on(number: int, _frame: object) -> None:
        process.terminate()
        stops.append(128 + number)

    stops: list[int] = []
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        code = _code_of(process)
    finally:
        signal.signal(signal.SIGTERM, before)
    if stops:
        raise SystemExit(stops[0])
    if code:
        raise ProgramFailedError(command=shown(command), code=code, output="what it said is above")


def _code_of(process: subprocess.Popen[bytes]) -> int:
    """How a program ended. Ctrl-C of a terminal has told it as well, so it is given the time to end by itself."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(_SECONDS_TO_END)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.terminate()
            process.wait()
        raise


def _run(path: str, command: Command) -> Became:
    try:
        ran = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ProgramFailedError(command=shown(command), code=-1, output=str(error)) from error
    if ran.returncode == 0:
        return "done"
    output = (ran.stderr or ran.stdout).strip()
    if any(words in output for words in _THERE_ALREADY):
        return "there already"
    raise ProgramFailedError(command=shown(command), code=ran.returncode, output=output[-2000:])
