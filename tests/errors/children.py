"""Run a function in a forked child: as another user, under a limit, or beside an open store."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

NOBODY = 65534


class ChildFailedError(AssertionError):
    """The child died or raised something that can't be sent back."""


def in_child(call: Callable[[], Any], *, as_nobody: bool = False) -> Any:
    """The result of ``call`` in a child of this process; what it raises is raised here."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            if as_nobody and os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(_outcome(call), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        sent = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status != 0 or not sent:
        raise ChildFailedError(f"the child ended with status {status}")
    result, error, trace = pickle.loads(sent)
    if error is not None:
        raise error from ChildFailedError(trace)
    return result


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None, str]:
    try:
        return call(), None, ""
    except BaseException as error:
        return None, error, traceback.format_exc()
