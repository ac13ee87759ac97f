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
from eventstate.testing.conformance.documents import DocumentCases
from eventstate.testing.conformance.feeding import ClockCases, FeedCases, LifecycleCases
from eventstate.testing.conformance.killing import AbortCases, OutcomeCases
from eventstate.testing.conformance.limits import LimitCases
from eventstate.testing.conformance.rebuilding import HistoryCases, ListCases, RebuildCases
from eventstate.testing.conformance.repeating import DeletionCases, IdempotencyCases
from eventstate.testing.conformance.scanning import ScanCases
from eventstate.testing.conformance.settlement import ExpiryCases, LateCopyCases, RefusedResendCases
from eventstate.testing.conformance.suite import Suite
from eventstate.testing.conformance.worlds import AsyncioWorld, BlockingWorld, World


class StoreConformance(DocumentCases, LimitCases, ScanCases, FeedCases, ClockCases, LifecycleCases, ContentionCases):
    """Every promise of the store port."""


class PersisterConformance(
    AppendCases, RaceCases, IdempotencyCases, DeletionCases, RebuildCases, HistoryCases, ListCases, DamageCases
):
    """What persisters promise on top of a store: histories, snapshots, repairs."""


class SettlementConformance(LateCopyCases, RefusedResendCases, AbortCases, OutcomeCases, KeyCases, ExpiryCases):
    """What becomes of commits whose answer is missing."""


__all__ = [
    "AsyncioWorld",
    "BlockingWorld",
    "PersisterConformance",
    "SettlementConformance",
    "StoreConformance",
    "Suite",
    "World",
]
