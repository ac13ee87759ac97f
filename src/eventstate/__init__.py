"""Durable state machines: snapshots and event logs that survive crashes."""

from eventstate import errors
from eventstate.core.causality import VectorClock
from eventstate.core.expected import ANY
from eventstate.core.metadata import ChangeMetadata
from eventstate.errors import *  # noqa: F403
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
    "ConsistencyReport",
    "Event",
    "Finding",
    "Machine",
    "RecoveredState",
    "RecoveryReport",
    "StateMachinePersister",
    "StatePage",
    "StateSnapshot",
    "Store",
    "StoreStats",
    "Transition",
    "VectorClock",
    "__version__",
    "errors",
    "open_async_store",
    "open_store",
    *errors.__all__,
]
