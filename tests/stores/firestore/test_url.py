from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from eventstate import open_async_store, open_store
from eventstate.errors import ConfigurationError
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.firestore import FirestoreSettings, open_firestore, parse_url


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("firestore://shop", FirestoreSettings(project="shop")),
        ("firestore://shop/", FirestoreSettings(project="shop")),
        ("firestore://shop/orders", FirestoreSettings(project="shop", database="orders")),
        ("firestore://shop/%28default%29", FirestoreSettings(project="shop")),
        ("firestore://example.com:shop/(default)", FirestoreSettings(project="example.com:shop")),
        ("firestore://shop?root=a/b", FirestoreSettings(project="shop", root="a/b")),
        ("firestore://shop/d?root=%2Fa%2Fb+c%2F", FirestoreSettings(project="shop", database="d", root="a/b c")),
        ("firestore://shop?timeout=2.5&root=a/b", FirestoreSettings(project="shop", root="a/b", timeout=2.5)),
        ("firestore://shop?epoch=2", FirestoreSettings(project="shop", epoch=2)),
        (
            "firestore://shop/d?epoch=900&root=a/b",
            FirestoreSettings(project="shop", database="d", root="a/b", epoch=900),
        ),
    ],
)
def test_a_url_names_the_settings(url: str, settings: FirestoreSettings) -> None:
    assert parse_url(url) == settings


@pytest.mark.parametrize(
    "url",
    [
        "firestore:shop",
        "firestore://",
        "firestore://user:secret@shop",
        "sqlite:///shop",
        "firestore://shop/a/b",
        "firestore://shop#x",
        "firestore://shop?root=a",
        "firestore://shop?rot=a/b",
        "firestore://shop?root=a/b&root=c/d",
        "firestore://shop?timeout=soon",
        "firestore://shop?timeout=0",
        "firestore://shop?timeout=nan",
        "firestore://shop?timeout=inf",
        "firestore://shop?epoch=0",
        "firestore://shop?epoch=901",
        "firestore://shop?epoch=-1",
        "firestore://shop?epoch=1.5",
        "firestore://shop?epoch=",
        "firestore://shop?epoch=two",
        "firestore://shop?epoch=1&epoch=2",
    ],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


@pytest.mark.parametrize(
    "settings", [FirestoreSettings(project="p"), FirestoreSettings(project="p", database="d", root="a/b c")]
)
def test_the_url_of_settings_names_them(settings: FirestoreSettings) -> None:
    assert parse_url(settings.url) == settings


def test_nodes_differ_by_database_and_root_and_stay_the_same() -> None:
    def node(database: str = "(default)", root: str = "") -> str:
        store = open_firestore(
            "demo-node", runtime=BlockingRuntime(), emulator_host="127.0.0.1:1", database=database, root=root
        )
        store.close()
        return store.node

    assert node() == node() == "ft3zmtdbrd"
    assert len({node(), node(database="other"), node(root="a/b")}) == 3


def test_the_epoch_is_the_operators_and_no_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    with open_store("firestore://demo-node") as first, open_store("firestore://demo-node?epoch=7") as restored:
        assert (first.epoch, restored.epoch) == (1, 7)
        assert (first.node, first.url) == (restored.node, restored.url)

    async def inside() -> int:
        async with open_async_store("firestore://demo-node?epoch=7") as store:
            return store.epoch

    assert asyncio.run(inside()) == 7


def test_the_driver_is_loaded_by_opening_only() -> None:
    script = (
        "import sys; from eventstate.stores.firestore import parse_url, open_firestore; parse_url('firestore://p');"
        "sys.exit(any(name in sys.modules for name in ('grpc', 'google.cloud', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "eventstate.stores.firestore.store", raising=False)
    monkeypatch.delitem(sys.modules, "eventstate.stores.firestore.rpc", raising=False)
    monkeypatch.setitem(sys.modules, "google.cloud.firestore_v1", None)
    for module in ("messages", "queries", "pages", "owners", "listening", "session", "watching"):
        monkeypatch.delitem(sys.modules, f"eventstate.stores.firestore.{module}", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'eventstate\[firestore\]'"):
        open_firestore("p", runtime=BlockingRuntime())
