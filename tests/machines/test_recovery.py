"""Tampered, lost and rotten documents: noticed, passed over, rebuilt where the rest allows it, never served."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw
import pytest

from eventstate import ANY, CorruptionError, Event, EventStateError, StateDeletedError, open_store
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Key
from eventstate.machines.persister import StateMachinePersister
from tests.machines.world import Added, World, datas, flipped, make_counter

counter = make_counter()


def head(id: str) -> Key:
    return Key(HEAD, "default", id)


def entry(id: str, n: int) -> Key:
    return Key(ENTRY, "default", id, n)


def snapshot(id: str, n: int) -> Key:
    return Key(SNAPSHOT, "default", id, n)


def filled(world: World) -> Any:
    """Two counters with seven events each and snapshots at 2, 4 and 6, and a plain document."""
    persister = world(machines=[counter], snapshot_every=2)
    for id in ("a", "b"):
        for version in range(7):
            persister.append(counter, id, Added(1), expected=version)
    persister.save_state("doc", {"x": 1}, expected=0)
    persister.save_state("doc", {"x": 2}, expected=1)
    return world(machines=[counter], snapshot_every=2)


def findings(persister: Any) -> list[tuple[str, str]]:
    return [(finding.state_id, finding.where) for finding in persister.validate_consistency().findings]


def test_a_sound_store_verifies(world: World) -> None:
    persister = filled(world)
    seen: list[int] = []
    report = persister.validate_consistency(progress=lambda report: seen.append(report.total_streams))
    assert report.is_consistent
    assert (report.total_streams, report.total_events, report.total_snapshots) == (3, 16, 7)
    assert seen == [3]
    assert persister.recover_all().current == 3


Damage = Callable[[World], None]

DAMAGE: dict[str, tuple[Damage, str]] = {
    "head bit": (lambda w: w.change(head("counter-a"), flipped), "head default/counter-a"),
    "head cut": (lambda w: w.change(head("counter-a"), lambda b: b[:40]), "head default/counter-a"),
    "head empty": (lambda w: w.change(head("counter-a"), lambda b: b""), "head default/counter-a"),
    "head of another": (
        lambda w: w.change(head("counter-a"), lambda b: _body(w, head("counter-b"))),
        "head default/counter-a",
    ),
    "head lost": (lambda w: w.remove(head("counter-a")), "head default/counter-a"),
    "entry bit": (lambda w: w.change(entry("counter-a", 3), flipped), "entry default/counter-a:3"),
    "entry of another": (
        lambda w: w.change(entry("counter-a", 3), lambda b: _body(w, entry("counter-b", 3))),
        "entry default/counter-a:3",
    ),
    "entries swapped": (
        lambda w: w.change(entry("counter-a", 3), lambda b: _body(w, entry("counter-a", 4))),
        "entry default/counter-a:3",
    ),
    "first entry lost": (lambda w: w.remove(entry("counter-a", 1)), "entry default/counter-a:2"),
    "entry lost": (lambda w: w.remove(entry("counter-a", 3)), "entry default/counter-a:4"),
    "last entry lost": (lambda w: w.remove(entry("counter-a", 7)), "entry default/counter-a:7"),
    "snapshot bit": (lambda w: w.change(snapshot("counter-a", 4), flipped), "snapshot default/counter-a:4"),
    "snapshot lost": (lambda w: w.remove(snapshot("counter-a", 4)), "snapshot default/counter-a:4"),
    "snapshot of another": (
        lambda w: w.change(snapshot("counter-a", 4), lambda b: _body(w, snapshot("counter-b", 4))),
        "snapshot default/counter-a:4",
    ),
}


def _body(world: World, key: Key) -> bytes:
    document = world.read(key)
    assert document is not None
    return document.body


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_is_found_and_named(world: World, damage: str) -> None:
    alter, where = DAMAGE[damage]
    persister = filled(world)
    alter(world)
    assert findings(persister) == [("counter-a", where)]


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_damaged_no_wrong_state_is_served(world: World, damage: str) -> None:
    alter, _ = DAMAGE[damage]
    persister = filled(world)
    alter(world)
    for version in [None, *range(1, 8)]:
        with suppress(CorruptionError):
            assert persister.load(counter, "a", at_version=version).data == (version or 7)
    assert persister.load(counter, "b").data == 7


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "head" in name])
def test_a_bad_head_is_passed_over_and_mended_by_the_next_append(world: World, damage: str) -> None:
    alter, _ = DAMAGE[damage]
    persister = filled(world)
    alter(world)
    before = world.everything()
    loaded = persister.load(counter, "a")
    assert (loaded.data, loaded.version, loaded.recovered) == (7, 7, True)
    assert persister.exists(counter, "a")
    assert [t.to_state for t in persister.history(counter, "a")] == list(range(1, 8))
    assert world.everything() == before  # reading writes nothing
    assert persister.append(counter, "a", Added(1), expected=loaded).data == 8
    assert persister.load(counter, "a").data == 8
    assert not persister.load(counter, "a").recovered
    assert findings(persister) == []


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "head" in name])
def test_rebuilding_writes_a_bad_head_anew(world: World, damage: str) -> None:
    alter, _ = DAMAGE[damage]
    persister = filled(world)
    alter(world)
    rebuilt = persister.rebuild(counter, "a")
    assert (rebuilt.data, rebuilt.version) == (7, 7)
    assert findings(persister) == []
    assert world(machines=[counter]).load(counter, "a").data == 7


def test_recovery_rebuilds_bad_heads(world: World) -> None:
    persister = filled(world)
    world.change(head("counter-a"), flipped)
    items = {item.id: item for item in persister.recover()}
    assert {id: item.status for id, item in items.items()} == {
        "counter-a": "rebuilt",
        "counter-b": "current",
        "doc": "current",
    }
    assert (items["counter-a"].data, items["counter-a"].version) == (7, 7)
    assert "digest" in str(items["counter-a"].problem)
    assert findings(persister) == []
    assert persister.recover_all().current == 3


def test_what_can_not_be_rebuilt_is_given_as_lost(world: World) -> None:
    persister = filled(world)
    world.change(head("counter-a"), flipped)
    world.change(entry("counter-a", 3), flipped)
    report = persister.recover_all()
    assert (report.total, report.current, report.lost) == (3, 2, 1)
    assert "counter-a" in report.problems[0]
    with pytest.raises(CorruptionError, match="eventstate verify"):
        persister.load(counter, "a")
    with pytest.raises(CorruptionError):
        persister.append(counter, "a", Added(1), expected=ANY)
    assert persister.load(counter, "b").data == 7


def test_snapshots_lead_past_a_bad_entry(world: World) -> None:
    persister = filled(world)
    world.change(entry("counter-a", 1), flipped)
    assert persister.load(counter, "a", at_version=5).data == 5
    with pytest.raises(CorruptionError) as caught:
        persister.load(counter, "a", at_version=2)
    assert caught.value.where == "entry default/counter-a:1"
    with pytest.raises(CorruptionError):
        persister.rebuild(counter, "a", full=True)


def test_bad_snapshots_are_passed_over(world: World) -> None:
    persister = filled(world)
    for version in (2, 4, 6):
        world.change(snapshot("counter-a", version), flipped)
    assert [persister.load(counter, "a", at_version=v).data for v in range(1, 8)] == list(range(1, 8))
    assert persister.load_snapshot(counter, "a") is None
    world.change(head("counter-a"), flipped)
    assert persister.load(counter, "a").data == 7


def test_a_state_that_its_events_do_not_lead_to_is_found(world: World) -> None:
    """A head with a right digest and a wrong state: written by other rules under the same fold version."""
    persister = filled(world)
    wrong = make_counter(fold_version=1)
    wrong._evolve = lambda total, event: total + 100
    world(machines=[wrong]).append(wrong, "a", Added(1), expected=7)
    [(state_id, where)] = findings(persister)
    assert (state_id, where) == ("counter-a", "head default/counter-a")
    assert persister.rebuild(counter, "a").data == 8
    assert findings(persister) == [] or findings(persister)[0][1].startswith("snapshot")
    assert persister.load(counter, "a").data == 8


def test_several_findings_come_in_id_order(world: World) -> None:
    persister = filled(world)
    world.change(head("doc"), flipped)
    world.remove(head("counter-a"))
    world.change(entry("counter-b", 5), flipped)
    assert [id for id, _ in findings(persister)] == ["counter-a", "counter-b", "doc"]


def test_lists_and_numbers_pass_over_bad_heads(world: World) -> None:
    persister = filled(world)
    numbers = persister.get_stats()
    world.change(head("counter-a"), flipped)
    assert datas(persister.list_states().states) == [7, 7, {"x": 2}]
    assert persister.get_stats() == numbers
    assert len(persister.batch_get_states(["counter-a", "doc"])) == 2
    assert persister.create_snapshot("doc") == 2


def test_a_bad_head_of_a_deleted_state(world: World) -> None:
    persister = filled(world)
    persister.delete_state(counter, "a", expected=7)
    world.change(head("counter-a"), flipped)
    persister = world(machines=[counter])
    assert not persister.exists(counter, "a")
    with pytest.raises(StateDeletedError):
        persister.load(counter, "a")
    assert [state.id for state in persister.list_states().states] == ["counter-b", "doc"]
    assert [item.status for item in persister.recover()] == ["deleted", "current", "current"]
    with pytest.raises(StateDeletedError):
        persister.append(counter, "a", Added(1), expected=ANY)
    assert persister.append(counter, "a", Added(1), expected=ANY, reopen=True).data == 1


def tamper(path: str) -> None:
    """Change one bit of every head."""
    connection = apsw.Connection(path)
    for stream, body in list(connection.execute("SELECT stream, body FROM heads")):
        connection.execute("UPDATE heads SET body = ? WHERE stream = ?", (flipped(body), stream))
    connection.close()


@pytest.mark.backend("sqlite")
def test_a_store_opened_read_only_recovers_what_it_can_without_writing(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        persister.append("doc", Event("x", state={"x": 1}), Event("y", state={"x": 2}), expected=0)
    tamper(f"{tmp_path}/store.db")
    with open_store(url + "?mode=ro") as store:
        persister = StateMachinePersister(store)
        assert persister.load("doc").data == {"x": 2}
        [item] = persister.recover()
        assert (item.status, item.data) == ("rebuilt", {"x": 2})


def test_errors_in_one_stream_leave_the_persister_usable(world: World) -> None:
    persister = filled(world)
    world.change(entry("counter-a", 3), flipped)
    world.change(head("counter-a"), flipped)
    for _ in range(3):
        with pytest.raises(EventStateError):
            persister.load(counter, "a")
        assert persister.append(counter, "b", Added(1), expected=ANY).version > 7
