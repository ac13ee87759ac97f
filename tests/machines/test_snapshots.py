"""When snapshots are taken, which ones remain, and states too large for a head."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import (
    ConfigurationError,
    CorruptionError,
    DocumentTooLargeError,
    Event,
    StateDeletedError,
    StateNotFoundError,
)
from eventstate.core.documents import SNAPSHOT, Key
from tests.machines.world import Added, World, make_counter


def kept(world: World) -> list[int]:
    return [document.key.n for document in world.scan(SNAPSHOT)]


@pytest.mark.parametrize(
    ("every", "keep", "commits", "expected"),
    [
        (0, 5, [1] * 10, []),
        (1, 3, [1] * 5, [3, 4, 5]),
        (3, 5, [1] * 10, [3, 6, 9]),
        (3, 2, [1] * 10, [6, 9]),
        (5, 5, [3, 3, 3, 3], [6, 12]),
        (5, 5, [12], [12]),
        (100, 5, [1] * 10, []),
    ],
)
def test_the_policy(world: World, every: int, keep: int, commits: list[int], expected: list[int]) -> None:
    counter = make_counter()
    persister = world(machines=[counter], snapshot_every=every, keep_snapshots=keep)
    version = 0
    for size in commits:
        version = persister.append(counter, "a", *[Added(1)] * size, expected=version).version
    assert kept(world) == expected
    assert persister.get_stats().total_snapshots == len(expected)
    newest = persister.load_snapshot(counter, "a")
    assert (newest.version if newest else None) == (expected[-1] if expected else None)
    assert persister.load(counter, "a").data == sum(commits)
    assert persister.validate_consistency().is_consistent


@pytest.mark.parametrize("options", [{"snapshot_every": -1}, {"keep_snapshots": 0}])
def test_policies_that_cannot_be(world: World, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        world(**options)


def test_explicit_snapshots(world: World) -> None:
    persister = world(snapshot_every=0, keep_snapshots=2)
    for version in range(6):
        persister.save_state("doc", {"v": version + 1}, expected=version)
        if version in (0, 2, 4):
            assert persister.create_snapshot("doc") == version + 1
    assert kept(world) == [3, 5]
    assert persister.create_snapshot("doc") == persister.create_snapshot("doc") == 6
    assert kept(world) == [5, 6]
    found = persister.load_snapshot("doc")
    assert (found.id, found.version, found.data) == ("doc", 6, {"v": 6})
    assert persister.load_snapshot("doc", at_version=5).data == {"v": 5}
    assert persister.load_snapshot("doc", at_version=4) is None
    assert persister.load("doc").version == 6
    assert persister.save_state("doc", {"v": 7}, expected=6).version == 7
    assert persister.validate_consistency().total_snapshots == 2


def test_snapshots_need_a_state(world: World) -> None:
    persister = world()
    with pytest.raises(StateNotFoundError):
        persister.create_snapshot("doc")
    with pytest.raises(StateNotFoundError):
        persister.load_snapshot("doc")
    persister.save_state("doc", 1, expected=0)
    assert persister.load_snapshot("doc") is None
    persister.delete_state("doc", expected=1)
    with pytest.raises(StateDeletedError):
        persister.create_snapshot("doc")


def test_a_snapshot_whose_entry_is_gone_is_refused_in_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    persister = world()
    persister.save_state("doc", 1, expected=0)
    world.remove(Key("entry", "default", "doc", 1))
    commit = type(world.store).commit
    tries = 0

    async def counted(self: Any, batch: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries > 100:
            raise AssertionError("it never stops trying")
        return await commit(self, batch)

    monkeypatch.setattr(type(world.store), "commit", counted)
    with pytest.raises(CorruptionError):
        persister.create_snapshot("doc")
    assert kept(world) == []


def large(n: int, size: int = 100_000) -> dict[str, Any]:
    return {"n": n, "pad": chr(97 + n % 26) * size}


def heads_with_a_state(world: World) -> int:
    return sum(b'"state"' in document.body for document in world.scan("head"))


@pytest.mark.parametrize("every", [0, 2])
def test_states_above_64_kib_are_not_in_the_head_but_load_right(world: World, every: int) -> None:
    persister = world(snapshot_every=every)
    persister.save_state("doc", large(1), expected=0)
    assert heads_with_a_state(world) == 0
    state = persister.load("doc")
    assert state.data == large(1)
    for version in range(1, 6):  # warm appends, from the state that the append before left
        state = persister.update_state("doc", {**state.data, "n": version + 1}, expected=state)
    assert state.data == {**large(1), "n": 6}
    for fresh in (persister, world(), world(snapshot_every=every)):
        assert fresh.load("doc").data == state.data
        assert fresh.load("doc", at_version=4).data["n"] == 4
        assert next(iter(fresh.list_states().states)).data == state.data
        assert [r.status for r in fresh.recover()] == ["rebuilt"]
        assert fresh.validate_consistency().is_consistent
    # Grown smaller again, it is in the head.
    persister.save_state("doc", {"n": 7}, expected=6)
    assert heads_with_a_state(world) == 1
    assert world().load("doc").data == {"n": 7}
    assert world().update_state("doc", large(8), expected=7).data == large(8)
    assert heads_with_a_state(world) == 0


def test_warm_appends_to_large_states_read_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    persister = world()
    state = persister.save_state("doc", large(1), expected=0)
    monkeypatch.delattr(type(world.store), "get")
    state = persister.append("doc", Event("a", state=large(2)), expected=state)
    state = persister.update_state("doc", {**state.data, "n": 3}, expected=2)
    assert (state.version, state.data["n"]) == (3, 3)


def test_what_the_caller_does_to_a_large_state_reaches_nothing_stored(world: World) -> None:
    persister = world()
    state = persister.save_state("doc", large(1), expected=0)
    state.data["n"] = "changed"
    loaded = persister.load("doc")
    loaded.data["n"] = "changed"
    assert persister.execute("doc", "x", lambda s: None).version == 0
    assert persister.update_state("doc", large(2), expected=loaded).version == 2
    assert next(iter(persister.history("doc"))).to_state == large(1)


@pytest.mark.parametrize("size", [65_536 - 20, 65_536, 65_536 + 20])
def test_states_around_the_limit_of_the_head(world: World, size: int) -> None:
    persister = world()
    for version in range(3):
        data = large(version, size - 15 + version)
        assert persister.save_state("doc", data, expected=version).data == data
        assert world().load("doc").data == data


def test_a_document_that_is_too_large_is_refused_with_its_size(world: World) -> None:
    persister = world(snapshot_every=2)
    persister.save_state("doc", 1, expected=0)
    before = world.everything()
    with pytest.raises(DocumentTooLargeError) as caught:
        persister.save_state("doc", large(1, 2_000_000), expected=1)
    assert 2_000_000 < caught.value.size < 2_001_000
    assert caught.value.limit < 921_600 + 1
    assert "'doc'" in caught.value.what
    assert f"{caught.value.size:,} bytes" in str(caught.value)
    assert world.everything() == before
    assert persister.save_state("doc", 2, expected=1).version == 2


@pytest.mark.parametrize("every", [0, 3, 100])
def test_a_state_that_grows_too_large_in_small_steps_is_refused_at_once(world: World, every: int) -> None:
    """Not first when a snapshot is due: the stream could then never go on."""
    persister = world(snapshot_every=every)
    state = persister.save_state("doc", {"0": "x" * 300_000}, expected=0)
    state = persister.update_state("doc", {**state.data, "1": "x" * 300_000}, expected=state)
    before = world.everything()
    with pytest.raises(DocumentTooLargeError, match="the state of 'doc'"):
        persister.update_state("doc", {**state.data, "2": "x" * 320_000}, expected=state)
    assert world.everything() == before
    for n in range(3, 6):
        state = persister.update_state("doc", {**state.data, str(n): "y"}, expected=state)
    assert world().load("doc").data == state.data
