"""The same test in the sync and in the asyncio world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from eventstate.core.documents import Batch, CommitResult, Committed, Key, Operation, Put, Require
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.firestore import open_firestore
from eventstate.stores.firestore.store import FirestoreStore

T = TypeVar("T")


class World(Protocol):
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T: ...

    def open(self, host: str, project: str, **options: Any) -> FirestoreStore: ...

    def close(self) -> None: ...


class SyncWorld:
    def __init__(self) -> None:
        self._stores: list[FirestoreStore] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return drive(coroutine)

    def open(self, host: str, project: str, **options: Any) -> FirestoreStore:
        store = open_firestore(project, runtime=BlockingRuntime(), emulator_host=host, **options)
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()


class AsyncWorld:
    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stores: list[FirestoreStore] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def open(self, host: str, project: str, **options: Any) -> FirestoreStore:
        async def inside() -> FirestoreStore:
            return open_firestore(project, runtime=AsyncioRuntime(), emulator_host=host, **options)

        store = self.run(inside())
        self._stores.append(store)
        return store

    def close(self) -> None:
        async def inside() -> None:
            for store in self._stores:
                await store.aclose()
                assert isinstance(store.runtime, AsyncioRuntime)
                store.runtime.close()

        self.run(inside())
        self._runner.close()


class Client:
    """A store with its calls run to their end."""

    def __init__(self, world: World, store: FirestoreStore) -> None:
        self.world = world
        self.store = store

    def commit(self, *operations: Operation, token: str = "t") -> CommitResult:
        return self.world.run(self.store.commit(Batch(token, operations)))

    def put(self, key: Key, body: bytes = b"{}") -> str:
        """Write blindly; the revision."""
        result = self.commit(Put(key, body, Require.ANY))
        assert isinstance(result, Committed)
        return result.revisions[key]

    def bodies(self, *keys: Key) -> dict[Key, bytes]:
        return {key: document.body for key, document in self.run(self.store.get(keys)).documents.items()}

    def revision(self, key: Key) -> str | None:
        found = self.run(self.store.get([key])).documents.get(key)
        return None if found is None else found.revision

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.world.run(coroutine)
