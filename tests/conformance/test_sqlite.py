"""The conformance suite on a SQLite file."""

from __future__ import annotations

import pytest

from eventstate.testing.conformance import (
    AsyncioWorld,
    PersisterConformance,
    SettlementConformance,
    StoreConformance,
)
from tests.conformance.backends import OnSqlite

pytestmark = pytest.mark.backend("sqlite")


class TestStoreSync(OnSqlite, StoreConformance):
    pass


class TestStoreAsyncio(OnSqlite, StoreConformance):
    world_type = AsyncioWorld


class TestPersisterSync(OnSqlite, PersisterConformance):
    pass


class TestPersisterAsyncio(OnSqlite, PersisterConformance):
    world_type = AsyncioWorld


class TestSettlementSync(OnSqlite, SettlementConformance):
    pass


class TestSettlementAsyncio(OnSqlite, SettlementConformance):
    world_type = AsyncioWorld
