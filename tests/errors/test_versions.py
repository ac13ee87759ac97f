"""Expected versions and versions asked for that the stream does not have."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import (
    ANY,
    Event,
    IllegalTransitionError,
    InvalidInputError,
    StateNotFoundError,
    StateSnapshot,
    UnknownEventError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.core.chain import stored_digest
from eventstate.core.documents import ENTRY, HEAD, Key
from eventstate.core.format import Base, Image, decode_head, encode_head
from eventstate.core.ids import MAX_VERSION
from tests.machines.world import Placed, Shipped, World, make_orders


def three_entries(world: World) -> Any:
    """A stream of seven events in the commits 1-3, 4-5 and 6-7."""
    persister = world()
    for version, size in ((0, 3), (3, 2), (5, 2)):
        persister.append("doc", *[Event("x", state=version + i) for i in range(size)], expected=version)
    return world()


@pytest.mark.parametrize("expected", [0, 1, 2, 3, 4, 5, 6, 8, 100, MAX_VERSION])
def test_an_expected_version_that_is_not_the_tip(world: World, expected: int) -> None:
    """Also one inside an entry, where no entry of that version exists, and one beyond the tip."""
    persister = three_entries(world)
    before = world.everything()
    for fresh in (persister, world()):
        for _ in range(2):  # cold, then from what is remembered
            with pytest.raises(VersionConflictError, match="load it again") as caught:
                fresh.append("doc", Event("y", state=0), expected=expected)
            assert (caught.value.expected, caught.value.actual) == (expected, 7)
            assert caught.value.is_transient
    with pytest.raises(VersionConflictError):
        persister.delete_state("doc", expected=expected)
    assert world.everything() == before
    assert persister.append("doc", Event("y", state=0), expected=7).version == 8


@pytest.mark.parametrize("expected", [-1, True, False, 1.0, "1", None, MAX_VERSION + 1, [1], b"1"])
def test_what_is_no_version(world: World, expected: Any) -> None:
    persister = three_entries(world)
    before = world.everything()
    for call in (
        lambda: persister.append("doc", Event("y", state=0), expected=expected),
        lambda: persister.save_state("doc", 1, expected=expected),
        lambda: persister.update_state("doc", 1, expected=expected),
        lambda: persister.delete_state("doc", expected=expected),
    ):
        with pytest.raises(InvalidInputError, match="expected="):
            call()
    assert world.everything() == before


def test_an_expected_state_that_was_never_saved(world: World) -> None:
    persister = world()
    new = StateSnapshot.new("doc", {"a": 1})
    assert persister.save_state("doc", new.data, expected=new).version == 1
    with pytest.raises(VersionConflictError):
        persister.save_state("doc", new.data, expected=new)


@pytest.mark.parametrize("version", [8, 9, 10**6, MAX_VERSION])
def test_a_version_beyond_the_tip(world: World, version: int) -> None:
    persister = three_entries(world)
    with pytest.raises(VersionNotFoundError, match="versions 1 to 7 can be rebuilt") as caught:
        persister.load("doc", at_version=version)
    assert caught.value.asked == f"version {version}"
    assert not caught.value.is_transient
    with pytest.raises(StateNotFoundError, match="'nothing'"):
        persister.load("nothing", at_version=version)


def prune(world: World, before: int) -> None:
    """Do by hand what a retention does: the snapshot at ``before`` becomes where the stream begins."""
    document = world.read(Key(HEAD, "default", "doc"))
    entry = world.read(Key(ENTRY, "default", "doc", before))
    assert document is not None
    assert entry is not None
    head, state = decode_head(document)
    tip = head.tip._replace(base=Base(before, stored_digest(entry.body)))
    image = Image(str(state).encode(), 0, 1)
    world.write(document.key, encode_head(tip, image, token="pruned", action=head.action, metadata={}))
    for version in range(1, before + 1):
        world.remove(Key(ENTRY, "default", "doc", version))


def test_below_a_pruned_range(world: World) -> None:
    persister = world(snapshot_every=0)
    for version in range(6):
        persister.append("doc", Event("x", state=version + 1), expected=version)
        if version == 3:
            persister.create_snapshot("doc")
    prune(world, 4)
    persister = world(snapshot_every=0)
    before = world.everything()
    assert persister.load("doc").data == 6
    assert [persister.load("doc", at_version=v).data for v in (4, 5, 6)] == [4, 5, 6]
    for version in (1, 2, 3):
        with pytest.raises(VersionNotFoundError, match="versions 4 to 6") as caught:
            persister.load("doc", at_version=version)
        assert (caught.value.first, caught.value.last) == (4, 6)
    for expected in (0, 1, 2, 3, 4, 5, 7):
        with pytest.raises(VersionConflictError):
            persister.append("doc", Event("y", state=0), expected=expected)
    assert [t.version for t in persister.history("doc")] == [5, 6]
    assert persister.validate_consistency().is_consistent
    assert persister.get_stats().total_events == 2
    assert world.everything() == before
    assert persister.append("doc", Event("y", state=7), expected=6).version == 7
    assert persister.rebuild("doc").data == 7


def test_an_unknown_event_or_an_illegal_one_says_what_is_known(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    with pytest.raises(UnknownEventError, match="Placed, Paid, Shipped"):
        persister.append(orders, "1", Event("Lost"), expected=0)
    with pytest.raises(IllegalTransitionError, match="legal here: Placed"):
        persister.append(orders, "1", Shipped(), expected=ANY)
    assert world.everything() == []
    assert persister.append(orders, "1", Placed("x"), expected=0).version == 1


@pytest.mark.parametrize("token", ["", "x", "es1:", "es1:%%%", "es1:WzFd", "es2:abc", "es1:é", None, 5])
def test_what_is_no_commit_token(world: World, token: Any) -> None:
    with pytest.raises(InvalidInputError, match="no commit token"):
        world().settle(token)
