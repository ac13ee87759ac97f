"""Queues of jobs on every backend."""

from __future__ import annotations

import pytest

from eventstate.testing.conformance import AsyncioWorld, JobQueueConformance
from tests.conformance.backends import OnFirestore, OnMemory, OnSqlite


@pytest.mark.backend("memory")
class TestMemorySync(OnMemory, JobQueueConformance):
    pass


@pytest.mark.backend("memory")
class TestMemoryAsyncio(OnMemory, JobQueueConformance):
    world_type = AsyncioWorld


@pytest.mark.backend("sqlite")
class TestSqliteSync(OnSqlite, JobQueueConformance):
    pass


@pytest.mark.backend("sqlite")
class TestSqliteAsyncio(OnSqlite, JobQueueConformance):
    world_type = AsyncioWorld


@pytest.mark.backend("firestore")
class TestFirestoreSync(OnFirestore, JobQueueConformance):
    pass


@pytest.mark.backend("firestore")
class TestFirestoreAsyncio(OnFirestore, JobQueueConformance):
    world_type = AsyncioWorld
