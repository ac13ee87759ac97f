"""Durable state machines: snapshots and event logs that survive crashes."""

import importlib
import typing

from eventstate.errors import (
    CommitUnknownError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    DeadlockDetectedError,
    DocumentTooLargeError,
    EncodingError,
    EventStateError,
    FormatError,
    IdempotencyMismatchError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
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
    TokenExpiredError,
    TransactionConflictError,
    TransactionEndedError,
    UnknownEventError,
    UpcastError,
    VersionConflictError,
    VersionNotFoundError,
)

if typing.TYPE_CHECKING:
    from eventstate.core.causality import VectorClock
    from eventstate.core.expected import ANY
    from eventstate.core.leases import Fence
    from eventstate.core.metadata import ChangeMetadata
    from eventstate.core.retrying import RetryPolicy
    from eventstate.log.verify import ConsistencyReport, Finding
    from eventstate.machines.async_persister import AsyncStateMachinePersister
    from eventstate.machines.async_transaction import AsyncTransaction
    from eventstate.machines.async_transaction_manager import AsyncTransactionManager
    from eventstate.machines.events import Event
    from eventstate.machines.machine import Machine
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.machines.states import (
        RecoveredState,
        RecoveryReport,
        StatePage,
        StateSnapshot,
        StoreStats,
        Transition,
    )
    from eventstate.machines.together import AppendTo
    from eventstate.machines.transaction import Transaction
    from eventstate.machines.transaction_manager import TransactionManager
    from eventstate.stores.base import Store
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
    "AppendTo",
    "AsyncEffectDispatcher",
    "AsyncLockManager",
    "AsyncStateMachinePersister",
    "AsyncTransaction",
    "AsyncTransactionManager",
    "ChangeMetadata",
    "CommitUnknownError",
    "ConfigurationError",
    "ConflictError",
    "ConsistencyReport",
    "CorruptionError",
    "DeadlockDetectedError",
    "DeliveryReport",
    "DistributedLock",
    "DocumentTooLargeError",
    "Effect",
    "EffectDispatcher",
    "EncodingError",
    "Event",
    "EventStateError",
    "Fence",
    "Finding",
    "FormatError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidInputError",
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
    "OutcomeError",
    "RecoveredState",
    "RecoveryReport",
    "RetryPolicy",
    "ScanNotSerializableError",
    "SchemaError",
    "SchemaNewerError",
    "StateDeletedError",
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
    "TokenExpiredError",
    "Transaction",
    "TransactionConflictError",
    "TransactionEndedError",
    "TransactionManager",
    "TransactionRecord",
    "TransactionStatus",
    "Transition",
    "UnknownEventError",
    "UpcastError",
    "VectorClock",
    "VersionConflictError",
    "VersionNotFoundError",
    "__version__",
    "open_async_store",
    "open_store",
]

_LATE: typing.Final = {
    "ANY": "eventstate.core.expected",
    "AppendTo": "eventstate.machines.together",
    "AsyncEffectDispatcher": "eventstate.transactions.async_dispatcher",
    "AsyncLockManager": "eventstate.transactions.async_lock_manager",
    "AsyncStateMachinePersister": "eventstate.machines.async_persister",
    "AsyncTransaction": "eventstate.machines.async_transaction",
    "AsyncTransactionManager": "eventstate.machines.async_transaction_manager",
    "ChangeMetadata": "eventstate.core.metadata",
    "ConsistencyReport": "eventstate.log.verify",
    "DeliveryReport": "eventstate.transactions.outbox",
    "DistributedLock": "eventstate.transactions.locks",
    "Effect": "eventstate.transactions.outbox",
    "EffectDispatcher": "eventstate.transactions.dispatcher",
    "Event": "eventstate.machines.events",
    "Fence": "eventstate.core.leases",
    "Finding": "eventstate.log.verify",
    "LockInfo": "eventstate.transactions.locks",
    "LockManager": "eventstate.transactions.lock_manager",
    "Machine": "eventstate.machines.machine",
    "RecoveredState": "eventstate.machines.states",
    "RecoveryReport": "eventstate.machines.states",
    "RetryPolicy": "eventstate.core.retrying",
    "StateMachinePersister": "eventstate.machines.persister",
    "StatePage": "eventstate.machines.states",
    "StateSnapshot": "eventstate.machines.states",
    "Store": "eventstate.stores.base",
    "StoreStats": "eventstate.machines.states",
    "Transaction": "eventstate.machines.transaction",
    "TransactionManager": "eventstate.machines.transaction_manager",
    "TransactionRecord": "eventstate.transactions.records",
    "TransactionStatus": "eventstate.transactions.records",
    "Transition": "eventstate.machines.states",
    "VectorClock": "eventstate.core.causality",
    "open_async_store": "eventstate.stores.url",
    "open_store": "eventstate.stores.url",
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
