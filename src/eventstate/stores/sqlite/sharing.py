"""One engine per store file in this process, and what becomes of engines when the process forks.

SQLite keeps one table of locks for each file that a process has open. A child would inherit it, take the locks
in it for its own, and go on without any: another process that closes the file then deletes the write-ahead log
under it, and acknowledged commits are gone. So every connection is closed before a fork, by the parent, which
opens new ones when it next needs them. The child begins with a clean table.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from eventstate.errors import ConfigurationError, EventStateError, NotSupportedError
from eventstate.stores.own_files import disown, own
from eventstate.stores.sqlite.connection import Settings, create_file, identity
from eventstate.stores.sqlite.engine import Engine, all_engines

FORK_PATIENCE_SECONDS = 2.0
"""How long a fork waits for reads and commits of other threads to end."""

_shared: dict[tuple[tuple[int, int], bool], Engine] = {}
_sharing = threading.Lock()
_inherited: set[tuple[int, int]] = set()
"""Files to which this process inherited connections that were in use."""
_kept: list[apsw.Connection] = []


def shared_engine(settings: Settings, new_node: Callable[[], str]) -> Engine:
    """The engine of this process for a file: one writer connection, whatever the number of stores."""
    with _sharing:
        create_file(settings)
        file = identity(settings)
        if file in _inherited:
            _refuse_inherited(settings)
        engine = _shared.get((file, settings.read_only))
        if engine is None:
            engine = Engine(settings, new_node)
            _shared[file, settings.read_only] = engine
            own(settings.path)
        elif engine.settings.durability != settings.durability:
            already = engine.settings.durability
            raise ConfigurationError(f"{settings.url} is open in this process with durability={already}; use the same")
        engine.users += 1
        return engine


def release_engine(engine: Engine) -> None:
    """Give an engine back; the last user closes it."""
    with _sharing:
        engine.users -= 1
        if engine.users > 0:
            return
        for file, shared in list(_shared.items()):
            if shared is engine:
                del _shared[file]
    engine.close()
    disown(engine.settings.path)


def _refuse_inherited(settings: Settings) -> None:
    detail = "start the process with multiprocessing's 'spawn', or fork before the file is first used"
    raise NotSupportedError(
        store=settings.url, capability="opening it in a process that was forked in the middle of its use", detail=detail
    )


def _before_fork() -> None:
    # With a patience: a signal handler may fork in the middle of anything.
    _sharing.acquire(timeout=FORK_PATIENCE_SECONDS)
    for engine in all_engines():
        engine.rest(FORK_PATIENCE_SECONDS)
    if apsw.connections():
        _load_ctypes()  # here: in the child an import could wait for a thread that is not there


def _after_fork_in_parent() -> None:
    for engine in all_engines():
        engine.resume()
    with suppress(RuntimeError):  # it was not to be had
        _sharing.release()


def _after_fork_in_child() -> None:
    global _sharing
    _sharing = threading.Lock()
    _shared.clear()
    for connection in apsw.connections():
        _keep_for_ever(connection)
        with suppress(apsw.Error, EventStateError):
            _inherited.add(identity(Settings(path=connection.filename)))
    for engine in all_engines():
        if not engine.is_resting:
            with suppress(EventStateError):
                _inherited.add(identity(engine.settings))


def _load_ctypes() -> Any:
    """What makes an object outlive even the interpreter; few programs fork in the middle of a commit."""
    try:
        import ctypes
    except (ImportError, OSError):  # no file can be opened any more
        return None
    return ctypes


def _keep_for_ever(connection: apsw.Connection) -> None:
    """Never close a connection that belongs to the parent: that could delete the parent's log."""
    ctypes = _load_ctypes()
    if ctypes is None:
        _kept.append(connection)  # until the interpreter ends, and `connect` has it leave the log alone then
    else:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
