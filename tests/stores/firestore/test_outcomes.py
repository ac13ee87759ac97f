"""Lost, late and replaced answers: never a success or a failure that is not certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from eventstate.core.documents import ENTRY, HEAD, Batch, Committed, Key, Put, Refused, Require, Unknown
from eventstate.errors import (
    ConfigurationError,
    InvalidInputError,
    StorePermissionError,
    StoreUnavailableError,
)
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.stores.firestore import open_firestore
from eventstate.testing.grpc_proxy import Fault, GrpcProxy, Hold, Lose, Refuse, Silence
from eventstate.testing.tcp_proxy import TcpProxy
from tests.stores.firestore.world import Client, World

pytestmark = pytest.mark.backend("firestore")

A = Key(HEAD, "shop", "order-a")
ENTRY_1 = Key(ENTRY, "shop", "order-a", 1)
AMBIGUOUS = ["ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"]


@pytest.fixture
def proxy(emulator_host: str) -> Iterator[GrpcProxy]:
    with GrpcProxy(emulator_host) as proxy:
        yield proxy


@pytest.fixture
def proxied(world: World, proxy: GrpcProxy, project_id: str) -> Client:
    return Client(world, world.open(proxy.host, project_id, timeout=2))


@pytest.mark.parametrize("code", [*AMBIGUOUS, "DATA_LOSS"])
def test_an_applied_commit_whose_answer_is_lost_is_unknown(proxied: Client, proxy: GrpcProxy, code: str) -> None:
    proxy.inject("Commit", Lose(code=code))
    result = proxied.commit(Put(A, b"1", Require.ABSENT))
    assert isinstance(result, Unknown)
    assert code in result.cause
    assert "answer lost by the fault proxy" in result.cause
    assert proxied.bodies(A) == {A: b"1"}
    assert proxy.calls["Commit"] == 1
    assert proxied.commit(Put(A, b"1", Require.ABSENT)) == Refused(frozenset({A}))


@pytest.mark.parametrize("code", AMBIGUOUS)
def test_a_commit_that_never_arrived_is_unknown_too_and_can_be_sent_again(
    proxied: Client, proxy: GrpcProxy, code: str
) -> None:
    proxy.inject("Commit", Refuse(code=code))
    assert isinstance(proxied.commit(Put(A, b"1", Require.ABSENT)), Unknown)
    assert proxied.bodies(A) == {}
    assert isinstance(proxied.commit(Put(A, b"1", Require.ABSENT)), Committed)
    assert proxy.calls["Commit"] == 2


@pytest.mark.parametrize("forward", [True, False])
def test_a_silent_server_is_unknown_at_the_deadline(
    world: World, proxy: GrpcProxy, project_id: str, forward: bool
) -> None:
    client = Client(world, world.open(proxy.host, project_id, timeout=1))
    proxy.inject("Commit", Silence(forward=forward))
    started = client.store.runtime.monotonic()
    assert isinstance(client.commit(Put(A, b"1", Require.ABSENT)), Unknown)
    assert 0.9 < client.store.runtime.monotonic() - started < 20
    assert client.bodies(A) == ({A: b"1"} if forward else {})


def test_a_held_copy_lands_after_a_read_that_did_not_find_it(proxied: Client, proxy: GrpcProxy) -> None:
    proxy.inject("Commit", Hold())
    batch = [Put(A, b"1", Require.ABSENT), Put(ENTRY_1, b"1", Require.ABSENT)]
    assert isinstance(proxied.commit(*batch), Unknown)
    assert proxied.bodies(A, ENTRY_1) == {}
    assert proxy.deliver() == "OK"
    assert proxied.bodies(A, ENTRY_1) == {A: b"1", ENTRY_1: b"1"}
    assert proxied.commit(*batch) == Refused(None)


def test_a_held_copy_that_lands_after_its_resend_changes_nothing(proxied: Client, proxy: GrpcProxy) -> None:
    proxy.inject("Commit", Hold(code="DEADLINE_EXCEEDED"))
    assert isinstance(proxied.commit(Put(A, b"1", Require.ABSENT)), Unknown)
    resent = proxied.commit(Put(A, b"1", Require.ABSENT))
    assert isinstance(resent, Committed)
    assert proxy.deliver() == "ALREADY_EXISTS"
    assert proxy.held[0].outcome == "ALREADY_EXISTS"
    assert proxied.revision(A) == resent.revisions[A]


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_connection_cut_after_the_request_is_unknown(
    world: World, emulator_host: str, project_id: str, delay: float
) -> None:
    with TcpProxy(emulator_host) as wire:
        client = Client(world, world.open(wire.host, project_id, timeout=5))
        client.put(Key(HEAD, "shop", "warm"))
        wire.cut_after(b"the needle", delay=delay)
        result = client.commit(Put(A, b'"the needle"', Require.ABSENT))
        assert isinstance(result, Unknown)
        assert wire.cuts == 1
        # The reset also reaches the emulator, which may drop what it has not begun to work on.
        assert client.bodies(A) in ({}, {A: b'"the needle"'})
        again = client.commit(Put(A, b'"the needle"', Require.ABSENT))
        assert isinstance(again, Committed | Refused)
        assert client.bodies(A) == {A: b'"the needle"'}


def test_a_connection_cut_before_the_request_arrives_is_unknown(
    world: World, emulator_host: str, project_id: str
) -> None:
    with TcpProxy(emulator_host) as wire:
        client = Client(world, world.open(wire.host, project_id, timeout=5))
        client.put(Key(HEAD, "shop", "warm"))
        wire.cut_after(b"the needle", forward=False)
        assert isinstance(client.commit(Put(A, b'"the needle"', Require.ABSENT)), Unknown)
        assert client.bodies(A) == {}


@pytest.mark.parametrize("code", AMBIGUOUS)
@pytest.mark.parametrize("method", ["BatchGetDocuments", "RunQuery", "ListDocuments"])
def test_a_read_is_tried_again(proxied: Client, proxy: GrpcProxy, code: str, method: str) -> None:
    proxied.put(A, b"1")
    proxied.put(ENTRY_1, b"2")
    for fault in (Refuse(code=code), Lose(code=code)):
        proxy.inject(method, fault)
        assert (
            read(proxied, method)
            == {"BatchGetDocuments": [b"1"], "RunQuery": [b"2"], "ListDocuments": ["shop"]}[method]
        )
    # Governors are listed in two collections: the second listing goes well at once.
    assert proxy.calls[method] == (6 if method == "ListDocuments" else 4)


def read(client: Client, method: str) -> list[object]:
    if method == "BatchGetDocuments":
        return list(client.bodies(A).values())
    if method == "RunQuery":
        return [document.body for _, document in client.run(client.store.feed(0)).entries]
    return list(client.run(client.store.owners()))


def test_a_read_whose_answer_does_not_come_leaves_time_for_another(proxied: Client, proxy: GrpcProxy) -> None:
    proxied.put(A, b"1")
    proxy.inject("BatchGetDocuments", Silence())
    assert proxied.bodies(A) == {A: b"1"}
    assert proxy.calls["BatchGetDocuments"] == 2


def test_a_read_gives_up_at_the_timeout_and_says_how_long_it_tried(
    world: World, proxy: GrpcProxy, project_id: str
) -> None:
    client = Client(world, world.open(proxy.host, project_id, timeout=3))
    proxy.inject("BatchGetDocuments", *[Refuse(code="UNAVAILABLE", details="not today")] * 200)
    started = client.store.runtime.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"attempts in \d+\.\d s; last was UNAVAILABLE: not today"):
        client.bodies(A)
    assert client.store.runtime.monotonic() - started < 20
    assert proxy.calls["BatchGetDocuments"] > 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("PERMISSION_DENIED", StorePermissionError),
        ("UNAUTHENTICATED", StorePermissionError),
        ("INVALID_ARGUMENT", InvalidInputError),
        ("UNIMPLEMENTED", ConfigurationError),
    ],
)
def test_a_refusal_is_typed_and_not_tried_again(
    proxied: Client, proxy: GrpcProxy, code: str, error: type[Exception]
) -> None:
    fault: Fault = Refuse(code=code, details="the server's words")
    proxy.inject("Commit", fault)
    proxy.inject("RunQuery", fault)
    with pytest.raises(error, match="the server's words"):
        proxied.commit(Put(A, b"1", Require.ANY))
    with pytest.raises(error, match="the server's words"):
        proxied.run(proxied.store.scan(HEAD, "shop"))
    assert proxy.calls == {"Commit": 1, "RunQuery": 1}


@pytest.mark.parametrize("code", ["NOT_FOUND", "FAILED_PRECONDITION"])
def test_a_missing_database_is_not_mistaken_for_a_refused_precondition(
    proxied: Client, proxy: GrpcProxy, code: str
) -> None:
    missing = Refuse(code=code, details="The database (default) does not exist for project demo")
    proxy.inject("Commit", missing)
    proxy.inject("BatchGetDocuments", missing)
    with pytest.raises(ConfigurationError, match=f"{proxied.store.url}.*does not exist for project demo"):
        proxied.commit(Put(A, b"1", Require.EXISTS))


def test_a_database_that_answered_once_is_not_asked_again(proxied: Client, proxy: GrpcProxy) -> None:
    assert proxied.commit(Put(A, b"1", Require.EXISTS)) == Refused(frozenset({A}))
    assert proxied.commit(Put(A, b"1", Require.EXISTS)) == Refused(frozenset({A}))
    assert proxy.calls == {"Commit": 2, "BatchGetDocuments": 1}


def test_a_cancelled_commit_passes_the_cancellation_on_and_may_be_applied(proxy: GrpcProxy, project_id: str) -> None:
    async def scenario() -> None:
        store = open_firestore(project_id, runtime=AsyncioRuntime(), emulator_host=proxy.host)
        proxy.inject("Commit", Silence())
        proxy.inject("BatchGetDocuments", Silence())
        for coroutine in (store.commit(Batch("t", [Put(A, b"1", Require.ABSENT)])), store.get([A])):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(coroutine, 0.5)
        assert A in (await store.get([A])).documents
        await store.aclose()

    asyncio.run(scenario())


def test_many_tasks_share_a_store(proxy: GrpcProxy, project_id: str) -> None:
    async def scenario() -> None:
        store = open_firestore(project_id, runtime=AsyncioRuntime(), emulator_host=proxy.host)
        batches = [Batch(f"{n}", [Put(Key(HEAD, "shop", f"{n}"), b"%d" % n, Require.ABSENT)]) for n in range(40)]
        results = await asyncio.gather(*(store.commit(batch) for batch in batches))
        assert all(isinstance(result, Committed) for result in results)
        page = await store.scan(HEAD, "shop")
        assert len(page.documents) == 40
        await store.aclose()

    asyncio.run(scenario())
