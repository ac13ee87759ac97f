"""Down, back again, closed, forked."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from eventstate.core.documents import HEAD, Batch, Committed, Key, Put, Require, Unknown
from eventstate.errors import (
    EventStateError,
    StoreClosedError,
    StoreForkedError,
    StorePermissionError,
    StoreUnavailableError,
)
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.firestore import open_firestore
from eventstate.testing.emulator import Emulator
from eventstate.testing.grpc_proxy import GrpcProxy, Silence
from tests.stores.firestore.world import Client, SyncWorld, World

pytestmark = pytest.mark.backend("firestore")

A = Key(HEAD, "shop", "order-a")


def test_a_port_that_nobody_serves_is_unavailable_and_nothing_was_sent(world: World) -> None:
    client = Client(world, world.open("127.0.0.1:1", "demo-down", timeout=0.5))
    calls: list[Callable[[], object]] = [
        lambda: client.commit(Put(A, b"1", Require.ANY)),
        lambda: client.bodies(A),
        lambda: client.run(client.store.scan(HEAD, "shop")),
        lambda: client.run(client.store.owners()),
        lambda: client.run(client.store.feed(0)),
    ]
    for call in calls:
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="Connection refused"):
            call()
        assert time.monotonic() - started < 20
    assert client.store.rpc_count.total() == 0


def test_a_server_that_accepts_and_says_nothing_is_unavailable(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(world, world.open(f"127.0.0.1:{silent.getsockname()[1]}", "demo-mute", timeout=0.5))
        with pytest.raises(StoreUnavailableError, match="nothing was sent"):
            client.commit(Put(A, b"1", Require.ANY))
        assert client.store.rpc_count["Commit"] == 0


def test_a_store_outlives_a_restart_of_the_service(world: World, own_emulator: Emulator, project_id: str) -> None:
    client = Client(world, world.open(own_emulator.host, project_id, timeout=60))
    client.put(A, b"before")
    own_emulator.stop()
    down = Client(world, world.open(own_emulator.host, project_id, timeout=0.5))
    with pytest.raises(StoreUnavailableError):
        down.commit(Put(A, b"1", Require.ANY))
    restart = threading.Thread(target=own_emulator.restart)
    restart.start()
    # The store's own connection may still look alive: then this commit is sent into nothing.
    assert isinstance(client.commit(Put(A, b"after", Require.ANY)), Committed | Unknown)
    assert isinstance(client.commit(Put(A, b"after", Require.ANY)), Committed)
    assert client.bodies(A) == {A: b"after"}
    restart.join()


def test_a_closed_store_says_so(world: World, emulator_host: str, project_id: str) -> None:
    client = Client(world, world.open(emulator_host, project_id))
    client.put(A)
    client.run(client.store.aclose())
    client.run(client.store.aclose())
    for call in (lambda: client.bodies(A), lambda: client.put(A), lambda: client.run(client.store.feed(0))):
        with pytest.raises(StoreClosedError):
            call()


def test_close_lets_a_call_in_flight_end(emulator_host: str, project_id: str) -> None:
    async def scenario(proxy: GrpcProxy) -> None:
        store = open_firestore(project_id, runtime=AsyncioRuntime(), emulator_host=proxy.host, timeout=2)
        proxy.inject("Commit", Silence())
        commit = asyncio.create_task(store.commit(Batch("t", [Put(A, b"1", Require.ANY)])))
        while proxy.calls["Commit"] == 0:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0.1)
        assert commit.done() or not closing.done()
        with pytest.raises(StoreClosedError):
            await store.get([A])
        assert isinstance(await commit, Unknown)
        await asyncio.wait_for(closing, 30)

    with GrpcProxy(emulator_host) as proxy:
        asyncio.run(scenario(proxy))


def test_close_lets_a_call_of_another_thread_end(emulator_host: str, project_id: str) -> None:
    with GrpcProxy(emulator_host) as proxy:
        store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=proxy.host, timeout=2)
        proxy.inject("Commit", Silence())
        results: list[object] = []
        batch = Batch("t", [Put(A, b"1", Require.ANY)])
        thread = threading.Thread(target=lambda: results.append(drive(store.commit(batch))))
        thread.start()
        deadline = time.monotonic() + 30
        while proxy.calls["Commit"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        store.close()
        thread.join(30)
        assert [type(result) for result in results] == [Unknown]


def test_a_forked_child_is_told_and_leaves_the_parents_store_alone(emulator_host: str, project_id: str) -> None:
    world = SyncWorld()
    client = Client(world, world.open(emulator_host, project_id))
    client.put(A, b"1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.run(client.store.get([A]))
        except StoreForkedError:
            client.run(client.store.aclose())
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert client.bodies(A) == {A: b"1"}
    world.close()


def test_missing_credentials_are_a_matter_of_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/key.json")
    with pytest.raises(StorePermissionError, match=r"firestore://demo-x: .*key\.json"):
        open_firestore("demo-x", runtime=BlockingRuntime())


def test_the_emulator_variable_is_used(emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    store = open_firestore(project_id, runtime=BlockingRuntime())
    assert drive(store.get([A])).documents == {}
    store.close()


def test_the_service_is_the_target_without_an_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel of the client library has what the sync transport reads its state from."""
    from google.auth.credentials import AnonymousCredentials

    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    store = open_firestore("demo-x", runtime=BlockingRuntime(), credentials=AnonymousCredentials(), timeout=0.2)
    with pytest.raises(EventStateError, match=r"firestore\.googleapis\.com"):
        drive(store.get([A]))
    store.close()
