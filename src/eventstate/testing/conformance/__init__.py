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

from eventstate.testing.conformance.contention import ContentionCases
from eventstate.testing.conformance.documents import DocumentCases
from eventstate.testing.conformance.feeding import ClockCases, FeedCases, LifecycleCases
from eventstate.testing.conformance.limits import LimitCases
from eventstate.testing.conformance.scanning import ScanCases
from eventstate.testing.conformance.suite import Suite
from eventstate.testing.conformance.worlds import AsyncioWorld, BlockingWorld, World


class StoreConformance(
    DocumentCases, LimitCases, ScanCases, FeedCases, ClockCases, LifecycleCases, ContentionCases
):
    """Every promise of the store port."""


__all__ = [
    "AsyncioWorld",
    "BlockingWorld",
    "StoreConformance",
    "Suite",
    "World",
]
