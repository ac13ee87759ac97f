"""Checks of whole stores name what they can't fold, and go on with the other streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from eventstate import (
    Keyring,
    Machine,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    StreamTransfer,
    TimeTravel,
    open_store,
)
from eventstate.core.documents import Batch, Delete, Require
from eventstate.core.format import snapshot_key
from eventstate.runtime.blocking import drive


@dataclass(frozen=True)
class Cart:
    count: int = 0


@dataclass(frozen=True)
class Added:
    by: str


def add(cart: Cart, event: Added) -> Cart:
    return replace(cart, count=cart.count + 1)


def _no_state(cart: Cart, event: Added) -> Any:
    return object()


def _odd_state(cart: Cart, event: Added) -> Cart:
    return Cart("many")  # pyright: ignore[reportArgumentType]


CARTS = Machine("cart", Cart(), add)
SECRET = Machine("cart", Cart(), add, subjects={Added: "by"})


@pytest.mark.parametrize("evolve", [_no_state, _odd_state])
def test_an_evolve_that_gives_no_state_is_named_for_each_stream(evolve: Callable[[Cart, Added], Any]) -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[CARTS], snapshot_every=2)
        for id in ("1", "2"):
            persister.append(CARTS, id, Added("ada"), Added("ada"), Added("ada"), expected=0)
        changed = Machine("cart", Cart(), evolve, events=[Added])
        replayed = TimeTravel(store, machines=[changed]).replay_check()
        assert {found.state_id for found in replayed.divergences} == {"cart-1", "cart-2"}
        assert {found.kind for found in replayed.divergences} == {"fails"}
        verified = StateMachinePersister(store, machines=[changed]).validate_consistency()
        assert [found.state_id for found in verified.findings] == ["cart-1", "cart-2"]
        assert verified.is_complete


def test_a_replay_of_pruned_streams_without_their_keys_counts_them() -> None:
    with open_store("memory://") as store, open_store("memory://") as keys, open_store("memory://") as others:
        keyring = Keyring(keys)
        persister = StateMachinePersister(store, machines=[SECRET], keyring=keyring)
        for id in ("1", "2"):
            for version in range(4):
                persister.append(SECRET, id, Added("ada"), expected=version)
        RetentionManager(store, machines=[SECRET], keyring=keyring).prune(RetentionPolicy(keep_last=2))
        report = TimeTravel(store, machines=[SECRET], keyring=Keyring(others)).replay_check()
        assert (report.streams, report.incomparable, report.is_finished) == (2, 2, True)


def test_a_replay_names_a_pruned_stream_whose_base_is_gone() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[CARTS])
        for version in range(4):
            persister.append(CARTS, "1", Added("ada"), expected=version)
        RetentionManager(store, machines=[CARTS]).prune(RetentionPolicy(keep_last=2))
        travel = TimeTravel(store, machines=[CARTS])
        assert travel.replay_check().is_same
        drive(store.commit(Batch("damage", [Delete(snapshot_key("default", "cart-1", 2), Require.ANY)])))
        (found,) = travel.replay_check().divergences
        assert (found.kind, found.state_id) == ("corrupt", "cart-1")


def test_the_history_of_a_fork_that_was_copied_without_its_parent_is_its_own() -> None:
    with open_store("memory://") as store, open_store("memory://") as other:
        persister = StateMachinePersister(store, machines=[CARTS])
        persister.append(CARTS, "1", Added("ada"), expected=0)
        TimeTravel(store, machines=[CARTS]).fork(CARTS, "1", to="2")
        StreamTransfer(store).copy_to(other, state_ids=["cart-2"])
        travel = TimeTravel(other, machines=[CARTS])
        assert [step.state_id for step in travel.history(CARTS, "2")] == ["cart-2"]
        assert [origin.state_id for origin in travel.lineage(CARTS, "2")] == ["cart-1"]
