"""Durable state machines: snapshots and event logs that survive crashes."""

from eventstate.core.causality import VectorClock
from eventstate.core.expected import ANY
from eventstate.core.metadata import ChangeMetadata
from eventstate.errors import (
    CommitUnknownError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    DocumentTooLargeError,
    EncodingError,
    EventStateError,
    FormatError,
    IdempotencyMismatchError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
    NotADatabaseError,
    NotFoundError,
    NotSupportedError,
    OutcomeError,
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
    UnknownEventError,
    UpcastError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.log.verify import ConsistencyReport, Finding
from eventstate.machines.async_persister import AsyncStateMachinePersister
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
from eventstate.stores.base import Store
from eventstate.stores.url import open_async_store, open_store

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "AppendTo",
    "AsyncStateMachinePersister",
    "ChangeMetadata",
    "CommitUnknownError",
    "ConfigurationError",
    "ConflictError",
    "ConsistencyReport",
    "CorruptionError",
    "DocumentTooLargeError",
    "EncodingError",
    "Event",
    "EventStateError",
    "Finding",
    "FormatError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidInputError",
    "Machine",
    "NotADatabaseError",
    "NotFoundError",
    "NotSupportedError",
    "OutcomeError",
    "RecoveredState",
    "RecoveryReport",
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
    "TransactionConflictError",
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
