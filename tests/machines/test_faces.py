"""The two persisters are one: the same methods with the same parameters, each told apart where stores are mixed up."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_overloads

import pytest

from eventstate import (
    AsyncStateMachinePersister,
    ConfigurationError,
    StateMachinePersister,
    open_async_store,
    open_store,
)
from tests.machines.world import Added, make_counter

SYNC, ASYNC = StateMachinePersister, AsyncStateMachinePersister


def members(persister: type) -> dict[str, Any]:
    return {name: member for name, member in vars(persister).items() if not name.startswith("_") or name == "__init__"}


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    """Names, kinds, defaults and annotations; those of the async side as the sync side has them."""
    given = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default, str(p.annotation).replace("AsyncKeyring", "Keyring")) for p in given]


def test_both_have_the_same_members_in_the_same_order() -> None:
    assert list(members(SYNC)) == list(members(ASYNC))
    assert len(members(SYNC)) >= 25


@pytest.mark.parametrize("name", members(SYNC))
def test_a_member_is_the_same_on_both(name: str) -> None:
    one: Any = members(SYNC)[name]
    other: Any = members(ASYNC)[name]
    if isinstance(one, property):
        assert isinstance(other, property)
        assert (one.__doc__ is None) == (other.__doc__ is None)
        return
    assert parameters(one) == parameters(other)
    assert [parameters(o) for o in get_overloads(one)] == [parameters(o) for o in get_overloads(other)]
    assert (one.__doc__ is None) == (other.__doc__ is None)
    given, awaited = inspect.signature(one).return_annotation, inspect.signature(other).return_annotation
    assert str(given).replace("Iterator", "AsyncIterator") == str(awaited)


@pytest.mark.parametrize("name", [n for n, m in members(SYNC).items() if callable(m) and n != "__init__"])
def test_what_returns_at_once_is_awaited_on_the_other(name: str) -> None:
    one, other = members(SYNC)[name], members(ASYNC)[name]
    if inspect.isgeneratorfunction(one):
        assert inspect.isasyncgenfunction(other)
    else:
        assert inspect.iscoroutinefunction(other)
        assert not inspect.iscoroutinefunction(one)


def test_every_method_says_what_the_caller_gets() -> None:
    for persister in (SYNC, ASYNC):
        undocumented = [name for name, member in members(persister).items() if not member.__doc__]
        assert undocumented in ([], ["__init__"])


def test_stores_and_persisters_must_fit() -> None:
    with open_store("memory://") as store, pytest.raises(ConfigurationError, match="use StateMachinePersister"):
        AsyncStateMachinePersister(store)

    async def other_way() -> None:
        async with open_async_store("memory://") as store:
            with pytest.raises(ConfigurationError, match="use AsyncStateMachinePersister"):
                StateMachinePersister(store)

    asyncio.run(other_way())


def test_the_sync_face_works_inside_a_running_loop() -> None:
    async def in_loop() -> int:
        counter = make_counter()
        with open_store("memory://") as store:
            persister = StateMachinePersister(store, machines=[counter])
            return persister.append(counter, "a", Added(2), expected=0).data

    assert asyncio.run(in_loop()) == 2


def test_iterators_are_lazy_on_both() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        history = persister.history("nothing")
        assert isinstance(history, Iterator)
        assert isinstance(persister.recover(), Iterator)

    async def other() -> None:
        async with open_async_store("memory://") as store:
            persister = AsyncStateMachinePersister(store)
            assert isinstance(persister.history("nothing"), AsyncIterator)
            assert [item async for item in persister.recover()] == []

    asyncio.run(other())
