"""The contract of `eventstate.stores.base` as test classes, to be run against any backend.

A backend's tests subclass `StoreConformance`, `PersisterConformance` and `SettlementConformance`, once for each
world::

    from eventstate.testing.conformance import AsyncioWorld, StoreConformance

    class TestMyStore(StoreConformance):
        def open_store(self, runtime):
            return MyStore(self.place, runtime)

    class TestMyStoreAsyncio(TestMyStore):
        world_type = AsyncioWorld

Plain assertions and pytest's ``teardown_method``; for readable failures call
``pytest.register_assert_rewrite("eventstate.testing.conformance")`` before the import.
"""

from __future__ import annotations

from eventstate.testing.conformance.appends import AppendCases, RaceCases
from eventstate.testing.conformance.commands import KeyCases
from eventstate.testing.conformance.contention import ContentionCases
from eventstate.testing.conformance.damage import DamageCases
from eventstate.testing.conformance.deadlocks import DeadlockCases
from eventstate.testing.conformance.documents import DocumentCases
from eventstate.testing.conformance.feeding import ClockCases, FeedCases, LifecycleCases
from eventstate.testing.conformance.job_chains import ChainCases
from eventstate.testing.conformance.job_queues import AttemptCases, ClaimCases, DeadWorkerCases, JobQueueingCases
from eventstate.testing.conformance.killing import AbortCases, OutcomeCases
from eventstate.testing.conformance.limits import LimitCases
from eventstate.testing.conformance.lock_faults import LockDoubtCases
from eventstate.testing.conformance.lock_fences import FenceCases
from eventstate.testing.conformance.lock_queue import QueueCases
from eventstate.testing.conformance.locking import LockingCases
from eventstate.testing.conformance.migrating import MigrationCases
from eventstate.testing.conformance.orchestrating import OrchestrationCases
from eventstate.testing.conformance.privacy import ErasureCases, KeyringCases
from eventstate.testing.conformance.projecting import ProjectionCases, RebuildingCases
from eventstate.testing.conformance.rebuilding import HistoryCases, ListCases, RebuildCases
from eventstate.testing.conformance.repeating import DeletionCases, IdempotencyCases
from eventstate.testing.conformance.retention import RetentionCases
from eventstate.testing.conformance.run_fences import RunFenceCases
from eventstate.testing.conformance.running import RunCases, RunListCases
from eventstate.testing.conformance.scanning import ScanCases
from eventstate.testing.conformance.sealing import SealCases
from eventstate.testing.conformance.settlement import ExpiryCases, LateCopyCases, RefusedResendCases
from eventstate.testing.conformance.subscribing import SubscriptionCases
from eventstate.testing.conformance.suite import Suite
from eventstate.testing.conformance.task_statuses import TaskCases
from eventstate.testing.conformance.time_travel import DiffCases, ForkCases, ReplayCases
from eventstate.testing.conformance.transacting import TransactionCases
from eventstate.testing.conformance.transferring import TransferCases
from eventstate.testing.conformance.watching import WatchingCases
from eventstate.testing.conformance.working import WorkerCases
from eventstate.testing.conformance.worlds import AsyncioWorld, BlockingWorld, World


class StoreConformance(
    DocumentCases, LimitCases, ScanCases, FeedCases, ClockCases, LifecycleCases, ContentionCases, WatchingCases
):
    """Every promise of the store port."""


class PersisterConformance(
    AppendCases, RaceCases, IdempotencyCases, DeletionCases, RebuildCases, HistoryCases, ListCases, DamageCases
):
    """What persisters promise on top of a store: histories, snapshots, repairs."""


class SettlementConformance(LateCopyCases, RefusedResendCases, AbortCases, OutcomeCases, KeyCases, ExpiryCases):
    """What becomes of commits whose answer is missing."""


class PrivacyConformance(ErasureCases, KeyringCases):
    """What keyrings promise: nothing personal in the clear, and nothing left of what was erased."""


class RetentionConformance(RetentionCases):
    """What retention promises: prunes, pins, archives."""


class SealConformance(SealCases):
    """What seals promise, and the verifications that hold streams against them."""


class TransactionConformance(TransactionCases):
    """What transactions promise, their records and effects included."""


class ProjectionConformance(ProjectionCases, RebuildingCases):
    """What projections promise: effects that happen once, and rebuilding beside what is read."""


class RunConformance(RunCases, RunListCases, RunFenceCases):
    """What stores of jobs promise: runs, workstreams, and jobs whose statuses are what their events say."""


class MigrationConformance(MigrationCases):
    """What migrations of jobs promise: each document is changed once."""


class OrchestrationConformance(OrchestrationCases):
    """What recorded orchestrations promise: the view is the fold of the events."""


class TimeTravelConformance(DiffCases, ForkCases, ReplayCases):
    """What time travel promises: differences, forks, and replays held against what was recorded."""


class TransferConformance(TransferCases):
    """What exports, imports and copies promise."""


class LockingConformance(LockingCases, FenceCases, QueueCases, LockDoubtCases, DeadlockCases):
    """What distributed locks promise, and what is written under them."""


class JobQueueConformance(JobQueueingCases, ClaimCases, ChainCases, AttemptCases, DeadWorkerCases):
    """What queues of jobs promise, and those who work for them."""


class WorkerConformance(WorkerCases):
    """What workers promise that do the jobs of a queue."""


class SubscriptionConformance(SubscriptionCases):
    """What subscriptions promise: nothing missed, order, places that are found again."""


class TaskConformance(TaskCases):
    """What the task statuses of a job promise."""


__all__ = [
    "AsyncioWorld",
    "BlockingWorld",
    "JobQueueConformance",
    "LockingConformance",
    "MigrationConformance",
    "OrchestrationConformance",
    "PersisterConformance",
    "PrivacyConformance",
    "ProjectionConformance",
    "RetentionConformance",
    "RunConformance",
    "SealConformance",
    "SettlementConformance",
    "StoreConformance",
    "SubscriptionConformance",
    "Suite",
    "TaskConformance",
    "TimeTravelConformance",
    "TransactionConformance",
    "TransferConformance",
    "WorkerConformance",
    "World",
]
