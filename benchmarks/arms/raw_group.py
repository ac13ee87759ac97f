"""The raw limit of group commit: callers queue, one writer thread commits everything that is waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Waiter = TypeVar("Waiter")


class Writer(Generic[Item, Waiter]):
    """A thread that takes all queued items, has them committed by ``write``, then calls ``wake`` once for all."""

    def __init__(self, write: Callable[[list[Item]], None], wake: Callable[[list[Waiter]], None]) -> None:
        self._write = write
        self._wake = wake
        self._queue: SimpleQueue[tuple[Item, Waiter] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="raw-writer", daemon=True)
        self._thread.start()

    def put(self, item: Item, waiter: Waiter) -> None:
        self._queue.put((item, waiter))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = self._drain(batch)
            self._write([item for item, _ in batch])
            self._wake([waiter for _, waiter in batch])
            if ended:
                return

    def _drain(self, batch: list[tuple[Item, Waiter]]) -> bool:
        while True:
            try:
                queued = self._queue.get_nowait()
            except Empty:
                return False
            if queued is None:
                return True
            batch.append(queued)


class AsyncGroup(Generic[Item]):
    """Group commit for tasks of one loop; made inside it."""

    def __init__(self, write: Callable[[list[Item]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer: Writer[Item, asyncio.Future[None]] = Writer(write, self._wake)

    async def submit(self, item: Item) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._writer.put(item, future)
        await future

    def _wake(self, futures: list[asyncio.Future[None]]) -> None:
        self._loop.call_soon_threadsafe(_resolve, futures)

    def close(self) -> None:
        self._writer.close()


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


class ThreadGroup(Generic[Item]):
    """Group commit for blocking threads."""

    def __init__(self, write: Callable[[list[Item]], None]) -> None:
        self._writer: Writer[Item, threading.Lock] = Writer(write, _release)

    def submit(self, item: Item) -> None:
        lock = threading.Lock()
        lock.acquire()
        self._writer.put(item, lock)
        lock.acquire()

    def close(self) -> None:
        self._writer.close()


def _release(locks: list[threading.Lock]) -> None:
    for lock in locks:
        lock.release()
