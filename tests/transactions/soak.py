"""Transactions that read and append to lists, in documents, in a guarded collection and in machine states.

The keys change with time, so lists stay short. What each transaction did is recorded for the checker of
`eventstate.testing.serializability`. As a module for ``reaping.py`` it works in processes on one SQLite file.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eventstate import (
    ANY,
    CommitUnknownError,
    Machine,
    RetryPolicy,
    StateNotFoundError,
    StoreUnavailableError,
    TransactionConflictError,
    open_store,
)
from eventstate.core.documents import DOCUMENT, HEAD, Batch, Key
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.conformance.undertaking import Manager, Tx
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.serializability import Append, Operation, Outcome, Read, Recorder, Transaction

GOVERNOR = "soak"
FILE = "store.db"
DOCUMENTS, GUARDED = "lists", "guarded"
PLACES = 4
"""Keys of each kind that are in use at one time."""


@dataclass(frozen=True)
class Values:
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Appended:
    value: int


def evolve(state: Values, event: Appended) -> Values:
    return Values((*state.values, event.value))


lists = Machine("list", Values(), evolve)


class Doomed(Exception):
    """Raised by an operation that was not to commit: what it has read must hold together all the same."""

    def __init__(self, reads: Sequence[Read]) -> None:
        super().__init__("as was meant")
        self.reads = reads


class Notes(Protocol):
    """Where a history is noted: a recorder, or a list."""

    def begin(self, appends: Sequence[Append]) -> str: ...
    def end(self, id: str, outcome: Outcome, operations: Sequence[Operation] | None = None) -> None: ...


class History:
    """Notes in this process's memory."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._begun: dict[str, tuple[int, Sequence[Operation]]] = {}
        self._ended: list[Transaction] = []
        self._mutex = threading.Lock()

    def begin(self, appends: Sequence[Append]) -> str:
        with self._mutex:
            id = f"t{next(self._numbers)}"
            self._begun[id] = time.monotonic_ns(), appends
            return id

    def end(self, id: str, outcome: Outcome, operations: Sequence[Operation] | None = None) -> None:
        ended = time.monotonic_ns()
        with self._mutex:
            started, appends = self._begun.pop(id)
            operations = appends if operations is None else operations
            self._ended.append(
                Transaction(id=id, process="here", operations=operations, outcome=outcome, started=started, ended=ended)
            )

    def transactions(self) -> list[Transaction]:
        assert not self._begun
        return list(self._ended)


@dataclass(frozen=True)
class Step:
    """One thing that a transaction does; ``value`` is None where it reads."""

    kind: str
    key: str
    value: int | None = None


@dataclass(frozen=True)
class Plan:
    steps: Sequence[Step]
    is_doomed: bool

    @property
    def appends(self) -> list[Append]:
        return [Append(f"{step.kind}:{step.key}", step.value) for step in self.steps if step.value is not None]


class Planner:
    """Draws transactions. ``epoch`` names the present keys: it is the same for all who work together."""

    def __init__(
        self,
        chance: random.Random,
        first_value: int,
        epoch: Callable[[], int],
        places: int = PLACES,
        doomed: float = 0.08,
    ) -> None:
        self._chance = chance
        self._doomed = doomed
        self._values = itertools.count(first_value)
        self._epoch = epoch
        self._places = places

    def plan(self) -> Plan:
        chance, epoch = self._chance, self._epoch()
        steps: list[Step] = []
        for _ in range(chance.choice((1, 2, 2, 3, 4))):
            kind = chance.choice("ddsg")
            key = f"{epoch}.{chance.randrange(self._places)}"
            what = chance.random()
            if kind == "g" and what < 0.4:
                steps.append(Step("list", str(epoch)))
            elif what < 0.5:
                steps.append(Step(kind, key))
            else:
                steps += [Step(kind, key, next(self._values)) for _ in range(chance.choice((1, 1, 1, 2)))]
        return Plan(steps, chance.random() < self._doomed)


def operation_on(places: int) -> Callable[[Tx, Plan], Awaitable[list[Operation]]]:
    """The operation that carries out a plan and says what it read and did."""

    async def operation(tx: Tx, plan: Plan) -> list[Operation]:
        done: list[Operation] = []
        for step in plan.steps:
            done += await _done(tx, step, places)
        if plan.is_doomed:
            appended: set[str] = set()
            reads: list[Read] = []
            for one in done:
                if isinstance(one, Append):
                    appended.add(one.key)
                elif one.key not in appended:
                    reads.append(one)
            raise Doomed(reads)
        return done

    return operation


async def _done(tx: Tx, step: Step, places: int) -> list[Operation]:
    if step.kind == "list":
        found = dict(await tx.list_documents(GUARDED, prefix=f"{step.key}."))
        ids = [f"{step.key}.{place}" for place in range(places)]
        return [Read(f"g:{id}", tuple(found.get(id, ()))) for id in ids]
    key = f"{step.kind}:{step.key}"
    if step.kind == "s":
        if step.value is None:
            state = await tx.find(lists, step.key)
            return [Read(key, () if state is None else state.data.values)]
        state = await tx.append(lists, step.key, Appended(step.value), expected=ANY)
        after = state.data.values
        return [Append(key, step.value), Read(key, after)]
    collection = DOCUMENTS if step.kind == "d" else GUARDED
    values = await tx.get_document(collection, step.key) or []
    if step.value is None:
        return [Read(key, tuple(values))]
    await tx.put_document(collection, step.key, [*values, step.value])
    return [Read(key, tuple(values)), Append(key, step.value)]


async def transact(manager: Manager, notes: Notes, plan: Plan, places: int = PLACES) -> None:
    """Run one transaction and note what came of it."""
    id = notes.begin(plan.appends)
    try:
        done = await manager.run(operation_on(places), plan)
    except Doomed as doomed:
        notes.end(id, Outcome.COMMITTED, doomed.reads)
    except (TransactionConflictError, StoreUnavailableError):
        notes.end(id, Outcome.ABORTED)
    except CommitUnknownError:
        notes.end(id, Outcome.UNKNOWN)
    else:
        notes.end(id, Outcome.COMMITTED, done)


def manager_on(store: Store, policy: RetryPolicy | None = None) -> Manager:
    policy = policy or RetryPolicy(attempts=8, initial=0.002, cap=0.05, timeout=20)
    return Manager(store, governor=GOVERNOR, guarded=[GUARDED], machines=[lists], retry=policy)


def losing(store: Store, chance: random.Random, rate: float) -> Store:
    """The store, with answers and requests lost by chance."""
    faults = (Fault.LOST_ANSWER, Fault.LOST_ANSWER, Fault.LOST_REQUEST)

    def script(_batch: Batch) -> Fault:
        return chance.choice(faults) if chance.random() < rate else Fault.NONE

    return FaultyStore(store, script)


async def final_lists(store: Store) -> Mapping[str, Sequence[int]]:
    """All lists as they are at the end, read by one who knows nothing."""
    final: dict[str, Sequence[int]] = {}
    after: Key | None = None
    manager = manager_on(store)

    async def read(tx: Tx, ids: Sequence[tuple[str, str]]) -> None:
        for collection, id in ids:
            final[f"{'d' if collection == DOCUMENTS else 'g'}:{id}"] = await tx.get_document(collection, id)

    async def load(tx: Tx, ids: Sequence[str]) -> None:
        for id in ids:
            try:
                final[f"s:{id}"] = (await tx.load(lists, id)).data.values
            except StateNotFoundError:
                continue  # a head that was moved to kill a commit, and no event

    while True:
        page = await store.scan(DOCUMENT, GOVERNOR, after=after, limit=300)
        await manager.run(read, [tuple(d.key.id.replace("!", "").split("/")) for d in page.documents])
        after = page.next
        if after is None:
            break
    while True:
        page = await store.scan(HEAD, GOVERNOR, after=after, limit=300)
        await manager.run(load, [d.key.id.removeprefix("list-") for d in page.documents])
        after = page.next
        if after is None:
            return final


# As a module for reaping.py


def work(folder: Path, name: str, life: int) -> None:
    """Transactions without end, on the folder's SQLite file."""
    parent = os.getppid()
    chance = random.Random(f"{folder.name}{name}{life}")
    period = float((folder / "period.txt").read_text())
    planner = Planner(chance, life * 1_000_000, lambda: int(time.monotonic() / period))
    with (
        open_store(f"sqlite:///{folder / FILE}?durability=off") as store,
        Recorder(folder, f"{name}.{life}") as recorder,
    ):
        manager = manager_on(losing(store, chance, 0.03))
        while os.getppid() == parent:
            drive(transact(manager, recorder, planner.plan()))


def count(folder: Path) -> int:
    """About how many transactions have ended."""
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("*.history.jsonl"))
    return lines // 2
