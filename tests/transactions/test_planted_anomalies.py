"""The soak can fail: with a bug in the library the checker names the anomaly that the bug makes.

The same transactions as in the soak, in small: a few tasks on a memory store, interleaved by seed at every call of
the store. Kinds that no small change to the library makes are planted in histories, in tests/serializability.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from eventstate import RetryPolicy
from eventstate.core.documents import (
    DOCUMENT,
    GUARD,
    HEAD,
    Batch,
    Check,
    Committed,
    Document,
    Key,
    Operation,
    Put,
    Refused,
    Require,
)
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.transacting import _Run
from eventstate.testing.planted import PLANTS
from eventstate.testing.planted.plant import Patch
from eventstate.testing.serializability import Kind, check
from eventstate.testing.simulation import Simulation
from eventstate.transactions import documents
from eventstate.transactions.commit import Committer
from eventstate.transactions.documents import DocumentBuffer
from eventstate.transactions.readset import ReadSet
from tests.transactions.soak import History, Planner, final_lists, losing, manager_on, transact

pytestmark = pytest.mark.backend("memory")

TASKS, TURNS, PLACES = 4, 5, 2
SOUND_SEEDS = 300
SEEDS = 1000
"""So many runs must be enough to find each bug; most take a few."""


def anomalies(seed: int, *, rate: float = 0.1) -> set[Kind]:
    """What the checker finds in one run."""
    found: set[Kind] = set()

    async def scenario(simulation: Simulation) -> None:
        store = simulation.store()
        history = History()
        policy = RetryPolicy(attempts=6, initial=0.01, cap=0.1, timeout=60)

        async def work(number: int) -> None:
            chance = random.Random(f"{seed}.{number}")
            manager = manager_on(losing(store, chance, rate), policy)
            planner = Planner(chance, number * 1000 + 1, lambda: 0, PLACES, doomed=0.25)
            for _ in range(TURNS):
                await transact(manager, history, planner.plan(), PLACES)

        await simulation.together(work(number) for number in range(TASKS))
        found.update(one.kind for one in check(history.transactions(), final=await final_lists(store)))

    Simulation(seed).run(scenario)
    return found


def test_the_library_is_sound() -> None:
    assert [seed for seed in range(SOUND_SEEDS) if anomalies(seed)] == []


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_the_library_is_sound_in_many() -> None:
    assert [seed for seed in range(SOUND_SEEDS, 20_000) if anomalies(seed)] == []


# Bugs, each with what it makes


def planted(name: str) -> Callable[[], Sequence[Patch]]:
    return next(plant for plant in PLANTS if plant.name == name).patches


def validated_when_read_only() -> list[Patch]:
    """The reads are looked at before the commit, which has no preconditions of its own."""
    commit = Committer.commit

    async def without(self: Committer, batch: Batch) -> Committed | Refused:
        return await commit(self, batch._replace(operations=[_whatever(op) for op in batch.operations]))

    async def first(self: _Run, transaction: TransactionCore, result: Any, unforgotten: Any) -> Any:
        changed = await transaction.reads.changed(self._transacting.committer)
        if changed:
            raise self._conflict(transaction, changed)
        return await commit_run(self, transaction, result, unforgotten)

    commit_run = _Run._commit
    return [(Committer, "commit", without), (_Run, "_commit", first)]


def _whatever(operation: Operation) -> Operation:
    return operation._replace(when=Require.ANY) if operation.key.kind in (DOCUMENT, GUARD, HEAD) else operation


def dirty_reads() -> list[Patch]:
    """What others are about to write is seen."""
    touched: dict[Key, bytes | None] = {}
    put, get = DocumentBuffer.put, DocumentBuffer.get

    async def shown(self: DocumentBuffer, collection: str, id: str, value: Any) -> None:
        await put(self, collection, id, value)
        key = self._collections.key(collection, id)
        touched[key] = self._written[key]

    async def seen(self: DocumentBuffer, collection: str, id: str) -> Any:
        key = self._collections.key(collection, id)
        if key in touched and key not in self._written:
            await self._reads.get(key)
            return documents.orjson.loads(touched[key] or b"null")
        return await get(self, collection, id)

    return [(DocumentBuffer, "put", shown), (DocumentBuffer, "get", seen)]


def written_at_once() -> list[Patch]:
    """Each document is written when it is put, not at the end."""
    put = DocumentBuffer.put

    async def put_now(self: DocumentBuffer, collection: str, id: str, value: Any) -> None:
        await put(self, collection, id, value)
        token = self._store.runtime.unique()
        writes = [op._replace(when=Require.ANY) for op in self.operations(token) if isinstance(op, Put)]
        await self._store.commit(Batch(token, writes))
        for write in writes:
            self._reads._seen.pop(write.key, None)

    return [(DocumentBuffer, "put", put_now), *unconditional()]


def unconditional() -> list[Patch]:
    """Commits have no preconditions at all."""
    commit = Committer.commit

    async def whatever(self: Committer, batch: Batch) -> Committed | Refused:
        operations = [_whatever(op) for op in batch.operations if not isinstance(op, Check)]
        return await commit(self, batch._replace(operations=operations))

    return [(Committer, "commit", whatever)]


def one_after_the_other() -> list[Patch]:
    """Documents of one transaction are written in one commit each."""
    commit = Committer.commit

    async def apart(self: Committer, batch: Batch) -> Committed | Refused:
        lone = [op for op in batch.operations if isinstance(op, Put) and op.key.kind == DOCUMENT]
        rest = [op for op in batch.operations if op not in lone]
        if any(op.key.kind == HEAD and isinstance(op, Put) for op in batch.operations) or len(lone) < 2:
            return await commit(self, batch)
        if isinstance(await self._store.commit(Batch(batch.token, rest)), Refused):
            return Refused(None)
        for write in lone:
            await self._store.commit(Batch(batch.token, [write._replace(when=Require.ANY)]))
        return Committed({}, 0)

    return [(Committer, "commit", apart)]


def stale_reads() -> list[Patch]:
    """A manager reads what it remembers, and confirms nothing where it writes nothing."""
    get = ReadSet.get
    remembered: dict[tuple[int, Key], Document | None] = {}

    async def old(self: ReadSet, key: Key) -> Document | None:
        place = id(self._turn._turns), key
        if place in remembered and key not in self._seen:
            self._seen[key] = remembered[place]
        remembered[place] = await get(self, key)
        return remembered[place]

    async def confirm(_self: _Run, _transaction: TransactionCore) -> None:
        return None

    def forget(self: _Run, transaction: TransactionCore, keys: Any) -> Any:
        remembered.clear()
        return conflict(self, transaction, keys)

    conflict = _Run._conflict
    return [(ReadSet, "get", old), (_Run, "_confirm", confirm), (_Run, "_conflict", forget)]


def refused_is_done() -> list[Patch]:
    """A refusal goes unnoticed."""
    commit = Committer.commit

    async def done(self: Committer, batch: Batch) -> Committed | Refused:
        result = await commit(self, batch)
        return Committed({}, 0) if isinstance(result, Refused) else result

    return [(Committer, "commit", done)]


def own_writes_unseen() -> list[Patch]:
    async def get(self: DocumentBuffer, collection: str, id: str) -> Any:
        document = await self._reads.get(await self._key(collection, id, reads=True))
        return None if document is None else documents.value_of(document)

    return [(DocumentBuffer, "get", get)]


def other_bytes() -> list[Patch]:
    """What comes back is not what was written."""
    value_of = documents.value_of

    def mangled(document: Document) -> Any:
        value = value_of(document)
        return [*value[:-1], -value[-1]] if len(value) % 3 == 2 else value

    return [(documents, "value_of", mangled)]


def aborted_and_kept() -> list[Patch]:
    """An operation that raises has its documents written all the same."""
    judge = _Run._judge

    async def keep(self: _Run, transaction: TransactionCore, error: Exception) -> Any:
        if transaction.has_writes and not transaction.has_events:
            await self._transacting.committer.commit(transaction.batch(()))
        return await judge(self, transaction, error)

    return [(_Run, "_judge", keep)]


def unguarded_streams() -> list[Patch]:
    """The entry alone is the compare-and-swap; heads are replaced whatever they are."""
    commit = Committer.commit

    async def whatever(self: Committer, batch: Batch) -> Committed | Refused:
        operations = [op._replace(when=Require.ANY) if op.key.kind == HEAD else op for op in batch.operations]
        operations = [op for op in operations if not (isinstance(op, Check) and op.when is Require.ANY)]
        return await commit(self, batch._replace(operations=operations))

    return [(Committer, "commit", whatever)]


BUGS: list[tuple[str, Callable[[], Sequence[Patch]], Collection[Kind]]] = [
    ("read-only keys not checked", planted("read-only-keys-not-checked"), {Kind.G2}),
    ("absent reads not checked", planted("absent-reads-not-checked"), {Kind.G2, Kind.LOST_UPDATE, Kind.G_SINGLE}),
    ("guard not replaced", planted("guard-not-replaced"), {Kind.G2}),
    ("reads alone not confirmed", planted("reads-alone-not-confirmed"), {Kind.G_SINGLE}),
    ("zombies are shown", planted("zombies-are-shown"), {Kind.G_SINGLE}),
    ("validated when read only", validated_when_read_only, {Kind.LOST_UPDATE}),
    ("validated when read only: two ends", validated_when_read_only, {Kind.INCOMPATIBLE_ORDER}),
    ("no preconditions", unconditional, {Kind.LOST_APPEND}),
    ("dirty reads of those that abort", dirty_reads, {Kind.G1A}),
    ("dirty reads of one another", dirty_reads, {Kind.G1C, Kind.G1C_REALTIME}),
    ("written at once", written_at_once, {Kind.G1B}),
    ("one after the other", one_after_the_other, {Kind.G1C, Kind.G0, Kind.G_SINGLE}),
    ("retried under a new token", planted("transaction-retried-under-a-new-token"), {Kind.DUPLICATES}),
    ("stale reads", stale_reads, {Kind.G_SINGLE_REALTIME}),
    ("refused is done", refused_is_done, {Kind.LOST_APPEND}),
    ("own writes unseen", own_writes_unseen, {Kind.INTERNAL}),
    ("other bytes", other_bytes, {Kind.GARBAGE_READ}),
    ("aborted and kept", aborted_and_kept, {Kind.G1A, Kind.GARBAGE_READ}),
    ("heads replaced whatever they are", unguarded_streams, {Kind.G2, Kind.G_SINGLE, Kind.LOST_UPDATE}),
]


@contextmanager
def patched(patches: Callable[[], Sequence[Patch]]) -> Any:
    with ExitStack() as stack:
        for target, name, value in patches():
            stack.enter_context(patch.object(target, name, value))
        yield


@pytest.mark.parametrize(("patches", "expected"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS])
def test_a_bug_is_found_and_named(patches: Callable[[], Sequence[Patch]], expected: Collection[Kind]) -> None:
    seen: set[Kind] = set()
    for seed in range(SEEDS):
        with patched(patches):
            seen |= anomalies(seed, rate=0.3 if expected == {Kind.DUPLICATES} else 0.02)
        if seen & set(expected):
            print(f"found with seed {seed}: {', '.join(sorted(seen))}")
            return
    pytest.fail(f"not found with {SEEDS} seeds; seen: {seen}")
