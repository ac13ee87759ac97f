"""The conformance suite on the Firestore emulator."""

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


class TestTimeTravelSync(OnFirestore, TimeTravelConformance):
    pass


class TestTimeTravelAsyncio(OnFirestore, TimeTravelConformance):
    world_type = AsyncioWorld


class TestSealSync(OnFirestore, SealConformance):
    pass


class TestSealAsyncio(OnFirestore, SealConformance):
    world_type = AsyncioWorld


class TestRetentionSync(OnFirestore, RetentionConformance):
    pass


class TestRetentionAsyncio(OnFirestore, RetentionConformance):
    world_type = AsyncioWorld


class TestPrivacySync(OnFirestore, PrivacyConformance):
    pass


class TestPrivacyAsyncio(OnFirestore, PrivacyConformance):
    world_type = AsyncioWorld


class TestSubscriptionSync(OnFirestore, SubscriptionConformance):
    pass


class TestSubscriptionAsyncio(OnFirestore, SubscriptionConformance):
    world_type = AsyncioWorld


class TestTransferSync(OnFirestore, TransferConformance):
    pass


class TestTransferAsyncio(OnFirestore, TransferConformance):
    world_type = AsyncioWorld


class TestProjectionSync(OnFirestore, ProjectionConformance):
    pass


class TestProjectionAsyncio(OnFirestore, ProjectionConformance):
    world_type = AsyncioWorld


class TestOrchestrationSync(OnFirestore, OrchestrationConformance):
    pass


class TestOrchestrationAsyncio(OnFirestore, OrchestrationConformance):
    world_type = AsyncioWorld


class TestTasksSync(OnFirestore, TaskConformance):
    pass


class TestTasksAsyncio(OnFirestore, TaskConformance):
    world_type = AsyncioWorld


class TestRunsSync(OnFirestore, RunConformance):
    pass


class TestRunsAsyncio(OnFirestore, RunConformance):
    world_type = AsyncioWorld


class TestMigrationSync(OnFirestore, MigrationConformance):
    pass


class TestMigrationAsyncio(OnFirestore, MigrationConformance):
    world_type = AsyncioWorld
