"""Workers on every backend: in threads, and in asyncio."""

from __future__ import annotations

import pytest

from eventstate.testing.conformance import AsyncioWorld, WorkerConformance
from tests.conformance.backends import OnFirestore, OnMemory, OnSqlite


@pytest.mark.backend("memory")
class TestMemorySync(OnMemory, WorkerConformance):
    pass


@pytest.mark.backend("memory")
class TestMemoryAsyncio(OnMemory, WorkerConformance):
    world_type = AsyncioWorld


@pytest.mark.backend("sqlite")
class TestSqliteSync(OnSqlite, WorkerConformance):
    pass


@pytest.mark.backend("sqlite")
class TestSqliteAsyncio(OnSqlite, WorkerConformance):
    world_type = AsyncioWorld


@pytest.mark.backend("firestore")
class TestFirestoreSync(OnFirestore, WorkerConformance):
    pass


@pytest.mark.backend("firestore")
class TestFirestoreAsyncio(OnFirestore, WorkerConformance):
    world_type = AsyncioWorld
