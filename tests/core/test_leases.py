"""Locks as documents: what each step of a lock writes, and under which conditions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.documents import Check, Delete, Document, Key, Operation, Put, Require
from eventstate.core.leases import (
    FENCES_PER_EPOCH,
    HANDOVER_MICROS,
    Counter,
    Fence,
    Lease,
    LockState,
    counter_key,
    decode_counter,
    decode_lease,
    encode_lease,
    fence_of,
    lease_key,
    plan_acquire,
    plan_end,
    plan_release,
    plan_renew,
)
from eventstate.errors import CorruptionError, InvalidInputError

G, R = "shop", "order/42"
NUMBER = FENCES_PER_EPOCH + 7
LEASE = Lease(NUMBER, "a", 1_000_000, 500, "why")
LAST_NUMBER = 10**12 - 1
"""What every backend can keep as a number of a key."""


def counter(last: int, revision: str = "c1", at: int = 1_000, token: str = "before", **members: Any) -> Document:
    body = orjson.dumps({"t": token, "last": last, **members})
    return Document(counter_key(G, R), body, revision, at)


def lease(found: Lease = LEASE, revision: str = "l1", at: int = 1_000) -> Document:
    return Document(lease_key(G, R), encode_lease(found, "a token"), revision, at)


def state(*, counter_is: Document | None = None, lease_is: Document | None = None, read_at: int = 2_000) -> LockState:
    return LockState(resource=R, read_at=read_at, counter=counter_is, lease=lease_is)


def acquired(found: LockState, epoch: int = 1, **options: Any) -> tuple[dict[Key, Operation], Fence]:
    batch, fence = plan_acquire(found, G, epoch=epoch, client_id="b", ttl=9, purpose=None, token="T", **options)
    assert batch.token == "T"
    return by_key(batch.operations), fence


def by_key(operations: Any) -> dict[Key, Operation]:
    found = {operation.key: operation for operation in operations}
    assert len(found) == len(operations), "two operations on one key"
    return found


def document_of(operation: Operation | None) -> Document:
    assert isinstance(operation, Put)
    return Document(operation.key, operation.body, "new", 0)


# Fences and tokens


@given(st.integers(1, 900), st.integers(0, FENCES_PER_EPOCH - 1))
def test_a_token_is_its_fence(epoch: int, count: int) -> None:
    fence = Fence(G, R, epoch * FENCES_PER_EPOCH + count)
    assert fence.token == f"{epoch}-{count}"
    assert fence.epoch == epoch
    assert fence_of(G, R, fence.token) == fence
    assert fence.key == Key("fence", G, R, fence.number)
    assert fence.number <= LAST_NUMBER
    assert fence.check == Check(fence.key, Require.EXISTS)


@given(st.text() | st.integers() | st.none() | st.binary() | st.from_regex(r"[0-9 _+-]{0,4}-[0-9 _+-]{0,12}"))
def test_what_is_no_token_is_refused(text: object) -> None:
    try:
        fence = fence_of(G, R, text)
    except InvalidInputError:
        return
    assert fence.token == text, "one fence, two texts"


# Taking


def test_the_first_hold_makes_all_three() -> None:
    operations, fence = acquired(state())
    assert fence == Fence(G, R, FENCES_PER_EPOCH + 1)
    assert {key.kind: operation.when for key, operation in operations.items()} == {
        "lock": Require.ABSENT,
        "lease": Require.ABSENT,
        "fence": Require.ABSENT,
    }
    assert decode_counter(document_of(operations[counter_key(G, R)])) == Counter(fence.number)
    assert decode_lease(document_of(operations[lease_key(G, R)])) == Lease(fence.number, "b", 9, 2_000, None)


def test_a_takeover_replaces_what_was_read_and_voids_the_old_fence() -> None:
    operations, fence = acquired(state(counter_is=counter(NUMBER), lease_is=lease()))
    old = Fence(G, R, NUMBER)
    assert fence.number == NUMBER + 1
    assert operations[counter_key(G, R)].when == "c1"
    assert operations[lease_key(G, R)].when == "l1"
    assert operations[fence.key] == operations[fence.key]._replace(when=Require.ABSENT)
    assert operations[old.key] == Delete(old.key, Require.ANY)
    found = decode_counter(document_of(operations[counter_key(G, R)]))
    assert found == Counter(fence.number, None, "before"), "it says which step it followed"


@given(st.integers(0, 900), st.integers(0, 900), st.integers(0, FENCES_PER_EPOCH - 2))
def test_numbers_grow_over_epochs(before: int, epoch: int, count: int) -> None:
    last = before * FENCES_PER_EPOCH + count
    _, fence = acquired(state(counter_is=counter(last)), epoch=epoch)
    assert fence.number > last
    assert fence.number > epoch * FENCES_PER_EPOCH
    assert fence.epoch == max(before, epoch)


def test_what_belongs_to_it_is_in_the_same_commit() -> None:
    extra = Delete(Key("wait", G, "w"), "w1")
    operations, _ = acquired(state(), extra=(extra,))
    assert operations[extra.key] == extra


@given(st.sampled_from(["c1", "c2"]), st.booleans(), st.booleans())
def test_every_step_replaces_the_counter_as_it_was_read(revision: str, held: bool, kept: bool) -> None:
    found = state(counter_is=counter(NUMBER, revision), lease_is=lease() if held else None)
    kept_for = "w" if kept else None
    operations, fence = acquired(found)
    steps = [
        operations,
        by_key(plan_end(found, G, kept_for=kept_for, token="T").operations),
        by_key(plan_release(fence, revision, kept_for=kept_for, token="T").operations),
    ]
    for step in steps:
        put = step[counter_key(G, R)]
        assert isinstance(put, Put)
        assert put.when == revision
        for operation in step.values():
            assert not isinstance(operation, Put) or b'"T"' in operation.body, "a body without its token"
    for step in steps[1:]:
        found_counter = decode_counter(document_of(step[counter_key(G, R)]))
        assert found_counter.next == kept_for
        assert found_counter.last in (NUMBER, fence.number), "the number is never forgotten"


# Keeping, and giving back


def test_a_renewal_writes_the_lease_under_its_fence_and_nothing_else() -> None:
    fence = Fence(G, R, NUMBER)
    put, check = plan_renew(fence, LEASE, token="T").operations
    assert check == fence.check
    assert put.key == lease_key(G, R)
    assert put.when is Require.EXISTS
    assert decode_lease(document_of(put)) == LEASE._replace(renewals=1)


def test_a_release_ends_the_fence_that_must_be_there() -> None:
    fence = Fence(G, R, NUMBER)
    operations = by_key(plan_release(fence, "c1", kept_for=None, token="T").operations)
    assert operations[fence.key] == Delete(fence.key, Require.EXISTS)
    assert operations[lease_key(G, R)] == Delete(lease_key(G, R), Require.ANY)
    assert decode_counter(document_of(operations[counter_key(G, R)])).last == NUMBER


def test_an_end_by_others_is_of_the_lease_that_was_read() -> None:
    found = state(counter_is=counter(NUMBER), lease_is=lease())
    operations = by_key(plan_end(found, G, kept_for=None, token="T").operations)
    assert operations[lease_key(G, R)] == Delete(lease_key(G, R), "l1")
    assert operations[Fence(G, R, NUMBER).key] == Delete(Fence(G, R, NUMBER).key, Require.ANY)


# Time


@given(st.integers(1, 10**12), st.integers(-(10**6), 10**13))
def test_a_lease_ends_its_time_to_live_after_it_was_written(ttl: int, age: int) -> None:
    found = state(counter_is=counter(NUMBER), lease_is=lease(LEASE._replace(ttl=ttl), at=5_000), read_at=5_000 + age)
    assert found.is_expired == (age > ttl)
    assert (found.holder is None) == (age > ttl)
    assert found.last_lease == LEASE._replace(ttl=ttl)
    assert found.expires_in == pytest.approx(max(0, ttl - age) / 1e6)
    assert found.kept_for is None


def test_when_the_lock_was_acquired_does_not_count() -> None:
    found = state(lease_is=lease(LEASE._replace(acquired_at=0), at=10**9), read_at=10**9 + 10)
    assert not found.is_expired


@given(st.integers(-(10**6), 2 * HANDOVER_MICROS))
def test_a_free_lock_is_kept_for_a_while(age: int) -> None:
    released = counter(NUMBER, at=5_000, next="w")
    found = state(counter_is=released, read_at=5_000 + age)
    assert found.kept_for == ("w" if age <= HANDOVER_MICROS else None)
    assert state(counter_is=released, lease_is=lease(), read_at=5_000).kept_for is None
    assert state(counter_is=counter(NUMBER), read_at=2_000).kept_for is None
    assert state().kept_for is None
    assert state().expires_in == 0


# Bodies


@given(
    st.builds(
        Lease,
        st.integers(0, LAST_NUMBER),
        st.text(min_size=1),
        st.integers(1, 10**12),
        st.integers(0, 2**53),
        st.none() | st.text(),
        st.integers(0, 10**9),
    )
)
def test_a_lease_is_read_as_it_was_written(found: Lease) -> None:
    assert decode_lease(lease(found)) == found


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"{}", b'{"t":"x"}', b'{"t":"x","n":1,"client":"a"}'])
def test_what_is_no_lock_document_is_corrupt(body: bytes) -> None:
    for decode, key in ((decode_counter, counter_key(G, R)), (decode_lease, lease_key(G, R))):
        with pytest.raises(CorruptionError) as caught:
            decode(Document(key, body, "r", 0))
        assert caught.value.where == str(key)
