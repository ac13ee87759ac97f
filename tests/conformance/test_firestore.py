"""The conformance suite on the Firestore emulator."""

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
from tests.conformance.backends import OnFirestore

pytestmark = pytest.mark.backend("firestore")


class TestStoreSync(OnFirestore, StoreConformance):
    pass


class TestStoreAsyncio(OnFirestore, StoreConformance):
    world_type = AsyncioWorld


class TestPersisterSync(OnFirestore, PersisterConformance):
    pass


class TestPersisterAsyncio(OnFirestore, PersisterConformance):
    world_type = AsyncioWorld


class TestSettlementSync(OnFirestore, SettlementConformance):
    pass


class TestSettlementAsyncio(OnFirestore, SettlementConformance):
    world_type = AsyncioWorld


class TestTransactionSync(OnFirestore, TransactionConformance):
    pass


class TestTransactionAsyncio(OnFirestore, TransactionConformance):
    world_type = AsyncioWorld


class TestLockingSync(OnFirestore, LockingConformance):
    pass


class TestLockingAsyncio(OnFirestore, LockingConformance):
    world_type = AsyncioWorld
