"""What every conformance class is made of: cases, a world to run them in, and stores that are closed at the end."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, TypeVar

from eventstate.core.documents import (
    Batch,
    Check,
    CommitResult,
    Committed,
    Delete,
    Document,
    Key,
    Operation,
    Put,
    Refused,
    Require,
)
from eventstate.runtime.base import Runtime
from eventstate.runtime.clock import unique
from eventstate.stores.base import Store
from eventstate.testing.conformance.worlds import BlockingWorld, World, together

S = TypeVar("S", bound="Suite")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


def case(body: Callable[[S], Coroutine[Any, Any, None]]) -> Callable[[S], None]:
    """A test method from a coroutine: it runs in the world of its class."""

    @functools.wraps(body)
    def run(self: S) -> None:
        self.world.run(body(self))

    del run.__wrapped__  # test runners would take it for a coroutine
    return run


class Caught:
    """Holds the exception that `raises` met."""

    error: Any = None


@contextmanager
def raises(*kinds: type[BaseException]) -> Generator[Caught]:
    """Fail unless the block raises one of these; gives the exception afterwards as ``.error``."""
    caught = Caught()
    try:
        yield caught
    except kinds as error:
        caught.error = error
    else:
        raise AssertionError(f"{' or '.join(kind.__name__ for kind in kinds)} was not raised")


class Suite:
    """Base of the conformance classes. A subclass says how a store is opened; a test runner does the rest.

    Attributes:
        world_type: `BlockingWorld` or `AsyncioWorld`.
        writers: how many threads or tasks race.
        rounds: how often a race is repeated.
    """

    world_type: ClassVar[type[World]] = BlockingWorld
    writers: ClassVar[int] = 6
    rounds: ClassVar[int] = 12

    _world: World | None = None
    _runtime: Runtime | None = None
    _opened: list[Store] | None = None

    # Hooks

    def open_store(self, runtime: Runtime) -> Store:
        """A store on this test's own data: empty at first, the same data each time within one test.

        The suite closes what it is given. A store that lives in memory gives the same object again.
        """
        raise NotImplementedError

    def open_apart(self, runtime: Runtime) -> Store:
        """Another store on the same data that shares nothing else with those of `open_store`, as if in another process.

        By default one more of `open_store`.
        """
        return self.open_store(runtime)

    def clean_up(self) -> None:
        """Called last, with all stores closed."""

    # Used by the cases

    @property
    def world(self) -> World:
        if self._world is None:
            self._world = self.world_type()
        return self._world

    @property
    def runtime(self) -> Runtime:
        """What the cases themselves wait through."""
        if self._runtime is None:
            self._runtime = self.world.runtime()
        return self._runtime

    def open(self, *, apart: bool = False) -> Store:
        """A store of this test with a runtime of its own, closed at its end."""
        runtime = self.world.runtime()
        store = self.open_apart(runtime) if apart else self.open_store(runtime)
        self._opened = [*(self._opened or ()), store]
        return store

    async def together(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run calls at the same time; their results, or the first exception."""
        return await together(self.world, calls)

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        stores, self._opened = self._opened or [], None
        world, self._world, self._runtime = self._world, None, None
        if world is None:
            return
        try:
            for store in stores:
                with suppress(Exception):  # a case may have broken it on purpose
                    world.run(store.aclose())
        finally:
            world.close()
            self.clean_up()


# Small words for batches


def body(token: str, text: str = "") -> bytes:
    """A body as the library writes them: JSON that holds the commit's token."""
    return f'{{"t":"{token}","text":"{text}"}}'.encode()


async def commit(store: Store, *operations: Operation) -> CommitResult:
    """Commit operations under a new token."""
    return await store.commit(Batch(unique(), operations))


async def committed(store: Store, *operations: Operation) -> Committed:
    """Commit operations that must be accepted."""
    result = await commit(store, *operations)
    assert isinstance(result, Committed), f"{result} for {operations}"
    return result


async def refused(store: Store, *operations: Operation) -> Refused:
    """Commit operations that must be refused."""
    result = await commit(store, *operations)
    assert isinstance(result, Refused), f"{result} for {operations}"
    return result


async def put(store: Store, *keys: Key, text: str = "") -> Committed:
    """Write documents blindly in one batch, under a new token."""
    token = unique()
    result = await store.commit(Batch(token, [Put(key, body(token, text), Require.ANY) for key in keys]))
    assert isinstance(result, Committed), result
    return result


async def remove(store: Store, *keys: Key) -> None:
    """Delete documents that exist."""
    await committed(store, *(Delete(key, Require.EXISTS) for key in keys))


async def read(store: Store, key: Key) -> Document | None:
    """One document, or None."""
    return (await store.get([key])).documents.get(key)


async def exists(store: Store, key: Key) -> bool:
    return await read(store, key) is not None


__all__ = [
    "Batch",
    "Check",
    "Committed",
    "Delete",
    "Document",
    "Key",
    "Put",
    "Refused",
    "Require",
    "Suite",
    "body",
    "case",
    "commit",
    "committed",
    "exists",
    "put",
    "raises",
    "read",
    "refused",
    "remove",
    "together",
    "unique",
]
