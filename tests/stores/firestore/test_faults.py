"""The tools of the other tests: the emulator as a child process, and the proxies that break things."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventstate.core.documents import HEAD, Batch, Key, Put, Require
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.firestore import open_firestore
from eventstate.testing.emulator import JAR_VARIABLE, Emulator, EmulatorMissing, find_jar, start_emulator
from eventstate.testing.tcp_proxy import TcpProxy

pytestmark = pytest.mark.backend("firestore")

A = Key(HEAD, "shop", "order-a")


def test_a_named_jar_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(JAR_VARIABLE, str(tmp_path / "none.jar"))
    with pytest.raises(EmulatorMissing, match=r"none\.jar"):
        find_jar()
    jar = tmp_path / "some.jar"
    jar.touch()
    monkeypatch.setenv(JAR_VARIABLE, str(jar))
    assert find_jar() == jar


def test_without_java_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jar = tmp_path / "some.jar"
    jar.touch()
    monkeypatch.setenv(JAR_VARIABLE, str(jar))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorMissing, match="java"):
        start_emulator()


def test_a_taken_port_is_noticed_though_something_answers_on_it(emulator_host: str) -> None:
    if not is_local(emulator_host):
        pytest.skip("the emulator of this run is on another machine")
    with pytest.raises(EmulatorMissing, match="already in use"):
        start_emulator(int(emulator_host.rpartition(":")[2]))


def is_local(host: str) -> bool:
    return host.startswith(("127.", "localhost"))


def test_an_emulator_restarts_empty_on_its_port(own_emulator: Emulator, project_id: str) -> None:
    host = own_emulator.host
    store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=host)
    drive(store.commit(Batch("t", [Put(A, b"1", Require.ANY)])))
    own_emulator.restart()
    assert own_emulator.host == host
    assert drive(store.get([A])).documents == {}
    store.close()
    own_emulator.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), 1)


@pytest.mark.usefixtures("emulator_host")
def test_an_emulator_ends_with_a_parent_that_is_killed() -> None:
    script = (
        "import sys; from eventstate.testing.emulator import start_emulator; emulator = start_emulator();"
        "print(emulator.host, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    port = int(parent.stdout.readline().rpartition(b":")[2])
    parent.kill()
    parent.wait(5)
    parent.stdin.close()
    parent.stdout.close()
    assert becomes_free(port)


def becomes_free(port: int) -> bool:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_forked_child_does_not_stop_its_parents_emulator(own_emulator: Emulator) -> None:
    child = os.fork()
    if child == 0:
        own_emulator.stop()
        os._exit(0)
    os.waitpid(child, 0)
    own_emulator.wait_ready(1)
    socket.create_connection(("127.0.0.1", int(own_emulator.host.rpartition(":")[2])), 1).close()


def test_a_proxy_cuts_and_refuses(emulator_host: str, project_id: str) -> None:
    with TcpProxy(emulator_host) as wire:
        store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=wire.host, timeout=5)
        assert drive(store.get([A])).documents == {}
        assert (wire.connections, wire.cuts) == (1, 0)
        wire.cut_now()
        assert wire.cuts == 1
        assert drive(store.get([A])).documents == {}
        assert wire.connections == 2
        wire.refuse()
        wire.cut_now()
        wire.refuse(False)
        assert drive(store.get([A])).documents == {}
        store.close()
