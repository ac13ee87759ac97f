"""How each backend is opened for the conformance classes: in a place of its own, made when it is first needed."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from eventstate.runtime.base import Runtime
from eventstate.stores.base import Store
from eventstate.stores.memory import MemoryStore
from eventstate.stores.sqlite import store as sqlite_store
from eventstate.stores.sqlite.connection import Settings, create_file
from eventstate.stores.sqlite.engine import Engine
from eventstate.stores.url import make_store
from eventstate.testing.conformance import AsyncioWorld, Suite
from eventstate.testing.conformance.persisters import PersisterSuite


class OnMemory(Suite):
    """What is in memory is the store."""

    _store: MemoryStore | None = None

    def open_store(self, runtime: Runtime) -> Store:
        if self._store is None:
            self._store = MemoryStore(runtime)
        return self._store


class OnSqlite(Suite):
    """One file."""

    rounds = 6
    options = ""
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def open_store(self, runtime: Runtime) -> Store:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
        return make_store(f"sqlite:///{Path(self._folder.name) / 'store.db'}{self.options}", runtime)

    def open_apart(self, runtime: Runtime) -> Store:
        """With connections of its own, as another process would have."""
        with patch.object(sqlite_store, "shared_engine", _engine_of_its_own):
            return self.open_store(runtime)

    def clean_up(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _engine_of_its_own(settings: Settings, new_node: Callable[[], str]) -> Engine:
    create_file(settings)
    engine = Engine(settings, new_node)
    engine.users = 1
    return engine


class OnFirestore(Suite):
    """One project on the run's emulator."""

    rounds = 4
    host = ""
    _project: str | None = None

    @pytest.fixture(autouse=True)
    def _emulator(self, emulator_host: str) -> None:
        OnFirestore.host = emulator_host

    def open_store(self, runtime: Runtime) -> Store:
        from eventstate.stores.firestore import open_firestore

        if self._project is None:
            self._project = f"test-{uuid.uuid4().hex[:20]}"
        return open_firestore(self._project, runtime=runtime, emulator_host=self.host)


# For tests that make a suite themselves, such as one for each example of Hypothesis.


class Memory(OnMemory, PersisterSuite):
    pass


class Sqlite(OnSqlite, PersisterSuite):
    options = "?durability=off"  # nothing here is about power loss, and syncing is most of the time


class Firestore(OnFirestore, PersisterSuite):
    pass


class MemoryAsyncio(Memory):
    world_type = AsyncioWorld


class SqliteAsyncio(Sqlite):
    world_type = AsyncioWorld


class FirestoreAsyncio(Firestore):
    world_type = AsyncioWorld


def prepare(suite: type[Suite], request: pytest.FixtureRequest) -> None:
    """Get what the backend needs, or skip."""
    if issubclass(suite, OnFirestore):
        OnFirestore.host = request.getfixturevalue("emulator_host")
