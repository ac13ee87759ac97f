"""Commits of many asyncio callers share requests; each still gets the fate of its own batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from eventstate.core.documents import (
    HEAD,
    Batch,
    Check,
    CommitResult,
    Committed,
    Delete,
    Key,
    Put,
    Refused,
    Require,
    Unknown,
)
from eventstate.errors import StoreUnavailableError
from eventstate.stores.firestore.store import FirestoreStore
from eventstate.testing.grpc_proxy import GrpcProxy, Hold, Lose, Refuse, Silence
from tests.stores.firestore.world import AsyncWorld

pytestmark = pytest.mark.backend("firestore")

MANY = 40


@pytest.fixture
def world() -> Iterator[AsyncWorld]:
    world = AsyncWorld()
    yield world
    world.close()


@pytest.fixture
def proxy(emulator_host: str) -> Iterator[GrpcProxy]:
    with GrpcProxy(emulator_host) as proxy:
        yield proxy


@pytest.fixture
def store(world: AsyncWorld, proxy: GrpcProxy, project_id: str) -> FirestoreStore:
    store = world.open(proxy.host, project_id, timeout=2)
    world.run(store.commit(put("warm")))  # connected, and the database is known
    return store


def key(name: str) -> Key:
    return Key(HEAD, "shop", name)


def put(name: str) -> Batch:
    return Batch(f"token-{name}", (Put(key(name), f'{{"name":"{name}"}}'.encode(), Require.ABSENT),))


def names(count: int) -> list[str]:
    return [f"order-{number}" for number in range(count)]


async def together(store: FirestoreStore, batches: Sequence[Batch]) -> list[CommitResult]:
    """The first goes alone, at once; those that come while it is under way share requests."""
    return list(await asyncio.gather(*(store.commit(batch) for batch in batches)))


def test_many_commits_cost_few_requests_and_each_gets_its_own_revision(
    world: AsyncWorld, store: FirestoreStore
) -> None:
    before = store.rpc_count["Commit"]
    results = world.run(together(store, [put(name) for name in names(MANY)]))
    assert store.rpc_count["Commit"] - before <= 3
    stored = world.run(store.get([key(name) for name in names(MANY)])).documents
    for name, result in zip(names(MANY), results, strict=True):
        assert isinstance(result, Committed)
        assert result.revisions == {key(name): stored[key(name)].revision}
        assert stored[key(name)].body == f'{{"name":"{name}"}}'.encode()


def test_checks_and_deletes_shift_nobodys_revision(world: AsyncWorld, store: FirestoreStore) -> None:
    for name in names(3):
        world.run(store.commit(put(name)))
    mixed = [
        put("first"),
        Batch("a", (Check(key("order-0"), Require.EXISTS), Check(key("order-8"), Require.ANY), *put("a").operations)),
        put("b"),
        Batch("c", (Delete(key("order-1"), Require.EXISTS), Check(key("order-2"), Require.EXISTS))),
        put("d"),
    ]
    before = store.rpc_count["Commit"]
    results = world.run(together(store, mixed))
    assert store.rpc_count["Commit"] - before == 2
    written = [key(name) for name in ("first", "a", "b", "d")]
    stored = world.run(store.get(written)).documents
    told = [dict(result.revisions) for result in results if isinstance(result, Committed)]
    assert told == [
        {written[0]: stored[written[0]].revision},
        {written[1]: stored[written[1]].revision},
        {written[2]: stored[written[2]].revision},
        {},
        {written[3]: stored[written[3]].revision},
    ]


def test_a_refused_batch_takes_none_of_its_company_with_it(world: AsyncWorld, store: FirestoreStore) -> None:
    world.run(store.commit(put("order-7")))
    results = world.run(together(store, [put(name) for name in names(MANY)]))
    assert results.pop(7) == Refused(frozenset({key("order-7")}))
    assert all(isinstance(result, Committed) for result in results)


def test_batches_on_one_document_never_share_a_request(world: AsyncWorld, store: FirestoreStore) -> None:
    revision = world.run(store.get([key("warm")])).documents[key("warm")].revision
    rivals = [Batch(name, (Put(key("warm"), f'{{"t":"{name}"}}'.encode(), revision),)) for name in names(5)]
    results = world.run(together(store, [put("first"), *rivals]))
    assert sum(isinstance(result, Committed) for result in results) == 2
    assert sum(isinstance(result, Refused) for result in results) == 4


def test_a_lost_answer_is_unknown_to_everybody_who_shared_it(
    world: AsyncWorld, proxy: GrpcProxy, store: FirestoreStore
) -> None:
    proxy.inject("Commit", *[Lose(code="UNAVAILABLE")] * 3)
    batches = [put(name) for name in names(MANY)]
    results = world.run(together(store, batches))
    assert all(isinstance(result, Unknown) for result in results)
    assert len(world.run(store.get([key(name) for name in names(MANY)])).documents) == MANY
    again = world.run(together(store, batches))
    assert again == [Refused(frozenset({key(name)})) for name in names(MANY)]


def test_a_held_request_lands_late_with_all_of_its_batches_or_none(
    world: AsyncWorld, proxy: GrpcProxy, store: FirestoreStore
) -> None:
    proxy.inject("Commit", *[Hold()] * 2)
    results = world.run(together(store, [put(name) for name in names(5)]))
    assert all(isinstance(result, Unknown) for result in results)
    assert isinstance(world.run(store.commit(put("order-3"))), Committed)
    shared = max(range(len(proxy.held)), key=lambda index: len(proxy.held[index].request))
    assert proxy.deliver(shared) == "ALREADY_EXISTS"
    found = world.run(store.get([key(name) for name in names(5)])).documents
    assert key("order-3") in found
    assert not found.keys() & {key("order-1"), key("order-2"), key("order-4")}


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED"])
def test_whatever_refused_the_company_is_asked_about_each_alone(
    world: AsyncWorld, proxy: GrpcProxy, store: FirestoreStore, code: str
) -> None:
    async def scenario() -> list[CommitResult]:
        before = proxy.calls["Commit"]
        proxy.inject("Commit", Silence())
        alone = asyncio.create_task(store.commit(put("first")))
        while proxy.calls["Commit"] == before:
            await asyncio.sleep(0.005)
        proxy.inject("Commit", Refuse(code=code))
        results = await together(store, [put(name) for name in names(10)])
        assert isinstance(await alone, Unknown)
        return results

    before = proxy.calls["Commit"]
    assert all(isinstance(result, Committed) for result in world.run(scenario()))
    assert proxy.calls["Commit"] - before == 1 + 1 + 10


def test_who_is_cancelled_leaves_the_others_alone(world: AsyncWorld, store: FirestoreStore) -> None:
    async def scenario() -> list[CommitResult]:
        tasks = [asyncio.create_task(store.commit(put(name))) for name in names(10)]
        await asyncio.sleep(0)
        tasks[4].cancel()
        others = tasks[:4] + tasks[5:]
        results = list(await asyncio.gather(*others))
        assert tasks[4].cancelled()
        return results

    assert all(isinstance(result, Committed) for result in world.run(scenario()))


def test_requests_that_found_no_connection_tell_everybody_that_nothing_was_sent(
    world: AsyncWorld, project_id: str
) -> None:
    store = world.open("127.0.0.1:9", project_id, timeout=0.3)

    async def scenario() -> list[object]:
        return list(await asyncio.gather(*(store.commit(put(name)) for name in names(5)), return_exceptions=True))

    assert [type(result) for result in world.run(scenario())] == [StoreUnavailableError] * 5
    assert store.rpc_count["Commit"] == 0


def test_large_batches_do_not_grow_into_a_request_that_is_too_large(world: AsyncWorld, store: FirestoreStore) -> None:
    body = b'"' + b"x" * 300_000 + b'"'
    batches = [Batch("t", (Put(key(name), body, Require.ABSENT),)) for name in names(20)]
    assert all(isinstance(result, Committed) for result in world.run(together(store, batches)))
