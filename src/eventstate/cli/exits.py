"""Exit codes, and how a failure is shown."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, TypeGuard

import orjson

from eventstate.cli.output import clean
from eventstate.errors import (
    ConflictError,
    CorruptionError,
    EventStateError,
    InvalidInputError,
    LockError,
    NotFoundError,
    OutcomeError,
    ProgramError,
    SchemaError,
    StoreError,
)


class ExitCode(IntEnum):
    """What the exit code of a command says."""

    OK = 0
    FINDING = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    FAULT = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141


EXIT_CODES = (
    "Exit codes: 0 done · 1 a finding (verify, replay-check, recover, doctor, demo; corrupt data; a job that failed)"
    " · 2 wrong usage · 3 not found · 4 conflict, someone else was faster · 5 the store is unavailable (can't be opened"
    " or reached, locked, full, read-only, no permission)"
)

_CODES: tuple[tuple[type[EventStateError], ExitCode], ...] = (
    (InvalidInputError, ExitCode.USAGE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (ConflictError, ExitCode.CONFLICT),
    (LockError, ExitCode.CONFLICT),
    (StoreError, ExitCode.UNAVAILABLE),
    (OutcomeError, ExitCode.UNAVAILABLE),
    (ProgramError, ExitCode.UNAVAILABLE),
    (CorruptionError, ExitCode.FINDING),
    (SchemaError, ExitCode.FINDING),
)


def is_debugging() -> bool:
    """Whether EVENTSTATE_DEBUG asks for tracebacks."""
    return bool(os.environ.get("EVENTSTATE_DEBUG"))


@contextmanager
def show_usage_as_json() -> Generator[None]:
    """Inside, wrong usage that the parser refuses is told as the commands tell their own errors with ``--json``."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "format_message", None)  # of the parser's errors, whichever parser typer brings
        if message is None:
            raise
        print(orjson.dumps({"error": {"type": type(error).__name__, "message": message()}}).decode(), file=sys.stderr)
        sys.exit(ExitCode.USAGE)


def is_of_output(error: Exception) -> TypeGuard[OSError]:
    """Whether it was raised by what commands print, not by a store or by the caller's code."""
    if isinstance(error, BrokenPipeError):
        return True
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, OSError) and error.filename is None and frames[-1].startswith(("eventstate.cli.", "rich."))


def show_lost_output(error: OSError, *, as_json: bool) -> ExitCode:
    """The exit code where stdout takes no more; said on stderr unless whoever read it has gone away."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ExitCode.PIPE_CLOSED
    _print(error, f"the output can't be written: {error.strerror}", as_json=as_json)
    return ExitCode.UNAVAILABLE


def show_failure(error: Exception, *, as_json: bool) -> ExitCode:
    """Say on stderr what went wrong, in one line, and return the exit code for it."""
    if is_debugging():
        traceback.print_exception(error)
    if isinstance(error, EventStateError):
        code = next((code for type_, code in _CODES if isinstance(error, type_)), ExitCode.FINDING)
        message = str(error)
    else:
        code = ExitCode.FAULT
        told = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
        message = f"unexpected {told}; EVENTSTATE_DEBUG=1 shows where"
    _print(error, clean(" ".join(message.split())), as_json=as_json)
    return code


def _print(error: Exception, message: str, *, as_json: bool) -> None:
    line = f"error: {message}"
    if as_json:
        fields = error.__dict__ if isinstance(error, EventStateError) else {}
        shown: dict[str, Any] = {"type": type(error).__name__, "message": message, **fields}
        line = orjson.dumps({"error": shown}, default=str).decode()
    with suppress(OSError):  # nobody can be told any more
        print(line, file=sys.stderr)
