"""One stream for all watches, and what becomes of them when it breaks."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from eventstate.core.documents import HEAD, Key, Put, Require, Unknown
from eventstate.errors import InvalidIdError, StoreForkedError
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.firestore import open_firestore, session, watching
from eventstate.stores.watching import Watch
from eventstate.testing.emulator import Emulator
from eventstate.testing.tcp_proxy import TcpProxy
from tests.errors.children import in_child
from tests.stores.firestore.listen_server import Conversation, ListenServer, denied
from tests.stores.firestore.world import Client, SyncWorld, World

pytestmark = pytest.mark.backend("firestore")

A, B = Key(HEAD, "shop", "order-a"), Key(HEAD, "shop", "order-b")
SOON = 30.0
"""So long is waited for what comes at once where all is well."""


def settled(client: Client, watch: Watch) -> None:
    """Wait for the end of the wake-ups that opening a watch brings."""
    assert client.run(watch.wait(SOON)), "no first answer"
    while client.run(watch.wait(0.2)):
        pass


def noticed(client: Client, watch: Watch, key: Key, body: bytes) -> float:
    """Look whenever woken until the document has this body; the seconds that took."""
    began = time.monotonic()
    while client.bodies(key).get(key) != body:
        assert client.run(watch.wait(SOON)), "no wake-up"
    return time.monotonic() - began


def surely_put(client: Client, key: Key, body: bytes) -> None:
    """The emulator answers a commit CANCELLED where it tries to tell it to a stream that was just cut."""
    while isinstance(client.commit(Put(key, body, Require.ANY)), Unknown):
        pass


def listening_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("eventstate-firestore")]


def eventually(holds: Callable[[], bool], seconds: float = SOON) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_hundred_documents_on_one_stream(world: World, client: Client, emulator_host: str, project_id: str) -> None:
    other = Client(world, world.open(emulator_host, project_id))
    keys = [Key(HEAD, "shop", f"order-{number}") for number in range(100)]
    watches = [client.store.watch([key]) for key in keys]
    again = client.store.watch(keys)
    for watch in (*watches, again):
        assert client.run(watch.wait(SOON)), "no first answer"
    # Until the last target has its answer, everybody is woken once a second; a cold emulator takes a while.
    while client.run(again.wait(1.3)):
        pass
    for number, (key, watch) in enumerate(zip(keys, watches, strict=True)):
        client.run(watch.wait(0))
        other.put(key, b"%d" % number)
        assert client.run(watch.wait(SOON)), f"{key} was not noticed"
        assert client.bodies(key) == {key: b"%d" % number}
    assert not any(client.run(watch.wait(0)) for watch in watches[:-1]), "woken by changes of others"
    assert client.store.rpc_count["Listen"] == 1
    assert len(listening_threads()) == 2


def test_changes_come_at_once(world: World, client: Client, emulator_host: str, project_id: str) -> None:
    other = Client(world, world.open(emulator_host, project_id))
    with client.store.watch([A]) as watch:
        settled(client, watch)
        taken: list[float] = []
        for number in range(40):
            other.put(A, b"%d" % number)
            taken.append(noticed(client, watch, A, b"%d" % number))
        assert sorted(taken)[10] < 0.5, "no sooner than without a stream: once a second"


def test_a_change_while_the_connection_is_cut(
    world: World, client: Client, emulator_host: str, project_id: str
) -> None:
    with TcpProxy(emulator_host) as proxy:
        watcher = Client(world, world.open(proxy.host, project_id, timeout=0.5))
        with watcher.store.watch([A]) as watch:
            settled(watcher, watch)
            proxy.refuse()
            proxy.cut_now()
            surely_put(client, A, b"meanwhile")
            began = time.monotonic()
            for _ in range(3):  # whoever looks himself may find another way
                assert watcher.run(watch.wait(3))
            assert time.monotonic() - began > 1
            proxy.refuse(False)
            assert noticed(watcher, watch, A, b"meanwhile") < SOON
            settled(watcher, watch)
            client.put(A, b"afterwards")
            assert noticed(watcher, watch, A, b"afterwards") < SOON
        assert 2 <= watcher.store.rpc_count["Listen"] <= 60


def test_cuts_again_and_again(world: World, client: Client, emulator_host: str, project_id: str) -> None:
    with TcpProxy(emulator_host) as proxy:
        watcher = Client(world, world.open(proxy.host, project_id))
        with watcher.store.watch([A]) as watch:
            for number in range(8):
                settled(watcher, watch)
                proxy.cut_now()
                surely_put(client, A, b"%d" % number)
                assert noticed(watcher, watch, A, b"%d" % number) < SOON


def test_a_restart_of_the_service(world: World, own_emulator: Emulator, project_id: str) -> None:
    client = Client(world, world.open(own_emulator.host, project_id))
    with client.store.watch([A, B]) as watch:
        settled(client, watch)
        own_emulator.restart()
        while client.run(watch.wait(0.01)):
            pass
        writer = SyncWorld()
        Client(writer, writer.open(own_emulator.host, project_id)).put(B, b"new")
        writer.close()
        assert noticed(client, watch, B, b"new") < SOON
        settled(client, watch)
        client.put(A, b"later")
        assert noticed(client, watch, A, b"later") < SOON


def test_watching_waits_for_nothing(world: World) -> None:
    """Nobody serves this port: opening a watch, waiting and closing go on as if there were no network."""
    client = Client(world, world.open("127.0.0.1:1", "demo-down"))
    began = time.monotonic()
    watch = client.store.watch([A])
    assert client.run(watch.wait(SOON)), "left asleep though nobody listens"
    client.run(client.store.aclose())
    assert time.monotonic() - began < SOON
    assert eventually(lambda: not listening_threads())


def test_close_ends_the_threads_and_waits(world: World, emulator_host: str, project_id: str) -> None:
    before = threading.active_count()
    client = Client(world, world.open(emulator_host, project_id))
    watch = client.store.watch([A])
    settled(client, watch)
    assert len(listening_threads()) == 2
    client.run(client.store.aclose())
    assert eventually(lambda: not listening_threads())
    assert eventually(lambda: threading.active_count() <= before)
    assert client.run(watch.wait(0)), "those who wait are told"
    watch.close()


def test_the_stream_ends_with_the_last_watch_and_comes_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.1)
    before = threading.active_count()
    for number in range(3):
        first, second = client.store.watch([A]), client.store.watch([A, B])
        settled(client, second)
        first.close()
        assert not eventually(lambda: not listening_threads(), 0.6), "closed under the second watch"
        client.put(A, b"%d" % number)
        assert client.run(second.wait(SOON))
        second.close()
        assert client.store.rpc_count["Listen"] == number + 1
        assert eventually(lambda: not listening_threads())
        assert eventually(lambda: threading.active_count() <= before)


def test_a_watch_soon_after_the_last_finds_the_stream_open(client: Client) -> None:
    for number in range(20):
        with client.store.watch([A]) as watch:
            client.put(A, b"%d" % number)
            assert client.run(watch.wait(SOON))
    assert client.store.rpc_count["Listen"] == 1


def test_a_silent_stream_is_opened_again(
    world: World, client: Client, emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator sends nothing of itself: to it each quiet spell is the end of a stream."""
    monkeypatch.setattr(session, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.1)
    other = Client(world, world.open(emulator_host, project_id))
    with client.store.watch([A]) as watch:
        assert eventually(lambda: client.store.rpc_count["Listen"] >= 3)
        for number in range(10):
            other.put(A, b"%d" % number)
            assert noticed(client, watch, A, b"%d" % number) < SOON
            time.sleep(0.1)


def test_a_forked_child_does_nothing(emulator_host: str, project_id: str) -> None:
    world = SyncWorld()
    client = Client(world, world.open(emulator_host, project_id))
    with client.store.watch([A]) as watch:
        settled(client, watch)

        def child() -> list[str]:
            with pytest.raises(StoreForkedError):
                client.store.watch([B])
            watch.close()
            client.store.close()
            return listening_threads()

        assert in_child(child) == []
        client.put(A, b"parent")
        assert client.run(watch.wait(SOON))
    assert client.store.rpc_count["Listen"] == 1
    world.close()


def test_a_key_that_can_not_be_is_refused_at_once(client: Client) -> None:
    with pytest.raises(InvalidIdError):
        client.store.watch([A, Key(HEAD, "shop", "x" * 2000)])
    assert client.store.rpc_count["Listen"] == 0


def test_a_process_may_end_without_closing(emulator_host: str, project_id: str) -> None:
    script = (
        "import sys; from eventstate.runtime.blocking import BlockingRuntime, drive;"
        "from eventstate.core.documents import HEAD, Key; from eventstate.stores.firestore import open_firestore;"
        "store = open_firestore(sys.argv[2], runtime=BlockingRuntime(), emulator_host=sys.argv[1]);"
        "watch = store.watch([Key(HEAD, 'shop', 'a')]); assert drive(watch.wait(20))"
    )
    command = [sys.executable, "-c", script, emulator_host, project_id]
    ended = subprocess.run(
        command, timeout=60, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_loop_that_was_closed_under_its_watch_disturbs_nobody(emulator_host: str, project_id: str) -> None:
    """Neither the thread that listens nor, where others share it, a commit."""
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[Any, Watch]:
        store = open_firestore(project_id, runtime=AsyncioRuntime(), emulator_host=emulator_host)
        watch = store.watch([A])
        while await watch.wait(0.3):
            pass
        waiting = asyncio.ensure_future(watch.wait(60))
        await asyncio.sleep(0.1)
        return (store, waiting), watch

    kept, watch = loop.run_until_complete(begin())
    loop.close()
    watch.wake()
    store, waiting = kept
    assert len(listening_threads()) == 2
    store._watching.close()
    assert eventually(lambda: not listening_threads())
    waiting._log_destroy_pending = False
    waiting.get_coro().close()


# A server that does what the emulator does not


def test_the_stream_names_its_database(world: World) -> None:
    seen: list[dict[str, str]] = []

    def script(conversation: Conversation) -> None:
        seen.append(conversation.metadata)
        conversation.follow()

    with ListenServer(script) as server:
        client = Client(world, world.open(server.host, "demo-x", database="orders"))
        with client.store.watch([A]) as watch:
            assert client.run(watch.wait(SOON))
        assert seen[0]["google-cloud-resource-prefix"] == "projects/demo-x/databases/orders"
        assert seen[0]["authorization"] == "Bearer owner"
        client.run(client.store.aclose())


def test_the_end_of_a_stream_that_worked_is_nothing_to_warn_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Streams end about hourly."""

    def script(conversation: Conversation) -> None:
        conversation.current(conversation.added())
        time.sleep(0.2)
        conversation.context.set_code(grpc.StatusCode.UNAVAILABLE)

    with caplog.at_level(logging.WARNING), ListenServer(*[script] * 3, Conversation.follow) as server:
        client = Client(world, world.open(server.host, "demo-x"))
        with client.store.watch([A]) as watch:
            assert eventually(lambda: server.calls == 4)
            settled(client, watch)
        client.run(client.store.aclose())
    assert caplog.messages == []


def test_no_permission_is_told_once_and_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), ListenServer(*[denied] * 4, Conversation.follow) as server:
        client = Client(world, world.open(server.host, "demo-x"))
        with client.store.watch([A]) as watch:
            assert eventually(lambda: "firestore://demo-x: listening for changes works again" in caplog.messages)
            warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
            assert len(warnings) == 1
            assert "PERMISSION_DENIED: no right to listen" in warnings[0]
            assert client.run(watch.wait(0)), "nobody was told to look meanwhile"
        assert server.calls == 5
        client.run(client.store.aclose())


def test_a_target_that_is_refused(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, its watchers look for themselves, and in a while it is tried again."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 2.5)

    def script(conversation: Conversation) -> None:
        first, second = conversation.added(), conversation.added()
        conversation.current(first)
        conversation.current(second)
        time.sleep(0.2)
        conversation.refuse(second, "not this one")
        time.sleep(1)
        conversation.changed(first)
        conversation.follow()

    with caplog.at_level(logging.WARNING), ListenServer(script, Conversation.follow) as server:
        client = Client(world, world.open(server.host, "demo-x"))
        one, two = client.store.watch([A]), client.store.watch([B])
        assert client.run(one.wait(SOON))
        assert client.run(two.wait(SOON))
        while "not this one" not in caplog.text:
            assert client.run(two.wait(SOON))
        assert client.run(one.wait(SOON))
        assert client.run(two.wait(SOON))
        assert eventually(lambda: server.calls == 2)
        assert len(caplog.messages) == 1
        client.run(client.store.aclose())


def test_a_stream_without_a_first_answer_is_opened_again(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.5)

    def mute(conversation: Conversation) -> None:
        while conversation.context.is_active():
            time.sleep(0.05)

    with caplog.at_level(logging.WARNING), ListenServer(mute, Conversation.follow) as server:
        client = Client(world, world.open(server.host, "demo-x"))
        with client.store.watch([A]) as watch:
            assert eventually(lambda: server.calls == 2)
            monkeypatch.setattr(session, "ANSWER_SECONDS", SOON)  # the second one answers, sooner or later
            settled(client, watch)
        assert len(caplog.messages) == 1
        client.run(client.store.aclose())


def test_a_stream_that_went_dumb(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the emulator's does when it sent bytes that are no message: what follows is never heard."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 2.5)

    def dumb(conversation: Conversation) -> None:
        conversation.current(conversation.added())
        while conversation.context.is_active():
            time.sleep(0.05)

    with ListenServer(dumb, Conversation.follow) as server:
        client = Client(world, world.open(server.host, "demo-x"))
        with client.store.watch([A]) as watch:
            settled(client, watch)
            assert client.run(watch.wait(SOON)), "those who wait were told nothing either"
            assert eventually(lambda: server.calls == 2)
        client.run(client.store.aclose())


@pytest.mark.parametrize(
    "news",
    [
        {"document_change": {"target_ids": [1]}},
        {"document_change": {"removed_target_ids": [1]}},
        {"document_delete": {"removed_target_ids": [1]}},
        {"document_remove": {"removed_target_ids": [1]}},
        {"filter": {"target_id": 1, "count": 1}},
        {"target_change": {"target_change_type": "RESET", "target_ids": [1]}},
        {"target_change": {"target_change_type": "RESET"}},
        {"target_change": {"target_change_type": "CURRENT"}},
        {"target_change": {"target_change_type": "REMOVE", "target_ids": [1]}},
    ],
)
@pytest.mark.parametrize("noise", [{"target_change": {}}, {"document_change": {"target_ids": [9]}}])
def test_every_kind_of_news_wakes_and_nothing_else_does(
    news: dict, noise: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PROBE_SECONDS", 1000.0)  # a stream that is not trusted wakes without news
    monkeypatch.setattr(watching, "TICK_SECONDS", 1000.0)
    quiet, go = threading.Event(), threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.current(conversation.added())
        quiet.wait(SOON)
        conversation.say(**noise)
        go.wait(SOON)
        conversation.say(**news)
        conversation.follow()

    with ListenServer(script, Conversation.follow) as server:
        store = open_firestore("demo-x", runtime=BlockingRuntime(), emulator_host=server.host)
        client = Client(SyncWorld(), store)
        with store.watch([A]) as watch:
            settled(client, watch)
            quiet.set()
            assert not drive(watch.wait(0.2)), f"woken by {noise}"
            go.set()
            assert drive(watch.wait(SOON)), f"not woken by {news}"
        store.close()
