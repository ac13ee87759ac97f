"""The conformance suite on memory."""

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


class TestTimeTravelSync(OnMemory, TimeTravelConformance):
    pass


class TestTimeTravelAsyncio(OnMemory, TimeTravelConformance):
    world_type = AsyncioWorld


class TestSealSync(OnMemory, SealConformance):
    pass


class TestSealAsyncio(OnMemory, SealConformance):
    world_type = AsyncioWorld


class TestRetentionSync(OnMemory, RetentionConformance):
    pass


class TestRetentionAsyncio(OnMemory, RetentionConformance):
    world_type = AsyncioWorld


class TestPrivacySync(OnMemory, PrivacyConformance):
    pass


class TestPrivacyAsyncio(OnMemory, PrivacyConformance):
    world_type = AsyncioWorld


class TestSubscriptionSync(OnMemory, SubscriptionConformance):
    pass


class TestSubscriptionAsyncio(OnMemory, SubscriptionConformance):
    world_type = AsyncioWorld


class TestTransferSync(OnMemory, TransferConformance):
    pass


class TestTransferAsyncio(OnMemory, TransferConformance):
    world_type = AsyncioWorld


class TestProjectionSync(OnMemory, ProjectionConformance):
    pass


class TestProjectionAsyncio(OnMemory, ProjectionConformance):
    world_type = AsyncioWorld


class TestOrchestrationSync(OnMemory, OrchestrationConformance):
    pass


class TestOrchestrationAsyncio(OnMemory, OrchestrationConformance):
    world_type = AsyncioWorld


class TestTasksSync(OnMemory, TaskConformance):
    pass


class TestTasksAsyncio(OnMemory, TaskConformance):
    world_type = AsyncioWorld


class TestRunsSync(OnMemory, RunConformance):
    pass


class TestRunsAsyncio(OnMemory, RunConformance):
    world_type = AsyncioWorld


class TestMigrationSync(OnMemory, MigrationConformance):
    pass


class TestMigrationAsyncio(OnMemory, MigrationConformance):
    world_type = AsyncioWorld
