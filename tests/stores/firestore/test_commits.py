"""Batches against the emulator: every precondition on every operation, and nothing by halves."""

from __future__ import annotations

import pytest

from eventstate.core.documents import (
    COMMAND,
    ENTRY,
    HEAD,
    Check,
    Committed,
    Delete,
    Key,
    Operation,
    Precondition,
    Put,
    Refused,
    Require,
)
from eventstate.errors import DocumentTooLargeError, InvalidIdError, InvalidInputError
from eventstate.stores.base import MAX_BATCH_BYTES, MAX_BODY_BYTES
from tests.stores.firestore.world import Client

pytestmark = pytest.mark.backend("firestore")

A = Key(HEAD, "shop", "order-a")
B = Key(HEAD, "shop", "order-b")
ENTRY_1 = Key(ENTRY, "shop", "order-a", 1)
STALE = "1700000000.000001000"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":"\xc3\xa4\xf0\x9f\x98\x80"}',
        b'"\\u0000"',
        b"",
        b"\x00",
        b"\xff\x00not text",
        b"x" * MAX_BODY_BYTES,
    ],
)
def test_a_body_comes_back_as_it_was(client: Client, body: bytes) -> None:
    client.put(A, body)
    assert client.bodies(A) == {A: body}


def test_a_commit_tells_the_revision_that_a_read_finds(client: Client) -> None:
    result = client.commit(Put(A, b"1", Require.ABSENT), Put(ENTRY_1, b"2", Require.ABSENT))
    assert isinstance(result, Committed)
    fetched = client.run(client.store.get([A, ENTRY_1, B]))
    assert set(fetched.documents) == {A, ENTRY_1}
    assert {key: document.revision for key, document in fetched.documents.items()} == result.revisions
    assert fetched.documents[A].written_at == result.at <= fetched.read_at


def test_each_write_takes_a_new_revision_even_after_a_delete(client: Client) -> None:
    seen = [client.put(A, b"1"), client.put(A, b"2")]
    client.commit(Delete(A, Require.ANY))
    seen += [client.put(A, b"1")]
    assert len(set(seen)) == 3


def operations(key: Key, when: Precondition) -> list[Operation]:
    return [Put(key, b"new", when), Delete(key, when), Check(key, when)]


@pytest.mark.parametrize("kind", range(3), ids=["put", "delete", "check"])
@pytest.mark.parametrize(
    ("when", "holds_if_present", "holds_if_absent"),
    [
        (Require.ANY, True, True),
        (Require.EXISTS, True, False),
        (Require.ABSENT, False, True),
        ("current", True, False),
        (STALE, False, False),
        ("no revision", False, False),
    ],
)
@pytest.mark.parametrize("is_present", [True, False])
def test_a_precondition_decides(
    client: Client, kind: int, when: Precondition, holds_if_present: bool, holds_if_absent: bool, is_present: bool
) -> None:
    revision = client.put(A, b"old")
    if not is_present:
        client.commit(Delete(A, Require.ANY))
    operation = operations(A, revision if when == "current" else when)[kind]

    result = client.commit(operation, Put(B, b"beside", Require.ABSENT))

    if holds_if_present if is_present else holds_if_absent:
        assert isinstance(result, Committed)
        assert set(result.revisions) == {B} | ({A} if isinstance(operation, Put) else set())
        expected = {B: b"beside"}
        if isinstance(operation, Put):
            expected[A] = b"new"
        elif is_present and isinstance(operation, Check):
            expected[A] = b"old"
            assert client.revision(A) == revision
        assert client.bodies(A, B) == expected
    else:
        assert isinstance(result, Refused)
        assert client.bodies(A, B) == ({A: b"old"} if is_present else {})


def test_one_refused_operation_of_many_refuses_all(client: Client) -> None:
    revision = client.put(A, b"old")
    result = client.commit(
        Put(A, b"new", revision),
        Put(ENTRY_1, b"entry", Require.ABSENT),
        Delete(Key(COMMAND, "shop", "k"), Require.ANY),
        Check(B, Require.EXISTS),
    )
    assert result == Refused(None)
    assert client.bodies(A, ENTRY_1, B) == {A: b"old"}


def test_the_only_precondition_is_named_when_refused(client: Client) -> None:
    client.put(A)
    assert client.commit(Put(A, b"1", Require.ABSENT), Put(B, b"2", Require.ANY)) == Refused(frozenset({A}))


def test_an_append_with_its_guards_is_one_batch(client: Client) -> None:
    fence = Key(COMMAND, "shop", "fence")
    client.put(fence)
    revision = client.put(A, b"1")
    old = Key(HEAD, "shop", "old")
    client.put(old)
    result = client.commit(
        Put(A, b"2", revision),
        Put(ENTRY_1, b"entry", Require.ABSENT),
        Check(fence, Require.EXISTS),
        Check(B, Require.ABSENT),
        Delete(old, Require.EXISTS),
    )
    assert isinstance(result, Committed)
    assert client.bodies(A, ENTRY_1, fence, B, old) == {A: b"2", ENTRY_1: b"entry", fence: b"{}"}


@pytest.mark.parametrize("when", [Require.ABSENT, Require.EXISTS, Require.ANY, STALE])
def test_a_check_leaves_no_ghost(client: Client, when: Precondition) -> None:
    client.commit(Check(A, when))
    client.commit(Check(A, when), Put(B, b"{}", Require.ANY))
    assert client.bodies(A) == {}
    assert [document.key for document in client.run(client.store.scan(HEAD, "shop")).documents] in ([], [B])


def test_a_batch_that_only_checks_writes_nothing(client: Client) -> None:
    revision = client.put(A)
    result = client.commit(Check(A, revision), Check(B, Require.ABSENT))
    assert isinstance(result, Committed)
    assert result.revisions == {}
    assert client.revision(A) == revision
    assert isinstance(client.commit(Check(A, Require.ANY)), Committed)


def test_writers_of_one_revision_have_one_winner(client: Client) -> None:
    revision = client.put(A, b"0")
    results = [client.commit(Put(A, b"%d" % number, revision)) for number in range(1, 4)]
    assert [isinstance(result, Committed) for result in results] == [True, False, False]
    assert client.bodies(A) == {A: b"1"}


def test_what_is_too_large_is_not_sent(client: Client) -> None:
    with pytest.raises(DocumentTooLargeError):
        client.commit(Put(A, b"x" * (MAX_BODY_BYTES + 1), Require.ANY))
    with pytest.raises(DocumentTooLargeError):
        client.commit(
            *(Put(Key(HEAD, "shop", f"{i}"), b"x" * (MAX_BATCH_BYTES // 5 + 1), Require.ANY) for i in range(5))
        )
    with pytest.raises(DocumentTooLargeError, match="names of its documents"):
        client.commit(*(Put(Key(HEAD, "o" * 1400, f"{i:01400}"), b"x" * 6000, Require.ANY) for i in range(500)))
    with pytest.raises(InvalidInputError):
        client.commit(Put(A, b"1", Require.ANY), Check(A, Require.ANY))
    with pytest.raises(InvalidIdError):
        client.commit(Put(Key(HEAD, "shop", ""), b"1", Require.ANY))
    assert client.store.rpc_count.total() == 0


def test_the_largest_batch_is_taken(client: Client) -> None:
    keys = [Key(HEAD, "shop", f"{i}") for i in range(5)]
    assert isinstance(client.commit(*(Put(key, b"x" * (MAX_BATCH_BYTES // 5), Require.ANY) for key in keys)), Committed)
    many = [Put(Key(HEAD, "shop", f"many-{i}"), b"{}", Require.ABSENT) for i in range(500)]
    assert isinstance(client.commit(*many), Committed)


def test_a_warm_append_and_a_load_are_one_request_each(client: Client) -> None:
    revision = client.put(A)
    before = client.store.rpc_count.copy()
    client.commit(Put(A, b"2", revision), Put(ENTRY_1, b"1", Require.ABSENT))
    assert client.store.rpc_count - before == {"Commit": 1}
    client.bodies(A, ENTRY_1)
    assert client.store.rpc_count - before == {"Commit": 1, "BatchGetDocuments": 1}
