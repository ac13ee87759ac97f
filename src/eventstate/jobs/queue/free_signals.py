"""Signals that stop workers, shared by all that run in one process, where the program does not handle them itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

_stops: dict[int, list[Callable[[], None]]] = {}
_before: dict[int, Any] = {}


@contextmanager
def stopped_by_free_signals(stop: Callable[[], None]) -> Generator[None]:
    """Have SIGTERM and SIGINT call ``stop`` until the block ends.

    In the main thread only, as signals go, and only those that nothing else handles: neither the program, nor a
    framework that it runs in.
    """
    is_main = threading.current_thread() is threading.main_thread()
    taken = [number for number in (signal.SIGTERM, signal.SIGINT) if is_main and _take(number)]
    for number in taken:
        _stops[number].append(stop)
    try:
        yield
    finally:
        for number in taken:
            _stops[number].remove(stop)
            _give_back(number)


def _take(number: int) -> bool:
    """Whether a signal is the workers' own, from now on."""
    current = signal.getsignal(number)
    if current is _handle:
        return True
    if not _is_free(current):
        return False
    _before[number] = signal.signal(number, _handle)
    _stops[number] = []
    return True


def _is_free(handler: Any) -> bool:
    if isinstance(handler, partial):  # that of asyncio.run, which cancels the main task
        owner: object = getattr(handler.func, "__self__", None)
        return type(owner).__module__ == "asyncio.runners"
    return handler in (signal.SIG_DFL, signal.default_int_handler)


def _give_back(number: int) -> None:
    """Let a signal be what it was, after the last worker."""
    if not _stops[number] and signal.getsignal(number) is _handle:
        signal.signal(number, _before.pop(number))


def _handle(number: int, _frame: object) -> None:
    # A handler may interrupt a thread that holds the very mutex that stopping needs.
    for stop in _stops[number]:
        threading.Thread(target=stop, daemon=True).start()
