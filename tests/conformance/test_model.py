"""Random histories on every backend against a model in plain Python."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from eventstate.testing.conformance.suite import Suite
from eventstate.testing.model import PersisterMachine
from eventstate.testing.model_documents import DocumentMachine
from tests.conformance.backends import (
    Firestore,
    FirestoreAsyncio,
    Memory,
    MemoryAsyncio,
    Sqlite,
    SqliteAsyncio,
    prepare,
)

STEPS = 40

SHORT = [
    pytest.param(PersisterMachine, Memory, 60, id="persister-memory"),
    pytest.param(PersisterMachine, MemoryAsyncio, 30, id="persister-memory-asyncio"),
    pytest.param(PersisterMachine, Sqlite, 30, id="persister-sqlite"),
    pytest.param(PersisterMachine, SqliteAsyncio, 15, id="persister-sqlite-asyncio"),
    pytest.param(PersisterMachine, Firestore, 5, id="persister-firestore"),
    pytest.param(PersisterMachine, FirestoreAsyncio, 5, id="persister-firestore-asyncio"),
    pytest.param(DocumentMachine, Memory, 60, id="documents-memory"),
    pytest.param(DocumentMachine, Sqlite, 30, id="documents-sqlite"),
    pytest.param(DocumentMachine, Firestore, 8, id="documents-firestore"),
]
LONG = [
    pytest.param(PersisterMachine, Memory, id="persister-memory"),
    pytest.param(PersisterMachine, SqliteAsyncio, id="persister-sqlite"),
    pytest.param(DocumentMachine, Memory, id="documents-memory"),
    pytest.param(DocumentMachine, Sqlite, id="documents-sqlite"),
]


def play(machine: type[RuleBasedStateMachine], suite: type[Suite], chosen: settings) -> None:
    run_state_machine_as_test(type(machine.__name__, (machine,), {"suite_type": suite}), settings=chosen)


@pytest.mark.parametrize(("machine", "suite", "examples"), SHORT)
def test_random_histories(
    machine: type[RuleBasedStateMachine], suite: type[Suite], examples: int, request: pytest.FixtureRequest
) -> None:
    prepare(suite, request)
    play(machine, suite, settings(max_examples=examples, stateful_step_count=STEPS))


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("machine", "suite"), LONG)
def test_random_histories_for_long(machine: type[RuleBasedStateMachine], suite: type[Suite]) -> None:
    play(machine, suite, settings(stateful_step_count=2 * STEPS))
