"""Circles of waits: every one that is there is found, none that is not, and all who look choose the same victim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.documents import Check, Document, Key, Put, Require
from eventstate.core.leases import Fence, Lease
from eventstate.core.waits import (
    STALE_MICROS,
    Deadlock,
    StoredWait,
    Wait,
    decode_wait,
    encode_wait,
    find_deadlocks,
    plan_mark,
    wait_key,
    wait_prefix,
)
from eventstate.errors import CorruptionError

G = "shop"
CLIENTS = "abcdef"


def stored(client: str, resource: str, since: int = 0, *, at: int = 0) -> StoredWait:
    wait = Wait(resource, client, since)
    key = wait_key(G, wait, f"u-{client}-{resource}")
    return StoredWait(wait, Document(key, encode_wait(wait, "t"), f"rev-{client}-{resource}", at))


def held(**clients: str) -> dict[str, Lease]:
    """Leases by resource: ``held(r="a")`` is r held by a."""
    return {resource: Lease(100 + n, client, 1, 0, None) for n, (resource, client) in enumerate(clients.items())}


def edges(waits: Sequence[StoredWait], holders: Mapping[str, Lease]) -> dict[str, set[str]]:
    """Who waits for whom."""
    found: dict[str, set[str]] = {}
    for item in waits:
        lease = holders.get(item.wait.resource)
        if lease is not None and lease.client_id != item.wait.client_id:
            found.setdefault(item.wait.client_id, set()).add(lease.client_id)
    return found


def circles(graph: Mapping[str, set[str]]) -> set[tuple[str, ...]]:
    """All simple circles, by trying every order of every choice of clients; each begins with its smallest."""
    found: set[tuple[str, ...]] = set()
    for size in range(2, len(CLIENTS) + 1):
        for path in permutations(CLIENTS, size):
            closed = zip(path, (*path[1:], path[0]), strict=True)
            if path[0] == min(path) and all(to in graph.get(start, ()) for start, to in closed):
                found.add(path)
    return found


def turned(clients: Sequence[str]) -> tuple[str, ...]:
    """The same circle, beginning with its smallest."""
    place = clients.index(min(clients))
    return (*clients[place:], *clients[:place])


RESOURCES = [f"r{n}" for n in range(6)]
HOLDERS = st.dictionaries(st.sampled_from(RESOURCES), st.sampled_from(CLIENTS)).map(lambda d: held(**d))
ONE_EACH = st.dictionaries(st.sampled_from(CLIENTS), st.tuples(st.sampled_from(RESOURCES), st.integers(0, 3))).map(
    lambda d: [stored(client, resource, since) for client, (resource, since) in d.items()]
)
SEVERAL = st.lists(
    st.tuples(st.sampled_from(CLIENTS), st.sampled_from(RESOURCES), st.integers(0, 3)),
    unique_by=lambda item: item[:2],
    max_size=14,
).map(lambda items: [stored(*item) for item in items])


@given(ONE_EACH, HOLDERS, st.randoms(use_true_random=False))
def test_of_clients_that_wait_for_one_lock_each_all_circles_are_found(
    waits: list[StoredWait], holders: dict[str, Lease], chance: object
) -> None:
    expected = circles(edges(waits, holders))
    found = find_deadlocks(waits, holders, G)
    assert {turned(deadlock.clients) for deadlock in found} == expected
    assert len(found) == len(expected)
    judge(waits, holders, found, chance)


@given(SEVERAL, HOLDERS, st.randoms(use_true_random=False))
def test_of_clients_that_wait_for_several_at_least_one_circle_is_found(
    waits: list[StoredWait], holders: dict[str, Lease], chance: object
) -> None:
    """Whoever is in one is in no second: what is left is found once the first victims have gone."""
    expected = circles(edges(waits, holders))
    found = find_deadlocks(waits, holders, G)
    assert {turned(deadlock.clients) for deadlock in found} <= expected
    assert bool(found) == bool(expected)
    judge(waits, holders, found, chance)
    rounds = 0
    while found:  # victims go, one by one, until nothing stands still
        gone = {deadlock.victim.document.key for deadlock in found}
        waits = [item for item in waits if item.document.key not in gone]
        found = find_deadlocks(waits, holders, G)
        rounds += 1
        assert rounds <= 14
    assert circles(edges(waits, holders)) == set()


def judge(waits: list[StoredWait], holders: dict[str, Lease], found: list[Deadlock], chance: object) -> None:
    """What holds for any answer."""
    clients = [client for deadlock in found for client in deadlock.clients]
    assert len(clients) == len(set(clients)), "one client in two circles"
    for deadlock in found:
        assert all(item in waits for item in deadlock.waits)
        after = (*deadlock.waits[1:], deadlock.waits[0])
        for item, next_one, fence in zip(deadlock.waits, after, deadlock.fences, strict=True):
            lease = holders[item.wait.resource]
            assert lease.client_id == next_one.wait.client_id
            assert fence == Fence(G, item.wait.resource, lease.number)
        ages = [(item.wait.since, item.wait.client_id) for item in deadlock.waits]
        assert ages[0] == max(ages), "the victim is who began to wait last"
    mixed = list(waits)
    chance.shuffle(mixed)  # pyright: ignore[reportAttributeAccessIssue]
    again = find_deadlocks(mixed, dict(reversed(list(holders.items()))), G)
    assert again == found, "another order of reading, another victim"


def test_two_in_a_circle() -> None:
    waits = [stored("a", "rb", since=1), stored("b", "ra", since=2)]
    (found,) = find_deadlocks(waits, held(ra="a", rb="b"), G)
    assert found.clients == ("b", "a")
    assert found.victim is waits[1]


def test_of_two_who_began_at_once_one_is_chosen() -> None:
    (found,) = find_deadlocks([stored("a", "rb"), stored("b", "ra")], held(ra="a", rb="b"), G)
    assert found.clients == ("b", "a")


def test_two_circles_are_two_deadlocks() -> None:
    waits = [stored("a", "rb"), stored("b", "ra"), stored("c", "rd"), stored("d", "rc")]
    found = find_deadlocks(waits, held(ra="a", rb="b", rc="c", rd="d"), G)
    assert [deadlock.clients for deadlock in found] == [("b", "a"), ("d", "c")]


def test_who_waits_for_a_circle_is_not_in_it() -> None:
    waits = [stored("a", "rb", 1), stored("b", "ra", 2), stored("c", "ra", 9), stored("d", "rc", 8)]
    (found,) = find_deadlocks(waits, held(ra="a", rb="b", rc="c"), G)
    assert found.clients == ("b", "a")


def test_a_wait_for_oneself_is_no_circle() -> None:
    assert find_deadlocks([stored("a", "ra")], held(ra="a"), G) == []
    assert find_deadlocks([stored("a", "free")], {}, G) == []
    assert find_deadlocks([], held(ra="a"), G) == []


def test_a_long_circle_does_not_recurse() -> None:
    clients = [f"c{n:05d}" for n in range(3000)]
    waits = [stored(client, f"r{(n + 1) % len(clients)}", n) for n, client in enumerate(clients)]
    holders = {f"r{n}": Lease(n, client, 1, 0, None) for n, client in enumerate(clients)}
    (found,) = find_deadlocks(waits, holders, G)
    assert len(found.clients) == len(clients)
    assert found.victim.wait.client_id == clients[-1]


# Documents


def test_the_mark_is_on_the_victim_as_it_was_read_while_all_of_the_circle_is_there() -> None:
    waits = [stored("a", "rb", 1), stored("b", "rc", 3), stored("c", "ra", 2)]
    (found,) = find_deadlocks(waits, held(ra="a", rb="b", rc="c"), G)
    assert found.clients == ("b", "c", "a")
    batch = plan_mark(found, token="T")
    put, *checks = batch.operations
    assert isinstance(put, Put)
    assert (put.key, put.when) == (waits[1].document.key, waits[1].document.revision)
    assert decode_wait(Document(put.key, put.body, "r", 0)).wait == waits[1].wait._replace(cycle=found.clients)
    assert b'"T"' in put.body
    assert set(checks) == {
        *(Check(waits[n].document.key, Require.EXISTS) for n in (0, 2)),
        *(fence.check for fence in found.fences),
    }
    assert len(found.fences) == 3


def test_the_longest_wait_for_a_lock_comes_first_in_its_range() -> None:
    early, late = wait_key(G, Wait("r", "z", 9), "z"), wait_key(G, Wait("r", "a", 10**15), "a")
    assert early.id < late.id
    for key in (early, late):
        assert key.id.startswith(wait_prefix("r"))
        assert not key.id.startswith(wait_prefix("r2"))
    assert wait_key(G, Wait("r", "a", 5), "1") != wait_key(G, Wait("r", "a", 5), "2")


def test_a_wait_that_is_not_written_for_long_is_dead() -> None:
    item = stored("a", "r", at=10**9)
    assert item.is_live(10**9 + STALE_MICROS)
    assert not item.is_stale(10**9 + STALE_MICROS)
    assert not item.is_live(10**9 + STALE_MICROS + 1)
    marked = item._replace(wait=item.wait._replace(cycle=("a", "b")))
    assert not marked.is_live(10**9)
    assert not marked.is_stale(10**9)


WAITS = st.builds(
    Wait,
    st.text(min_size=1),
    st.text(min_size=1),
    st.integers(0, 2**53),
    st.lists(st.text(), max_size=3).map(tuple),
    st.integers(0, 10**6),
)


@given(WAITS)
def test_a_wait_is_read_as_it_was_written(wait: Wait) -> None:
    assert decode_wait(Document(Key("wait", G, "x"), encode_wait(wait, "t"), "r", 0)).wait == wait


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"{}", b'{"resource":"r","client":"a"}'])
def test_what_is_no_wait_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_wait(Document(Key("wait", G, "x"), body, "r", 0))


def test_a_client_with_several_waits_is_in_one_circle_at_a_time() -> None:
    waits = [stored(*item) for item in [("a", "r0", 0), ("b", "r1", 0), ("b", "r4", 0), ("c", "r0", 0)]]
    found = find_deadlocks(waits, held(r0="b", r1="a", r4="c"), "g")
    assert [sorted(deadlock.clients) for deadlock in found] == [["a", "b"]]
