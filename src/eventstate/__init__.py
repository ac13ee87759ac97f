"""Durable state machines: snapshots and event logs that survive crashes."""

import importlib
import os
import sys
import typing

from eventstate.errors import (
    AlreadyExistsError,
    CommitUnknownError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    DeadlockDetectedError,
    DecryptionError,
    DependencyCycleError,
    DocumentTooLargeError,
    EncodingError,
    EventStateError,
    ExportFileError,
    FormatError,
    HistoryConflictError,
    IdempotencyMismatchError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
    JobClosedError,
    JobFileError,
    JobFinishedError,
    JobNotFoundError,
    KeyLostError,
    KeyringError,
    LeaseLostError,
    LockAlreadyHeldError,
    LockError,
    LockTimeoutError,
    NestedTransactionError,
    NotADatabaseError,
    NotFoundError,
    NotRepeatableError,
    NotSupportedError,
    OutcomeError,
    ProgramError,
    ProgramFailedError,
    ProgramMissingError,
    ProjectionNotFoundError,
    ProjectionVersionError,
    RunNotFoundError,
    ScanNotSerializableError,
    SchemaError,
    SchemaNewerError,
    StateDeletedError,
    StateNotFoundError,
    StorageFullError,
    StoreClosedError,
    StoreError,
    StoreForkedError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
    SubjectErasedError,
    SubjectNotFoundError,
    TaskIndexError,
    TaskMismatchError,
    TaskStatusNotFoundError,
    TokenExpiredError,
    TransactionConflictError,
    TransactionEndedError,
    UnhandledEventError,
    UnknownEventError,
    UpcastError,
    VersionConflictError,
    VersionNotFoundError,
    WorkstreamNotFoundError,
)

if typing.TYPE_CHECKING:
    from eventstate.core.causality import VectorClock
    from eventstate.core.differences import Difference
    from eventstate.core.expected import ANY
    from eventstate.core.idempotency import timed_key
    from eventstate.core.leases import Fence
    from eventstate.core.metadata import ChangeMetadata
    from eventstate.core.pins import Pin
    from eventstate.core.privacy import Erased
    from eventstate.core.retention import RetentionPolicy
    from eventstate.core.retrying import RetryPolicy
    from eventstate.core.seals import Seal
    from eventstate.jobs.job import Job
    from eventstate.jobs.migrations.async_job_migrator import AsyncJobMigrator
    from eventstate.jobs.migrations.job_migrator import JobMigrator
    from eventstate.jobs.migrations.migrating import MigrationReport
    from eventstate.jobs.migrations.steps import JobDocument, Migration
    from eventstate.jobs.orchestrator.async_orchestrator import AsyncOrchestrator
    from eventstate.jobs.orchestrator.async_tool import AsyncTool
    from eventstate.jobs.orchestrator.callable_tool import CallableTool
    from eventstate.jobs.orchestrator.orchestrator import Orchestrator
    from eventstate.jobs.orchestrator.subprocess_tool import SubprocessTool
    from eventstate.jobs.orchestrator.tool import Tool, ToolContext, Tools
    from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
    from eventstate.jobs.queue.async_worker import AsyncWorker
    from eventstate.jobs.queue.job_queue import JobQueue
    from eventstate.jobs.queue.queueing import HealedQueue
    from eventstate.jobs.queue.requests import JobRequest
    from eventstate.jobs.queue.rules import JobRules
    from eventstate.jobs.queue.survey import AskedJob, LimitUse, QueueDepth
    from eventstate.jobs.queue.worker import Worker
    from eventstate.jobs.runs.async_job_state_store import AsyncJobStateStore
    from eventstate.jobs.runs.interface import AsyncStateInterface, StateInterface
    from eventstate.jobs.runs.job_state_store import JobStateStore
    from eventstate.jobs.runs.progress import JOB_MACHINES
    from eventstate.jobs.runs.results import JobResult
    from eventstate.jobs.runs.specs import JobSpec
    from eventstate.jobs.tasks.async_job_tasks import AsyncJobTasks, AsyncTaskReporter, AsyncTaskSubscription
    from eventstate.jobs.tasks.following import TaskBarrier, TaskUpdate
    from eventstate.jobs.tasks.job_tasks import JobTasks, TaskReporter, TaskSubscription
    from eventstate.jobs.tasks.policies import (
        TaskOutcome,
        TaskPhase,
        TaskPolicy,
        TaskResult,
        TaskVerdict,
        all_success,
        any_success,
        none_failed,
        quorum,
        weighted,
    )
    from eventstate.jobs.tasks.status import TaskStatus
    from eventstate.jobs.view.async_log import AsyncOrchestrationLog
    from eventstate.jobs.view.events import OrchestrationEvent
    from eventstate.jobs.view.graph import GraphData, GraphEdge, GraphNode
    from eventstate.jobs.view.log import OrchestrationLog
    from eventstate.jobs.view.snapshot import OrchestrationSnapshot, OrchestrationSummary, UnhandledEvent, UnitState
    from eventstate.jobs.view.store import OrchestrationStore
    from eventstate.log.archive_check import ArchiveReport
    from eventstate.log.following import Place
    from eventstate.log.keyring import SubjectInfo
    from eventstate.log.parking import Parked
    from eventstate.log.pruning import PruneCount, PruneProblem, PruneReport
    from eventstate.log.replaying import Divergence, ReplayReport
    from eventstate.log.sealing.async_manager import AsyncSealManager
    from eventstate.log.sealing.files import SealFile
    from eventstate.log.sealing.manager import SealManager
    from eventstate.log.transfer.async_stream_transfer import AsyncStreamTransfer
    from eventstate.log.transfer.report import TransferReport
    from eventstate.log.transfer.stream_transfer import StreamTransfer
    from eventstate.log.verify import ConsistencyReport, Finding
    from eventstate.machines.async_keyring import AsyncKeyring
    from eventstate.machines.async_persister import AsyncStateMachinePersister
    from eventstate.machines.async_projection_manager import AsyncProjectionManager, AsyncProjectionView
    from eventstate.machines.async_retention_manager import AsyncRetentionManager
    from eventstate.machines.async_subscription import AsyncSubscription
    from eventstate.machines.async_time_travel import AsyncTimeTravel
    from eventstate.machines.async_transaction import AsyncTransaction
    from eventstate.machines.async_transaction_manager import AsyncTransactionManager
    from eventstate.machines.comparing import At, StateDiff
    from eventstate.machines.deliveries import CaughtUp, Delivery
    from eventstate.machines.events import Event
    from eventstate.machines.forking import Fork, Origin
    from eventstate.machines.keyring import Keyring
    from eventstate.machines.machine import Machine
    from eventstate.machines.parked_events import ParkedReport
    from eventstate.machines.past import Transition
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.machines.projection import Projection
    from eventstate.machines.projection_manager import ProjectionManager, ProjectionView
    from eventstate.machines.projection_status import ProjectionStatus
    from eventstate.machines.reports import RecoveredState, RecoveryReport, StoreStats
    from eventstate.machines.retention_manager import RetentionManager
    from eventstate.machines.states import StatePage, StateSnapshot
    from eventstate.machines.subscription import Subscription
    from eventstate.machines.time_travel import TimeTravel
    from eventstate.machines.together import AppendTo
    from eventstate.machines.transaction import Transaction
    from eventstate.machines.transaction_manager import TransactionManager
    from eventstate.stores.archive import Archive
    from eventstate.stores.base import Store
    from eventstate.stores.directory import DirectoryArchive
    from eventstate.stores.url import open_async_store, open_store
    from eventstate.transactions.async_dispatcher import AsyncEffectDispatcher
    from eventstate.transactions.async_lock_manager import AsyncLockManager
    from eventstate.transactions.dispatcher import EffectDispatcher
    from eventstate.transactions.lock_manager import LockManager
    from eventstate.transactions.locks import DistributedLock, LockInfo
    from eventstate.transactions.outbox import DeliveryReport, Effect
    from eventstate.transactions.records import TransactionRecord, TransactionStatus

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "JOB_MACHINES",
    "AlreadyExistsError",
    "AppendTo",
    "Archive",
    "ArchiveReport",
    "AskedJob",
    "AsyncEffectDispatcher",
    "AsyncJobMigrator",
    "AsyncJobQueue",
    "AsyncJobStateStore",
    "AsyncJobTasks",
    "AsyncKeyring",
    "AsyncLockManager",
    "AsyncOrchestrationLog",
    "AsyncOrchestrator",
    "AsyncProjectionManager",
    "AsyncProjectionView",
    "AsyncRetentionManager",
    "AsyncSealManager",
    "AsyncStateInterface",
    "AsyncStateMachinePersister",
    "AsyncStreamTransfer",
    "AsyncSubscription",
    "AsyncTaskReporter",
    "AsyncTaskSubscription",
    "AsyncTimeTravel",
    "AsyncTool",
    "AsyncTransaction",
    "AsyncTransactionManager",
    "AsyncWorker",
    "At",
    "CallableTool",
    "CaughtUp",
    "ChangeMetadata",
    "CommitUnknownError",
    "ConfigurationError",
    "ConflictError",
    "ConsistencyReport",
    "CorruptionError",
    "DeadlockDetectedError",
    "DecryptionError",
    "Delivery",
    "DeliveryReport",
    "DependencyCycleError",
    "Difference",
    "DirectoryArchive",
    "DistributedLock",
    "Divergence",
    "DocumentTooLargeError",
    "Effect",
    "EffectDispatcher",
    "EncodingError",
    "Erased",
    "Event",
    "EventStateError",
    "ExportFileError",
    "Fence",
    "Finding",
    "Fork",
    "FormatError",
    "GraphData",
    "GraphEdge",
    "GraphNode",
    "HealedQueue",
    "HistoryConflictError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidInputError",
    "Job",
    "JobClosedError",
    "JobDocument",
    "JobFileError",
    "JobFinishedError",
    "JobMigrator",
    "JobNotFoundError",
    "JobQueue",
    "JobRequest",
    "JobResult",
    "JobRules",
    "JobSpec",
    "JobStateStore",
    "JobTasks",
    "KeyLostError",
    "Keyring",
    "KeyringError",
    "LeaseLostError",
    "LimitUse",
    "LockAlreadyHeldError",
    "LockError",
    "LockInfo",
    "LockManager",
    "LockTimeoutError",
    "Machine",
    "Migration",
    "MigrationReport",
    "NestedTransactionError",
    "NotADatabaseError",
    "NotFoundError",
    "NotRepeatableError",
    "NotSupportedError",
    "OrchestrationEvent",
    "OrchestrationLog",
    "OrchestrationSnapshot",
    "OrchestrationStore",
    "OrchestrationSummary",
    "Orchestrator",
    "Origin",
    "OutcomeError",
    "Parked",
    "ParkedReport",
    "Pin",
    "Place",
    "ProgramError",
    "ProgramFailedError",
    "ProgramMissingError",
    "Projection",
    "ProjectionManager",
    "ProjectionNotFoundError",
    "ProjectionStatus",
    "ProjectionVersionError",
    "ProjectionView",
    "PruneCount",
    "PruneProblem",
    "PruneReport",
    "QueueDepth",
    "RecoveredState",
    "RecoveryReport",
    "ReplayReport",
    "RetentionManager",
    "RetentionPolicy",
    "RetryPolicy",
    "RunNotFoundError",
    "ScanNotSerializableError",
    "SchemaError",
    "SchemaNewerError",
    "Seal",
    "SealFile",
    "SealManager",
    "StateDeletedError",
    "StateDiff",
    "StateInterface",
    "StateMachinePersister",
    "StateNotFoundError",
    "StatePage",
    "StateSnapshot",
    "StorageFullError",
    "Store",
    "StoreClosedError",
    "StoreError",
    "StoreForkedError",
    "StorePermissionError",
    "StoreReadOnlyError",
    "StoreStats",
    "StoreUnavailableError",
    "StreamTransfer",
    "SubjectErasedError",
    "SubjectInfo",
    "SubjectNotFoundError",
    "SubprocessTool",
    "Subscription",
    "TaskBarrier",
    "TaskIndexError",
    "TaskMismatchError",
    "TaskOutcome",
    "TaskPhase",
    "TaskPolicy",
    "TaskReporter",
    "TaskResult",
    "TaskStatus",
    "TaskStatusNotFoundError",
    "TaskSubscription",
    "TaskUpdate",
    "TaskVerdict",
    "TimeTravel",
    "TokenExpiredError",
    "Tool",
    "ToolContext",
    "Tools",
    "Transaction",
    "TransactionConflictError",
    "TransactionEndedError",
    "TransactionManager",
    "TransactionRecord",
    "TransactionStatus",
    "TransferReport",
    "Transition",
    "UnhandledEvent",
    "UnhandledEventError",
    "UnitState",
    "UnknownEventError",
    "UpcastError",
    "VectorClock",
    "VersionConflictError",
    "VersionNotFoundError",
    "Worker",
    "WorkstreamNotFoundError",
    "__version__",
    "all_success",
    "any_success",
    "none_failed",
    "open_async_store",
    "open_store",
    "quorum",
    "timed_key",
    "weighted",
]

_LATE: typing.Final = {
    "ANY": "eventstate.core.expected",
    "AppendTo": "eventstate.machines.together",
    "Archive": "eventstate.stores.archive",
    "ArchiveReport": "eventstate.log.archive_check",
    "AskedJob": "eventstate.jobs.queue.survey",
    "AsyncEffectDispatcher": "eventstate.transactions.async_dispatcher",
    "AsyncJobMigrator": "eventstate.jobs.migrations.async_job_migrator",
    "AsyncJobQueue": "eventstate.jobs.queue.async_job_queue",
    "AsyncJobStateStore": "eventstate.jobs.runs.async_job_state_store",
    "AsyncJobTasks": "eventstate.jobs.tasks.async_job_tasks",
    "AsyncKeyring": "eventstate.machines.async_keyring",
    "AsyncLockManager": "eventstate.transactions.async_lock_manager",
    "AsyncOrchestrationLog": "eventstate.jobs.view.async_log",
    "AsyncOrchestrator": "eventstate.jobs.orchestrator.async_orchestrator",
    "AsyncProjectionManager": "eventstate.machines.async_projection_manager",
    "AsyncProjectionView": "eventstate.machines.async_projection_manager",
    "AsyncRetentionManager": "eventstate.machines.async_retention_manager",
    "AsyncSealManager": "eventstate.log.sealing.async_manager",
    "AsyncStateInterface": "eventstate.jobs.runs.interface",
    "AsyncStateMachinePersister": "eventstate.machines.async_persister",
    "AsyncStreamTransfer": "eventstate.log.transfer.async_stream_transfer",
    "AsyncSubscription": "eventstate.machines.async_subscription",
    "AsyncTaskReporter": "eventstate.jobs.tasks.async_job_tasks",
    "AsyncTaskSubscription": "eventstate.jobs.tasks.async_job_tasks",
    "AsyncTimeTravel": "eventstate.machines.async_time_travel",
    "AsyncTool": "eventstate.jobs.orchestrator.async_tool",
    "AsyncTransaction": "eventstate.machines.async_transaction",
    "AsyncTransactionManager": "eventstate.machines.async_transaction_manager",
    "AsyncWorker": "eventstate.jobs.queue.async_worker",
    "At": "eventstate.machines.comparing",
    "CallableTool": "eventstate.jobs.orchestrator.callable_tool",
    "CaughtUp": "eventstate.machines.deliveries",
    "ChangeMetadata": "eventstate.core.metadata",
    "ConsistencyReport": "eventstate.log.verify",
    "Delivery": "eventstate.machines.deliveries",
    "DeliveryReport": "eventstate.transactions.outbox",
    "Difference": "eventstate.core.differences",
    "DirectoryArchive": "eventstate.stores.directory",
    "DistributedLock": "eventstate.transactions.locks",
    "Divergence": "eventstate.log.replaying",
    "Effect": "eventstate.transactions.outbox",
    "EffectDispatcher": "eventstate.transactions.dispatcher",
    "Erased": "eventstate.core.privacy",
    "Event": "eventstate.machines.events",
    "Fence": "eventstate.core.leases",
    "Finding": "eventstate.log.verify",
    "Fork": "eventstate.machines.forking",
    "GraphData": "eventstate.jobs.view.graph",
    "GraphEdge": "eventstate.jobs.view.graph",
    "GraphNode": "eventstate.jobs.view.graph",
    "HealedQueue": "eventstate.jobs.queue.queueing",
    "Job": "eventstate.jobs.job",
    "JobDocument": "eventstate.jobs.migrations.steps",
    "JOB_MACHINES": "eventstate.jobs.runs.progress",
    "JobMigrator": "eventstate.jobs.migrations.job_migrator",
    "JobQueue": "eventstate.jobs.queue.job_queue",
    "JobRequest": "eventstate.jobs.queue.requests",
    "JobResult": "eventstate.jobs.runs.results",
    "JobRules": "eventstate.jobs.queue.rules",
    "JobSpec": "eventstate.jobs.runs.specs",
    "JobStateStore": "eventstate.jobs.runs.job_state_store",
    "JobTasks": "eventstate.jobs.tasks.job_tasks",
    "Keyring": "eventstate.machines.keyring",
    "LimitUse": "eventstate.jobs.queue.survey",
    "LockInfo": "eventstate.transactions.locks",
    "LockManager": "eventstate.transactions.lock_manager",
    "Machine": "eventstate.machines.machine",
    "Migration": "eventstate.jobs.migrations.steps",
    "MigrationReport": "eventstate.jobs.migrations.migrating",
    "OrchestrationEvent": "eventstate.jobs.view.events",
    "OrchestrationLog": "eventstate.jobs.view.log",
    "OrchestrationSnapshot": "eventstate.jobs.view.snapshot",
    "OrchestrationStore": "eventstate.jobs.view.store",
    "OrchestrationSummary": "eventstate.jobs.view.snapshot",
    "Orchestrator": "eventstate.jobs.orchestrator.orchestrator",
    "Origin": "eventstate.machines.forking",
    "Parked": "eventstate.log.parking",
    "ParkedReport": "eventstate.machines.parked_events",
    "Pin": "eventstate.core.pins",
    "Place": "eventstate.log.following",
    "Projection": "eventstate.machines.projection",
    "ProjectionManager": "eventstate.machines.projection_manager",
    "ProjectionStatus": "eventstate.machines.projection_status",
    "ProjectionView": "eventstate.machines.projection_manager",
    "PruneCount": "eventstate.log.pruning",
    "PruneProblem": "eventstate.log.pruning",
    "PruneReport": "eventstate.log.pruning",
    "QueueDepth": "eventstate.jobs.queue.survey",
    "RecoveredState": "eventstate.machines.reports",
    "RecoveryReport": "eventstate.machines.reports",
    "ReplayReport": "eventstate.log.replaying",
    "RetentionManager": "eventstate.machines.retention_manager",
    "RetentionPolicy": "eventstate.core.retention",
    "RetryPolicy": "eventstate.core.retrying",
    "Seal": "eventstate.core.seals",
    "SealFile": "eventstate.log.sealing.files",
    "SealManager": "eventstate.log.sealing.manager",
    "StateDiff": "eventstate.machines.comparing",
    "StateInterface": "eventstate.jobs.runs.interface",
    "StateMachinePersister": "eventstate.machines.persister",
    "StatePage": "eventstate.machines.states",
    "StateSnapshot": "eventstate.machines.states",
    "Store": "eventstate.stores.base",
    "StoreStats": "eventstate.machines.reports",
    "StreamTransfer": "eventstate.log.transfer.stream_transfer",
    "SubjectInfo": "eventstate.log.keyring",
    "SubprocessTool": "eventstate.jobs.orchestrator.subprocess_tool",
    "Subscription": "eventstate.machines.subscription",
    "TaskBarrier": "eventstate.jobs.tasks.following",
    "TaskOutcome": "eventstate.jobs.tasks.policies",
    "TaskPhase": "eventstate.jobs.tasks.policies",
    "TaskPolicy": "eventstate.jobs.tasks.policies",
    "TaskReporter": "eventstate.jobs.tasks.job_tasks",
    "TaskResult": "eventstate.jobs.tasks.policies",
    "TaskStatus": "eventstate.jobs.tasks.status",
    "TaskSubscription": "eventstate.jobs.tasks.job_tasks",
    "TaskUpdate": "eventstate.jobs.tasks.following",
    "TaskVerdict": "eventstate.jobs.tasks.policies",
    "TimeTravel": "eventstate.machines.time_travel",
    "Tool": "eventstate.jobs.orchestrator.tool",
    "ToolContext": "eventstate.jobs.orchestrator.tool",
    "Tools": "eventstate.jobs.orchestrator.tool",
    "Transaction": "eventstate.machines.transaction",
    "TransactionManager": "eventstate.machines.transaction_manager",
    "TransactionRecord": "eventstate.transactions.records",
    "TransactionStatus": "eventstate.transactions.records",
    "TransferReport": "eventstate.log.transfer.report",
    "Transition": "eventstate.machines.past",
    "UnhandledEvent": "eventstate.jobs.view.snapshot",
    "UnitState": "eventstate.jobs.view.snapshot",
    "VectorClock": "eventstate.core.causality",
    "Worker": "eventstate.jobs.queue.worker",
    "all_success": "eventstate.jobs.tasks.policies",
    "any_success": "eventstate.jobs.tasks.policies",
    "none_failed": "eventstate.jobs.tasks.policies",
    "open_async_store": "eventstate.stores.url",
    "open_store": "eventstate.stores.url",
    "quorum": "eventstate.jobs.tasks.policies",
    "timed_key": "eventstate.core.idempotency",
    "weighted": "eventstate.jobs.tasks.policies",
}
"""What is imported when it is first asked for: start-up pays for what a program uses."""


def __getattr__(name: str) -> object:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module 'eventstate' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


def _finish_imports() -> None:
    """Wait for what other threads are importing: a child would wait for them for ever, and they are not in it."""
    for name in list(sys.modules):  # a copy: others may go on importing
        if name.startswith("eventstate."):
            importlib.import_module(name)


os.register_at_fork(before=_finish_imports)
