"""The conformance suite on a SQLite file."""

from __future__ import annotations

import pytest

from eventstate.testing.conformance import (
    AsyncioWorld,
    LockingConformance,
    MigrationConformance,
    OrchestrationConformance,
    PersisterConformance,
    PrivacyConformance,
    ProjectionConformance,
    RetentionConformance,
    RunConformance,
    SealConformance,
    SettlementConformance,
    StoreConformance,
    SubscriptionConformance,
    TaskConformance,
    TimeTravelConformance,
    TransactionConformance,
    TransferConformance,
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


class TestTimeTravelSync(OnSqlite, TimeTravelConformance):
    pass


class TestTimeTravelAsyncio(OnSqlite, TimeTravelConformance):
    world_type = AsyncioWorld


class TestSealSync(OnSqlite, SealConformance):
    pass


class TestSealAsyncio(OnSqlite, SealConformance):
    world_type = AsyncioWorld


class TestRetentionSync(OnSqlite, RetentionConformance):
    pass


class TestRetentionAsyncio(OnSqlite, RetentionConformance):
    world_type = AsyncioWorld


class TestPrivacySync(OnSqlite, PrivacyConformance):
    pass


class TestPrivacyAsyncio(OnSqlite, PrivacyConformance):
    world_type = AsyncioWorld


class TestSubscriptionSync(OnSqlite, SubscriptionConformance):
    pass


class TestSubscriptionAsyncio(OnSqlite, SubscriptionConformance):
    world_type = AsyncioWorld


class TestTransferSync(OnSqlite, TransferConformance):
    pass


class TestTransferAsyncio(OnSqlite, TransferConformance):
    world_type = AsyncioWorld


class TestProjectionSync(OnSqlite, ProjectionConformance):
    pass


class TestProjectionAsyncio(OnSqlite, ProjectionConformance):
    world_type = AsyncioWorld


class TestOrchestrationSync(OnSqlite, OrchestrationConformance):
    pass


class TestOrchestrationAsyncio(OnSqlite, OrchestrationConformance):
    world_type = AsyncioWorld


class TestTasksSync(OnSqlite, TaskConformance):
    pass


class TestTasksAsyncio(OnSqlite, TaskConformance):
    world_type = AsyncioWorld


class TestRunsSync(OnSqlite, RunConformance):
    pass


class TestRunsAsyncio(OnSqlite, RunConformance):
    world_type = AsyncioWorld


class TestMigrationSync(OnSqlite, MigrationConformance):
    pass


class TestMigrationAsyncio(OnSqlite, MigrationConformance):
    world_type = AsyncioWorld
