"""Batches for appends: what they require of the head and entry, what they write, and the tip that follows."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Check, Delete, Document, Key, Operation, Put, Require
from eventstate.core.format import (
    DELETED,
    NO_STATE,
    REOPENED,
    Image,
    NewEvent,
    Tip,
    decode_entry,
    decode_head,
    decode_snapshot,
    unborn,
)
from eventstate.core.planner import (
    HEAD_STATE_BYTES,
    MAX_STATE_BYTES,
    Append,
    Plan,
    plan_appends,
    plan_head,
    plan_snapshot,
)
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import DocumentTooLargeError, InvalidInputError, StateDeletedError

NONE = SnapshotPolicy(every=0)
X = NewEvent("x", state=b"1")


def plan(tip: Tip, *events: NewEvent, state: bytes | None = b"1", policy: SnapshotPolicy = NONE, **more: Any) -> Plan:
    image = Image(state, 0, 1) if state is not None else None
    options = {"now": 100, **{name: more.pop(name) for name in ("now", "extra") if name in more}}
    append = Append(tip, events or (X,), image, {}, policy, **more)
    return plan_appends([append], token="tok", node="n", **options)


def landed(tip: Tip) -> Tip:
    """The tip once the store has answered with a revision."""
    return tip._replace(revision="rev")


def by_kind(operations: Any, kind: str) -> list[Operation]:
    return [operation for operation in operations if operation.key.kind == kind]


def read(operation: Operation) -> Document:
    assert isinstance(operation, Put)
    return Document(operation.key, operation.body, "rev", 0)


NEW = unborn("g", "s")


def test_the_first_append_requires_that_there_is_neither_head_nor_entry() -> None:
    made = plan(NEW)
    [entry], [head] = by_kind(made.batch.operations, ENTRY), by_kind(made.batch.operations, HEAD)
    assert (entry.key, entry.when) == (Key(ENTRY, "g", "s", 1), Require.ABSENT)
    assert (head.key, head.when) == (Key(HEAD, "g", "s"), Require.ABSENT)
    assert len(made.batch.operations) == 2


def test_later_appends_require_the_head_they_were_planned_from() -> None:
    tip = landed(plan(NEW).tips[0])
    made = plan(tip, X, X, X)
    [entry], [head] = by_kind(made.batch.operations, ENTRY), by_kind(made.batch.operations, HEAD)
    assert (entry.key.n, entry.when) == (4, Require.ABSENT)
    assert head.when == "rev"
    assert made.tips[0].revision is None  # it comes with the store's answer


def test_entry_head_and_tip_agree() -> None:
    tip = landed(plan(NEW).tips[0])
    made = plan(tip, X, NewEvent("y", state=b"2"), state=b"2")
    entry = decode_entry(read(by_kind(made.batch.operations, ENTRY)[0]), tip.digest)
    head, state = decode_head(read(by_kind(made.batch.operations, HEAD)[0]))
    assert (entry.version, head.tip.version, head.tip.last) == (3, 3, 3)
    assert head.tip == made.tips[0]._replace(revision="rev")
    assert head.tip.digest == entry.digest
    assert (head.action, state, head.token, entry.token) == ("y", 2, "tok", "tok")
    assert all(b'"tok"' in op.body for op in made.batch.operations if isinstance(op, Put))


@pytest.mark.parametrize(("now", "expected"), [(50, 100), (100, 100), (101, 101)])
def test_time_never_goes_back_in_a_stream(now: int, expected: int) -> None:
    tip = landed(plan(NEW).tips[0])
    assert plan(tip, now=now).tips[0].at == expected


def test_each_commit_ticks_the_clock_of_the_store_once() -> None:
    tip = landed(plan(NEW, X, X).tips[0])
    assert tip.clock == {"n": 1}
    assert plan(tip._replace(clock={"n": 1, "other": 7})).tips[0].clock == {"n": 2, "other": 7}


def test_a_large_state_is_left_out_of_the_head() -> None:
    for size, kept in ((HEAD_STATE_BYTES, True), (HEAD_STATE_BYTES + 1, False)):
        state = b'"' + b"x" * (size - 2) + b'"'
        head, found = decode_head(read(by_kind(plan(NEW, state=state).batch.operations, HEAD)[0]))
        assert (found is not NO_STATE) is kept
        assert head.image is not None


def test_a_state_that_no_snapshot_could_hold_is_refused() -> None:
    assert plan(NEW, state=b"1" * MAX_STATE_BYTES)
    with pytest.raises(DocumentTooLargeError, match="the state of 's'") as caught:
        plan(NEW, state=b"1" * (MAX_STATE_BYTES + 1))
    assert (caught.value.size, caught.value.limit) == (MAX_STATE_BYTES + 1, MAX_STATE_BYTES)


def test_snapshots_are_taken_and_dropped_by_the_policy() -> None:
    policy = SnapshotPolicy(every=2, keep=2)
    tip, written, dropped = NEW, [], []
    for _ in range(9):
        made = plan(tip, policy=policy)
        for operation in by_kind(made.batch.operations, SNAPSHOT):
            (dropped if isinstance(operation, Delete) else written).append(operation.key.n)
            if isinstance(operation, Put):
                snapshot, state = decode_snapshot(read(operation))
                assert (snapshot.digest, state) == (made.tips[0].digest, 1)
        tip = landed(made.tips[0])
    assert (written, dropped, tip.snapshots) == ([2, 4, 6, 8], [2, 4], (6, 8))


def test_an_append_without_a_known_state_takes_no_snapshot() -> None:
    made = plan(NEW, state=None, policy=SnapshotPolicy(every=1))
    assert by_kind(made.batch.operations, SNAPSHOT) == []
    assert decode_head(read(by_kind(made.batch.operations, HEAD)[0]))[0].image is None


def test_deleting_and_reopening() -> None:
    tip = landed(plan(NEW).tips[0])
    gone = plan(tip, NewEvent(DELETED), state=None, policy=SnapshotPolicy(every=1))
    head, state = decode_head(read(by_kind(gone.batch.operations, HEAD)[0]))
    assert (head.tip.deleted, head.image, state, head.tip.version) == (True, None, NO_STATE, 2)
    assert by_kind(gone.batch.operations, SNAPSHOT) == []
    deleted = landed(gone.tips[0])
    with pytest.raises(StateDeletedError) as caught:
        plan(deleted)
    assert (caught.value.state_id, caught.value.version) == ("s", 2)
    again = plan(deleted, reopen=True)
    entry = decode_entry(read(by_kind(again.batch.operations, ENTRY)[0]), deleted.digest)
    assert [event["type"] for event in entry.events] == [REOPENED, "x"]
    assert (again.tips[0].version, again.tips[0].incarnation, again.tips[0].deleted) == (4, 2, False)


def test_appends_to_several_streams_are_one_batch() -> None:
    other = unborn("g", "t")
    appends = [Append(tip, (X,), Image(b"1", 0, 1), {}, NONE) for tip in (NEW, other)]
    check = Check(Key(HEAD, "g", "u"), Require.EXISTS)
    made = plan_appends(appends, token="tok", now=1, node="n", extra=[check])
    assert [tip.id for tip in made.tips] == ["s", "t"]
    assert len(made.batch.operations) == 5
    assert made.batch.operations[-1] is check
    with pytest.raises(InvalidInputError, match="same stream"):
        plan_appends([appends[0], appends[0]], token="tok", now=1, node="n")
    with pytest.raises(InvalidInputError, match="no events to append to 's'"):
        plan_appends([appends[0]._replace(events=())], token="tok", now=1, node="n")


def test_a_snapshot_by_itself_keeps_the_version_and_checks_its_entry() -> None:
    tip = landed(plan(NEW, X, X).tips[0])
    made = plan_snapshot(tip, Image(b"5", 1, 1), "x", {}, SnapshotPolicy(keep=1), token="tok")
    check, snapshot, head = made.batch.operations
    assert check == Check(Key(ENTRY, "g", "s", 2), Require.EXISTS)
    assert snapshot.key == Key(SNAPSHOT, "g", "s", 2)
    assert (head.key, head.when) == (tip.key, "rev")
    decoded, state = decode_head(read(head))
    assert (decoded.tip.version, decoded.tip.digest, decoded.tip.snapshots, state) == (2, tip.digest, (2,), 5)


def test_a_head_by_itself_keeps_everything_but_its_revision() -> None:
    tip = landed(plan(NEW, X, X).tips[0])
    made = plan_head(tip, Image(b"5", 1, 1), "x", {"by": "k"}, token="other")
    [head] = made.batch.operations
    assert (head.key, head.when) == (tip.key, "rev")
    decoded, state = decode_head(read(head))
    assert (decoded.tip, state, decoded.token) == (tip, 5, "other")
    [first] = plan_head(NEW, None, "", {}, token="other").batch.operations
    assert first.when is Require.ABSENT
    large = plan_head(tip, Image(b"1" * (HEAD_STATE_BYTES + 1), 1, 1), "x", {}, token="other")
    assert decode_head(read(large.batch.operations[0]))[1] is NO_STATE
