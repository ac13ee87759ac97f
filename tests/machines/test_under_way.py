"""What must hold while others are at work, are interrupted, or are wrong."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    ConfigurationError,
    EncodingError,
    Event,
    InvalidIdError,
    InvalidInputError,
    Machine,
    StateMachinePersister,
    open_async_store,
    open_store,
)
from eventstate.log import appending
from eventstate.stores.sqlite.store import SqliteStore


def test_a_state_of_another_governor_is_no_expected_version() -> None:
    with open_store("memory://") as store:
        mine = StateMachinePersister(store, governor="mine")
        loaded = StateMachinePersister(store, governor="theirs").save_state("doc", 1, expected=0)
        mine.save_state("doc", 100, expected=0)
        with pytest.raises(InvalidInputError, match="governor 'theirs'"):
            mine.save_state("doc", 666, expected=loaded)
        assert mine.load("doc").data == 100


@pytest.mark.backend("sqlite")
def test_a_healthy_store_that_is_written_meanwhile_verifies(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        persister = StateMachinePersister(store, snapshot_every=5)
        ended = threading.Event()

        def write(name: str) -> None:
            while not ended.is_set():
                persister.save_state(name, {"n": 1}, expected=ANY)

        writers = [threading.Thread(target=write, args=(f"doc-{n}",)) for n in range(3)]
        for writer in writers:
            writer.start()
        try:
            findings = [f for _ in range(15) for f in persister.validate_consistency().findings]
        finally:
            ended.set()
            for writer in writers:
                writer.join()
        assert findings == []
        assert persister.validate_consistency().is_consistent


@pytest.mark.backend("sqlite")
def test_a_read_that_was_cut_off_pins_no_old_snapshot(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        persister = StateMachinePersister(store)
        saved = persister.save_state("doc", 1, expected=0)
        assert isinstance(store, SqliteStore)
        kept: list[Any] = []
        with pytest.raises(KeyboardInterrupt), store.engine.reader() as connection:  # noqa: PT012 - the read's body
            kept.append(connection.execute("SELECT * FROM heads, entries, streams"))  # as a traceback would keep it
            raise KeyboardInterrupt
        for n in (2, 3, 4):
            saved = persister.save_state("doc", n, expected=saved)
            assert StateMachinePersister(store).load("doc").data == n


@dataclass(frozen=True)
class Tags:
    names: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Tagged:
    name: int


@dataclass(frozen=True)
class Loudly(Tagged):
    volume: int = 11


def tag(tags: Tags, event: Tagged) -> Tags:
    if event.name == 13:
        raise KeyError(event.name)
    return Tags(tags.names | {event.name})


TAGS = Machine("tags", Tags(), tag)


def test_states_whose_text_has_no_fixed_order_verify() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[TAGS], snapshot_every=3)
        for stream in range(40):
            for version in range(6):
                persister.append(TAGS, str(stream), Tagged((stream * 37 + version * 101) % 997 + 20), expected=version)
        assert persister.validate_consistency().findings == []


def test_an_event_whose_declared_type_would_drop_fields_is_refused() -> None:
    machine = Machine("tags", Tags(), tag, events={"Tagged": Tagged})
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[machine])
        with pytest.raises(EncodingError, match="would drop"):
            persister.append(machine, "1", Event("Tagged", Loudly(1)), expected=0)
        assert not persister.exists(machine, "1")


def test_one_stream_that_evolve_cannot_take_keeps_no_other_from_recovery() -> None:
    lenient = Machine("tags", Tags(), lambda tags, event: tags, events=[Tagged])
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[lenient])
        for name in (1, 13, 2):
            persister.append(lenient, str(name), Tagged(name), expected=0)
        strict = Machine("tags", Tags(), tag, fold_version=2)
        later = StateMachinePersister(store, machines=[strict])
        report = later.recover_all()
        assert (report.rebuilt, report.lost) == (2, 1)
        assert "tags-13: KeyError" in report.problems[0]
        findings = later.validate_consistency().findings
        assert [finding.state_id for finding in findings] == ["tags-13"]


@pytest.mark.parametrize("key", ["", "\ud800", "a\0b", "x" * 2000])
def test_idempotency_keys_that_no_backend_could_keep(key: str) -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        with pytest.raises(InvalidIdError, match="idempotency key"):
            persister.save_state("doc", 1, expected=0, idempotency_key=key)
        assert not persister.exists("doc")


def test_a_history_of_several_pages_is_whole() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        for batch in range(12):
            events = [Event("set", state={"n": batch * 103 + n}) for n in range(103)]
            persister.append("doc", *events, expected=batch * 103)
        steps = list(persister.history("doc"))
        assert [step.to_state["n"] for step in steps] == list(range(12 * 103))
        assert [step.from_state["n"] for step in steps[1:]] == list(range(12 * 103 - 1))
        assert [step.version for step in persister.history("doc", from_version=700, to_version=1210)] == list(
            range(700, 1211)
        )


@pytest.mark.backend("sqlite")
def test_a_store_of_another_loop_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    async def opened() -> AsyncStateMachinePersister:
        return AsyncStateMachinePersister(open_async_store(f"sqlite:///{tmp_path}/store.db"))

    async def saved(persister: AsyncStateMachinePersister) -> None:
        await persister.save_state("doc", 1, expected=0)

    persister = asyncio.run(opened())
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(saved(persister))
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        assert not StateMachinePersister(store).exists("doc")


def test_what_an_appender_remembers_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "MAX_KNOWN_BYTES", 50_000)
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        for n in range(30):
            persister.save_state(f"doc-{n}", "x" * 10_000, expected=0)
        remembered = persister._core.appender._known
        assert sum(len(known.document.body) for known in remembered.values()) <= 50_000
        assert persister.save_state("doc-0", "y", expected=1).version == 2
