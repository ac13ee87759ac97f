"""Durable state machines: snapshots and event logs that survive crashes."""

import importlib
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
    TokenExpiredError,
    TransactionConflictError,
    TransactionEndedError,
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
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.machines.projecting import Projection
    from eventstate.machines.projection_manager import ProjectionManager, ProjectionView
    from eventstate.machines.projection_status import ProjectionStatus
    from eventstate.machines.retention_manager import RetentionManager
    from eventstate.machines.states import (
        RecoveredState,
        RecoveryReport,
        StatePage,
        StateSnapshot,
        StoreStats,
        Transition,
    )
    from eventstate.machines.subscribing import ParkedReport
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
    "AlreadyExistsError",
    "AppendTo",
    "Archive",
    "ArchiveReport",
    "AsyncEffectDispatcher",
    "AsyncKeyring",
    "AsyncLockManager",
    "AsyncProjectionManager",
    "AsyncProjectionView",
    "AsyncRetentionManager",
    "AsyncSealManager",
    "AsyncStateMachinePersister",
    "AsyncStreamTransfer",
    "AsyncSubscription",
    "AsyncTimeTravel",
    "AsyncTransaction",
    "AsyncTransactionManager",
    "At",
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
    "HistoryConflictError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidInputError",
    "JobFinishedError",
    "JobNotFoundError",
    "KeyLostError",
    "Keyring",
    "KeyringError",
    "LeaseLostError",
    "LockAlreadyHeldError",
    "LockError",
    "LockInfo",
    "LockManager",
    "LockTimeoutError",
    "Machine",
    "NestedTransactionError",
    "NotADatabaseError",
    "NotFoundError",
    "NotRepeatableError",
    "NotSupportedError",
    "Origin",
    "OutcomeError",
    "Parked",
    "ParkedReport",
    "Pin",
    "Place",
    "Projection",
    "ProjectionManager",
    "ProjectionNotFoundError",
    "ProjectionStatus",
    "ProjectionVersionError",
    "ProjectionView",
    "PruneCount",
    "PruneProblem",
    "PruneReport",
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
    "Subscription",
    "TimeTravel",
    "TokenExpiredError",
    "Transaction",
    "TransactionConflictError",
    "TransactionEndedError",
    "TransactionManager",
    "TransactionRecord",
    "TransactionStatus",
    "TransferReport",
    "Transition",
    "UnknownEventError",
    "UpcastError",
    "VectorClock",
    "VersionConflictError",
    "VersionNotFoundError",
    "WorkstreamNotFoundError",
    "__version__",
    "open_async_store",
    "open_store",
    "timed_key",
]

_LATE: typing.Final = {
    "ANY": "eventstate.core.expected",
    "AppendTo": "eventstate.machines.together",
    "Archive": "eventstate.stores.archive",
    "ArchiveReport": "eventstate.log.archive_check",
    "AsyncEffectDispatcher": "eventstate.transactions.async_dispatcher",
    "AsyncKeyring": "eventstate.machines.async_keyring",
    "AsyncLockManager": "eventstate.transactions.async_lock_manager",
    "AsyncProjectionManager": "eventstate.machines.async_projection_manager",
    "AsyncProjectionView": "eventstate.machines.async_projection_manager",
    "AsyncRetentionManager": "eventstate.machines.async_retention_manager",
    "AsyncSealManager": "eventstate.log.sealing.async_manager",
    "AsyncStateMachinePersister": "eventstate.machines.async_persister",
    "AsyncStreamTransfer": "eventstate.log.transfer.async_stream_transfer",
    "AsyncSubscription": "eventstate.machines.async_subscription",
    "AsyncTimeTravel": "eventstate.machines.async_time_travel",
    "AsyncTransaction": "eventstate.machines.async_transaction",
    "AsyncTransactionManager": "eventstate.machines.async_transaction_manager",
    "At": "eventstate.machines.comparing",
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
    "Keyring": "eventstate.machines.keyring",
    "LockInfo": "eventstate.transactions.locks",
    "LockManager": "eventstate.transactions.lock_manager",
    "Machine": "eventstate.machines.machine",
    "Origin": "eventstate.machines.forking",
    "Parked": "eventstate.log.parking",
    "ParkedReport": "eventstate.machines.subscribing",
    "Pin": "eventstate.core.pins",
    "Place": "eventstate.log.following",
    "Projection": "eventstate.machines.projecting",
    "ProjectionManager": "eventstate.machines.projection_manager",
    "ProjectionStatus": "eventstate.machines.projection_status",
    "ProjectionView": "eventstate.machines.projection_manager",
    "PruneCount": "eventstate.log.pruning",
    "PruneProblem": "eventstate.log.pruning",
    "PruneReport": "eventstate.log.pruning",
    "RecoveredState": "eventstate.machines.states",
    "RecoveryReport": "eventstate.machines.states",
    "ReplayReport": "eventstate.log.replaying",
    "RetentionManager": "eventstate.machines.retention_manager",
    "RetentionPolicy": "eventstate.core.retention",
    "RetryPolicy": "eventstate.core.retrying",
    "Seal": "eventstate.core.seals",
    "SealFile": "eventstate.log.sealing.files",
    "SealManager": "eventstate.log.sealing.manager",
    "StateDiff": "eventstate.machines.comparing",
    "StateMachinePersister": "eventstate.machines.persister",
    "StatePage": "eventstate.machines.states",
    "StateSnapshot": "eventstate.machines.states",
    "Store": "eventstate.stores.base",
    "StoreStats": "eventstate.machines.states",
    "StreamTransfer": "eventstate.log.transfer.stream_transfer",
    "SubjectInfo": "eventstate.log.keyring",
    "Subscription": "eventstate.machines.subscription",
    "TimeTravel": "eventstate.machines.time_travel",
    "Transaction": "eventstate.machines.transaction",
    "TransactionManager": "eventstate.machines.transaction_manager",
    "TransactionRecord": "eventstate.transactions.records",
    "TransactionStatus": "eventstate.transactions.records",
    "TransferReport": "eventstate.log.transfer.report",
    "Transition": "eventstate.machines.states",
    "VectorClock": "eventstate.core.causality",
    "open_async_store": "eventstate.stores.url",
    "open_store": "eventstate.stores.url",
    "timed_key": "eventstate.core.idempotency",
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
