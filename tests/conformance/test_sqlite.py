"""The conformance suite on a SQLite file."""

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
from tests.conformance.backends import OnSqlite

pytestmark = pytest.mark.backend("sqlite")


class TestStoreSync(OnSqlite, StoreConformance):
    pass


class TestStoreAsyncio(OnSqlite, StoreConformance):
    world_type = AsyncioWorld


class TestPersisterSync(OnSqlite, PersisterConformance):
    pass


class TestPersisterAsyncio(OnSqlite, PersisterConformance):
    world_type = AsyncioWorld


class TestSettlementSync(OnSqlite, SettlementConformance):
    pass


class TestSettlementAsyncio(OnSqlite, SettlementConformance):
    world_type = AsyncioWorld


class TestTransactionSync(OnSqlite, TransactionConformance):
    pass


class TestTransactionAsyncio(OnSqlite, TransactionConformance):
    world_type = AsyncioWorld


class TestLockingSync(OnSqlite, LockingConformance):
    pass


class TestLockingAsyncio(OnSqlite, LockingConformance):
    world_type = AsyncioWorld
