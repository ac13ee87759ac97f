"""From URLs to stores: which forms are known, what options mean, and what is refused with a hint."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstate import ConfigurationError, StateMachinePersister, Store, open_async_store, open_store
from eventstate.stores.memory import MemoryStore
from eventstate.stores.sqlite.store import SqliteStore
from eventstate.stores.url import absolute


@pytest.fixture(params=["sync", "async"])
def opens(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Open a store, close it, and give the URL it has for itself."""

    def sync(url: str) -> str:
        with open_store(url) as store:
            return store.url

    def in_loop(url: str) -> str:
        async def main() -> str:
            async with open_async_store(url) as store:
                return store.url

        return asyncio.run(main())

    return sync if request.param == "sync" else in_loop


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///store.db", "store.db"),
        ("sqlite:///a/b.db", "a/b.db"),
        ("sqlite:///{cwd}/store.db", "store.db"),
        ("sqlite:///./x/../store.db", "store.db"),
        ("sqlite:///with%20space.db", "with space.db"),
        ("sqlite:///with space.db", "with space.db"),
        ("sqlite:///a%3Fb.db?timeout=5", "a?b.db"),
        ("sqlite:///a%23b.db", "a#b.db"),
        ("sqlite:///50%25.db", "50%.db"),
        ("sqlite:///caf%C3%A9.db", "café.db"),
        ("sqlite:///café.db", "café.db"),
        ("sqlite:///no-suffix", "no-suffix"),
    ],
)
def test_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: Callable[[str], str], url: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "x").mkdir()
    opens(url.format(cwd=tmp_path))
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize("folder", ["", "/"])
def test_names_are_made_absolute_as_pathlib_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str) -> None:
    monkeypatch.chdir(folder or tmp_path)
    for parts in itertools.product(["a", "..", ".", "", "b.db"], repeat=3):
        for path in ("/".join(parts), "/".join(["", "a", *parts])):
            if not path.startswith("//"):  # which pathlib keeps, and Linux takes for one
                assert absolute(path) == str(Path(path).absolute())


def test_a_relative_path_is_fixed_when_the_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///store.db") as store:
        monkeypatch.chdir("/")
        persister = StateMachinePersister(store)
        persister.save_state("doc", 1, expected=0)
        assert persister.load("doc").data == 1
        assert store.url == f"sqlite:///{tmp_path}/store.db"


def test_the_kinds_of_stores(tmp_path: Path) -> None:
    with open_store("memory://") as memory, open_store(f"sqlite:///{tmp_path}/store.db") as sqlite:
        assert isinstance(memory, MemoryStore)
        assert isinstance(sqlite, SqliteStore)
        assert isinstance(memory, Store)
        assert isinstance(sqlite, Store)
        assert (memory.capabilities.shared, sqlite.capabilities.shared) == (False, True)
    with open_store("memory://") as one, open_store("memory://") as other:
        StateMachinePersister(one).save_state("doc", 1, expected=0)
        assert not StateMachinePersister(other).exists("doc")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"timeout": 10.0, "durability": "full", "read_only": False}),
        ("?timeout=0.5", {"timeout": 0.5}),
        ("?durability=normal", {"durability": "normal"}),
        ("?durability=off&timeout=3&mode=rw", {"durability": "off", "timeout": 3.0, "read_only": False}),
        ("?mode=ro", {"read_only": True}),
    ],
)
def test_options(tmp_path: Path, options: str, expected: dict[str, Any]) -> None:
    open_store(f"sqlite:///{tmp_path}/store.db").close()
    with open_store(f"sqlite:///{tmp_path}/store.db{options}") as store:
        assert isinstance(store, SqliteStore)
        assert {name: getattr(store.engine.settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no store URL"),
        ("store.db", "no store URL"),
        ("/tmp/store.db", "no store URL"),
        ("sqlite:store.db", "no store URL"),
        ("postgres://host/db", "no known kind"),
        ("SQLITE3:///x", "no known kind"),
        ("sqlite://", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite://store.db", "three slashes"),
        ("sqlite://host/store.db", "three slashes"),
        ("sqlite:///x.db?tiemout=5", "unknown option 'tiemout'; known are durability, mode, timeout"),
        ("sqlite:///x.db?wal_pages=5", "unknown option"),
        ("sqlite:///x.db?durability=fast", "full, normal or off"),
        ("sqlite:///x.db?durability=", "full, normal or off"),
        ("sqlite:///x.db?mode=w", "rw or ro"),
        ("sqlite:///x.db?timeout=soon", "number of seconds"),
        ("sqlite:///x.db?timeout=0", "number of seconds"),
        ("sqlite:///x.db?timeout=-1", "number of seconds"),
        ("sqlite:///x.db?timeout=nan", "number of seconds"),
        ("sqlite:///x.db?timeout=inf", "number of seconds"),
        ("sqlite:///x.db?timeout=3600", "number of seconds"),
        ("memory://?timeout=5", "option"),
        ("firestore://", "project id"),
        ("firestore://Bad_Project!", "project id"),
    ],
)
def test_urls_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: Callable[[str], str], url: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        opens(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", [None, 5, Path("x.db"), b"memory://"])
def test_what_is_no_text(tmp_path: Path, url: Any) -> None:
    with pytest.raises(ConfigurationError):
        open_store(url)


def test_a_path_is_never_cut_off(tmp_path: Path, opens: Callable[[str], str]) -> None:
    """A '#' that should have been escaped must not silently open the file before it."""
    try:
        opens(f"sqlite:///{tmp_path}/a#b.db")
    except ConfigurationError as error:
        assert "%23" in str(error) or "#" in str(error)  # noqa: PT017
    assert not (tmp_path / "a").exists()


def test_urls_with_two_values_for_an_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        open_store(f"sqlite:///{tmp_path}/x.db?mode=ro&mode=rw")


def test_an_asyncio_store_needs_a_running_loop() -> None:
    with pytest.raises((RuntimeError, ConfigurationError)):
        open_async_store("memory://")
