"""Deciding on the current state, commands that are repeated, and several streams in one commit."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from eventstate import (
    ANY,
    AppendTo,
    EncodingError,
    Event,
    IdempotencyMismatchError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
    Machine,
    StateDeletedError,
    StateMachinePersister,
    TransactionConflictError,
    UnknownEventError,
    VersionConflictError,
    open_store,
)
from tests.machines.world import Added, Order, Paid, Placed, Shipped, World, add, make_counter, make_orders


def pay(order: Order, amount: int) -> Paid | None:
    return Paid(amount) if order.total + amount <= 10 else None


def test_execute_loads_decides_and_appends(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    first = persister.execute(orders, "1", lambda order: [Placed("a"), Placed("b")], changed_by="kim")
    assert (first.version, first.data.lines, first.metadata.changed_by) == (2, ("a", "b"), "kim")
    assert persister.execute("order", "1", pay, 7).data.total == 7
    unchanged = persister.execute(orders, "1", pay, 7)
    assert (unchanged.version, unchanged.data.total, unchanged.action) == (3, 7, "Paid")
    assert persister.execute(orders, "1", lambda order: (Paid(1), Shipped())).version == 5
    assert persister.execute(orders, "1", lambda order: []).version == 5


def test_execute_on_plain_streams(world: World) -> None:
    persister = world()
    persister.execute("doc", "1", lambda state: Event("begun", state=[state]))
    again = persister.execute("doc", "1", lambda state, more: Event("more", state=[*state, more]), 5)
    assert (again.id, again.data) == ("doc-1", [None, 5])


@pytest.mark.parametrize("produced", [5, "Placed", [Placed("a"), 5], {"a": 1}, [None]])
def test_execute_refuses_what_is_no_event(world: World, produced: Any) -> None:
    orders = make_orders()
    with pytest.raises(UnknownEventError):
        world(machines=[orders]).execute(orders, "1", lambda order: produced)
    assert world.everything() == []


def test_execute_decides_again_when_someone_was_faster(world: World) -> None:
    counter = make_counter()
    persister, other = world(machines=[counter]), world(machines=[counter])
    persister.append(counter, "a", Added(1), expected=0)
    seen: list[int] = []

    def decide(total: int) -> Added:
        seen.append(total)
        if len(seen) < 3:
            other.append(counter, "a", Added(10), expected=ANY)
        return Added(total)

    if isinstance(persister, StateMachinePersister):
        assert persister.execute(counter, "a", decide).data == 42
        assert seen == [1, 11, 21]


def test_execute_gives_up_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(self: object, seconds: float) -> None:
        pass

    monkeypatch.setattr(type(world.store.runtime), "sleep", hasty)
    counter = make_counter()
    persister, other = world(machines=[counter]), world(machines=[counter])
    if not isinstance(persister, StateMachinePersister):
        return  # the other face can't append inside a decision
    runs = 0

    def decide(total: int) -> Added:
        nonlocal runs
        runs += 1
        other.append(counter, "a", Added(1), expected=ANY)
        return Added(100)

    with pytest.raises(TransactionConflictError, match="others were faster"):
        persister.execute(counter, "a", decide)
    assert persister.load(counter, "a").data == runs <= 25


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_many_threads_execute_and_no_update_is_lost(backend: str, sqlite_url: str) -> None:
    counter = make_counter()
    with open_store("memory://" if backend == "memory" else sqlite_url + "?durability=off") as store:
        persister = StateMachinePersister(store, machines=[counter])

        def work() -> None:
            for _ in range(10):
                while True:
                    try:
                        persister.execute(counter, "a", lambda total: Added(1))
                        break
                    except TransactionConflictError:
                        continue

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert persister.load(counter, "a").data == 80
        assert [t.version for t in persister.history(counter, "a")] == list(range(1, 81))


# Idempotency keys


def test_the_same_command_again_returns_the_first_result(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])
    calls = [
        lambda p: p.append(counter, "a", Added(1), Added(2), expected=0, idempotency_key="append"),
        lambda p: p.execute(counter, "a", take, 5, idempotency_key="execute"),
        lambda p: p.save_state("counter-a", 100, expected=3, action="set", idempotency_key="save"),
        lambda p: p.update_state("counter-a", 200, expected=4, idempotency_key="update"),
        lambda p: p.log_transition(None, p.load("counter-a", at_version=1), "back", expected=5, idempotency_key="log"),
    ]
    first = [call(persister) for call in calls]
    persister.append(counter, "a", Added(1000), expected=6)
    before = world.everything()
    for fresh in (persister, world(machines=[counter])):
        again = [call(fresh) for call in calls]
        assert [(s.version, s.data, s.action) for s in again] == [(s.version, s.data, s.action) for s in first]
    assert world.everything() == before


def take(total: int, n: int) -> Added | None:
    return Added(n) if total < 100 else None


def test_a_repeated_command_that_would_now_decide_nothing_returns_the_first_result(world: World) -> None:
    persister = world()

    def once(state: int | None) -> Event | None:
        return Event("made", state=1) if state is None else None

    first = persister.execute("doc", "1", once, idempotency_key="k")
    persister.save_state("doc-1", 2, expected=1)
    again = persister.execute("doc", "1", once, idempotency_key="k")
    assert (again.version, again.data) == (first.version, first.data) == (1, 1)


def test_a_repeated_command_is_found_whatever_became_of_the_stream(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    first = persister.append(orders, "1", Placed("a"), expected=0, idempotency_key="k")
    persister.append(orders, "1", Paid(1), Shipped(), expected=1)
    # Illegal in this state, at another version, deleted: none of that speaks of the first run.
    assert persister.append(orders, "1", Placed("a"), expected=0, idempotency_key="k").data == first.data
    assert persister.append(orders, "1", Placed("a"), expected=ANY, idempotency_key="k").data == first.data
    persister.delete_state(orders, "1", expected=3)
    assert persister.append(orders, "1", Placed("a"), expected=ANY, idempotency_key="k").version == 1
    assert persister.append(orders, "1", Placed("a"), expected=9, idempotency_key="k", changed_by="x").version == 1


def test_a_key_belongs_to_one_command(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])
    persister.append(counter, "a", Added(1), expected=0, idempotency_key="k")
    before = world.everything()
    for call in (
        lambda: persister.append(counter, "a", Added(2), expected=1, idempotency_key="k"),
        lambda: persister.append(counter, "a", Added(1), Added(1), expected=1, idempotency_key="k"),
        lambda: persister.append(counter, "b", Added(1), expected=0, idempotency_key="k"),
        lambda: persister.execute(counter, "a", take, 1, idempotency_key="k"),
        lambda: (
            persister.execute(counter, "b", lambda total: None, idempotency_key="k")
            and persister.save_state("counter-a", 1, expected=1, idempotency_key="k")
        ),
        lambda: persister.save_state("counter-a", 1, expected=1, idempotency_key="k"),
        lambda: persister.append_together(AppendTo(counter, "a", Added(1), expected=1), idempotency_key="k"),
    ):
        with pytest.raises(IdempotencyMismatchError, match="'k'") as caught:
            call()
        assert caught.value.key == "k"
        assert not caught.value.is_transient
    assert world.everything() == before
    persister.execute(counter, "a", take, 1, idempotency_key="e")
    with pytest.raises(IdempotencyMismatchError):
        persister.execute(counter, "a", take, 2, idempotency_key="e")


def test_a_command_that_failed_leaves_its_key_free(world: World) -> None:
    persister = world()
    with pytest.raises(VersionConflictError):
        persister.save_state("doc", 1, expected=3, idempotency_key="k")
    assert persister.save_state("doc", 1, expected=0, idempotency_key="k").version == 1


@pytest.mark.parametrize("key", ["", 5, b"k", "\ud800", "x" * 2000, "a\nb"])
def test_keys_that_cannot_be_used(world: World, key: Any) -> None:
    with pytest.raises(InvalidInputError):
        world().save_state("doc", 1, expected=0, idempotency_key=key)
    assert world.everything() == []


@pytest.mark.parametrize("key", ["a/b", "a:b", "..", "__x__", "%2F", "é 茶", "x" * 400])
def test_keys_that_look_odd_work(world: World, key: str) -> None:
    persister = world()
    persister.save_state("doc", 1, expected=0, idempotency_key=key)
    assert persister.save_state("doc", 1, expected=0, idempotency_key=key).version == 1
    assert persister.load("doc").version == 1


def test_execute_with_a_key_must_recognise_its_arguments(world: World) -> None:
    persister = world()

    def given(state: Any, placed: Placed, n: int) -> Event:
        return Event("x", state=[placed.line, n])

    with pytest.raises(InvalidInputError, match="recognise its arguments"):
        persister.execute("doc", "1", given, object(), 5, idempotency_key="k")
    assert world.everything() == []
    assert persister.execute("doc", "1", given, Placed("a"), 5, idempotency_key="k").data == ["a", 5]
    assert persister.execute("doc", "1", given, Placed("a"), 5, idempotency_key="k").version == 1
    with pytest.raises(IdempotencyMismatchError):
        persister.execute("doc", "1", given, Placed("b"), 5, idempotency_key="k")


# Several streams


def test_together_all_are_written_in_one_commit(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])
    one, two, doc = persister.append_together(
        AppendTo(counter, "a", Added(1), Added(2), expected=0),
        AppendTo("counter-b", Added(5), expected=ANY),
        AppendTo("doc", Event("x", state="y"), expected=0),
        reason="both",
    )
    assert [(s.id, s.version, s.data) for s in (one, two, doc)] == [
        ("counter-a", 2, 3),
        ("counter-b", 1, 5),
        ("doc", 1, "y"),
    ]
    assert {s.metadata.reason for s in (one, two, doc)} == {"both"}
    tokens = {document.body[:200].split(b'"t":')[1].split(b",")[0] for document in world.scan("entry")}
    assert len(tokens) == 1
    after = persister.append_together(
        AppendTo(counter, "b", Added(1), expected=two), AppendTo(counter, "a", Added(1), expected=one)
    )
    assert [s.data for s in after] == [6, 4]


@pytest.mark.parametrize(
    ("second", "error"),
    [
        (lambda: AppendTo("counter-b", Added(1), expected=7), VersionConflictError),
        (lambda: AppendTo("order-1", Shipped(), expected=0), IllegalTransitionError),
        (lambda: AppendTo("order-1", Added(1), expected=0), UnknownEventError),
        (lambda: AppendTo("gone", Event("x", state=1), expected=ANY), StateDeletedError),
        (lambda: AppendTo("doc", Event("x", state=float("nan")), expected=ANY), EncodingError),
        (lambda: AppendTo("", Event("x", state=1), expected=ANY), InvalidIdError),
        (lambda: AppendTo("doc", expected=ANY), InvalidInputError),
        (lambda: AppendTo("counter-a", Added(1), expected=ANY), InvalidInputError),
        (lambda: AppendTo("picky-1", Event("x"), expected=0), ZeroDivisionError),
    ],
)
def test_together_none_is_written_if_one_can_not_be(world: World, second: Any, error: type[Exception]) -> None:
    def fails(state: int, event: Event) -> int:
        return 1 // 0

    counter, orders = make_counter(), make_orders()
    persister = world(machines=[counter, orders, Machine("picky", 0, fails)])
    persister.save_state("gone", 1, expected=0)
    persister.delete_state("gone", expected=1)
    before = world.everything()
    for appends in (
        [AppendTo(counter, "a", Added(1), expected=0), second()],
        [second(), AppendTo(counter, "a", Added(1), expected=0)],
    ):
        with pytest.raises(error):
            persister.append_together(*appends)
        assert world.everything() == before
    assert persister.append(counter, "a", Added(1), expected=0).version == 1


def test_together_needs_something(world: World) -> None:
    with pytest.raises(InvalidInputError, match="without anything"):
        world().append_together()


def test_together_with_a_key(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])

    def call(n: int = 1) -> list[tuple[str, int, int]]:
        states = persister.append_together(
            AppendTo(counter, "b", Added(n), expected=0),
            AppendTo(counter, "a", Added(2), Added(3), expected=0),
            idempotency_key="k",
        )
        return [(s.id, s.version, s.data) for s in states]

    first = call()
    persister.append(counter, "a", Added(9), expected=2)
    assert call() == first == [("counter-b", 1, 1), ("counter-a", 2, 5)]
    with pytest.raises(IdempotencyMismatchError):
        call(2)


def test_what_the_caller_does_to_its_events_after_the_call_has_no_effect(world: World) -> None:
    persister = world()
    events = [Event("x", state={"n": [1]})]
    append = AppendTo("doc", *events, expected=0)
    persister.append_together(append)
    events[0].state["n"].append(2)
    assert persister.load("doc").data == {"n": [1]}


def test_reopening_together(world: World) -> None:
    counter = Machine("counter", 0, add)
    persister = world(machines=[counter])
    persister.append(counter, "a", Added(1), expected=0)
    persister.delete_state(counter, "a", expected=1)
    [a, b] = persister.append_together(
        AppendTo(counter, "a", Added(2), expected=2, reopen=True), AppendTo(counter, "b", Added(3), expected=0)
    )
    assert [(a.version, a.data), (b.version, b.data)] == [(4, 2), (1, 3)]


def test_what_is_bound_to_a_function_beforehand_tells_commands_apart(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    persister.append(orders, "1", Placed("a"), expected=0)
    persister.execute(orders, "1", partial(pay, amount=3), idempotency_key="k")
    assert persister.execute(orders, "1", partial(pay, amount=3), idempotency_key="k").data.total == 3
    with pytest.raises(IdempotencyMismatchError):
        persister.execute(orders, "1", partial(pay, amount=4), idempotency_key="k")
