"""The conformance suite on memory."""

from __future__ import annotations

import pytest

from eventstate.testing.conformance import (
    AsyncioWorld,
    LockingConformance,
    PersisterConformance,
    SettlementConformance,
    StoreConformance,
    TransactionConformance,
)
from tests.conformance.backends import OnMemory

pytestmark = pytest.mark.backend("memory")


class TestStoreSync(OnMemory, StoreConformance):
    pass


class TestStoreAsyncio(OnMemory, StoreConformance):
    world_type = AsyncioWorld


class TestPersisterSync(OnMemory, PersisterConformance):
    pass


class TestPersisterAsyncio(OnMemory, PersisterConformance):
    world_type = AsyncioWorld


class TestSettlementSync(OnMemory, SettlementConformance):
    pass


class TestSettlementAsyncio(OnMemory, SettlementConformance):
    world_type = AsyncioWorld


class TestTransactionSync(OnMemory, TransactionConformance):
    pass


class TestTransactionAsyncio(OnMemory, TransactionConformance):
    world_type = AsyncioWorld


class TestLockingSync(OnMemory, LockingConformance):
    pass


class TestLockingAsyncio(OnMemory, LockingConformance):
    world_type = AsyncioWorld
