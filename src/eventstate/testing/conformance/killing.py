"""Killing a commit that may still be in flight, so that "not committed" stays true."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from eventstate.core.documents import CURSOR, LOCK, OUTCOME, Operation
from eventstate.core.expected import ANY
from eventstate.core.fold import PLAIN
from eventstate.core.format import NewEvent
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    CorruptionError,
    StateNotFoundError,
    TransactionConflictError,
)
from eventstate.log.appending import Appender
from eventstate.log.planning import Change
from eventstate.log.reading import StreamReader
from eventstate.machines.together import AppendTo
from eventstate.stores.base import Store
from eventstate.testing.conformance.doubt import (
    DELAYED,
    LOST_ANSWER,
    LOST_REQUEST,
    NEVER_ANSWERED,
    UNAVAILABLE,
    SettlementSuite,
    ignoring,
)
from eventstate.testing.conformance.persisters import (
    GOVERNOR,
    TALLIES,
    Added,
    Face,
    head_key,
    stored,
)
from eventstate.testing.conformance.suite import (
    Batch,
    Check,
    Committed,
    Delete,
    Key,
    Put,
    Refused,
    Require,
    body,
    case,
    exists,
    put,
    raises,
    remove,
    unique,
)
from eventstate.testing.faults import FaultyStore, on_call
from eventstate.transactions.commit import Committer


class AbortCases(SettlementSuite):
    """Rule 3: a batch is dead only once what it needs can never be again: its head has moved."""

    def _appender(self, store: Store) -> Appender:
        return Appender(store, GOVERNOR, StreamReader(store, GOVERNOR), SnapshotPolicy())

    @case
    async def test_a_check_that_becomes_true_again_revives_nothing(self) -> None:
        """Refused because a document was absent that comes back: the late copy must find its head moved."""
        store = self.open()
        lock = Key(LOCK, GOVERNOR, "resource")
        for id, version in (("new", 0), ("old", 1)):
            await put(store, lock)
            if version:
                await self._appender(store).append([_noted(id, 0)])
            late = self.faulty(store, DELAYED)
            late.before_commit = on_call(2, partial(remove, store, lock))
            with raises(TransactionConflictError):
                await self._appender(late).append([_noted(id, version)], extra=partial(_there, lock))
            await put(store, lock)
            await self.refuse_late_copies(late)
            again = await self._appender(late).append([_noted(id, version)], extra=partial(_there, lock))
            assert again.streams[0].tip.version == version + 1
            await remove(store, lock)
        await self.consistent(self.persister(store))

    async def unknown_then_dead(self, writer: Face, faulty: FaultyStore) -> str:
        faulty.then(*NEVER_ANSWERED)
        token = await self.unknown(self.event(writer, "lost"))
        faulty.then()
        return token

    @case
    async def test_a_head_moved_by_an_abort_keeps_its_version(self) -> None:
        """Whoever remembers the old revision is refused once, looks again and is not told of a conflict."""
        store = self.open()
        warm = self.persister(store)
        loaded = await self.event(warm, "a", 0)
        faulty = self.faulty(store, *NEVER_ANSWERED)
        writer = self.persister(faulty)
        token = await self.unknown(self.event(writer, "lost", 1))
        faulty.then()
        before = await stored(store, head_key("tally-1"))
        assert await writer.settle(token) is False
        after = await stored(store, head_key("tally-1"))
        assert after.revision != before.revision, "the head was not moved"
        assert (await self.persister(store).load(TALLIES, "1")).version == 1
        assert (await self.event(warm, "b", loaded)).version == 2
        again = await self.unknown_then_dead(writer, faulty)
        assert await writer.settle(again) is False
        assert (await self.event(warm, "c", 2)).version == 3
        assert await self.marks(warm) == ["a", "b", "c"]
        await self.consistent(warm)

    @case
    async def test_an_abort_before_the_first_event_leaves_no_state(self) -> None:
        store = self.open()
        faulty = self.faulty(store, DELAYED, *NEVER_ANSWERED)
        writer = self.persister(faulty)
        token = await self.unknown(self.event(writer, "lost", 0))
        faulty.then()
        assert await writer.settle(token) is False
        for persister in (writer, self.persister(store)):
            assert not await persister.exists(TALLIES, "1")
            with raises(StateNotFoundError):
                await persister.load(TALLIES, "1")
            with raises(StateNotFoundError):
                await persister.history(TALLIES, "1")
            assert (await persister.list_states()).states == []
            assert await persister.recover() == []
            assert (await persister.get_stats()).total_states == 0
            assert (await persister.batch_get_states(["tally-1"])) == {"tally-1": None}
            await self.consistent(persister)
        with raises(StateNotFoundError):
            await writer.delete_state(TALLIES, "1", expected=ANY)
        assert (await self.event(writer, "a", 0)).version == 1
        await self.refuse_late_copies(faulty)
        assert await self.marks(self.persister(store)) == ["a"]

    @case
    async def test_an_abort_kills_a_commit_to_several_streams_whole(self) -> None:
        store = self.open()
        late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
        writer = self.persister(late)
        appends = [AppendTo(TALLIES, id, Added("lost"), expected=0) for id in "abc"]
        token = await self.unknown(writer.append_together(*appends))
        late.then()
        assert await writer.settle(token) is False
        await self.refuse_late_copies(late)
        assert [await self.persister(store).exists(TALLIES, id) for id in "abc"] == [False] * 3

    @case
    async def test_an_abort_whose_answer_is_lost_is_tried_again(self) -> None:
        store = self.open()
        for number, faults in enumerate(((LOST_ANSWER,), (LOST_REQUEST, LOST_REQUEST), (DELAYED,), (UNAVAILABLE,))):
            id = str(number)
            late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
            writer = self.persister(late)
            token = await self.unknown(writer.append(TALLIES, id, Added("lost"), expected=0))
            late.then(*faults)
            assert await writer.settle(token) is False, faults
            while late.held:
                await late.deliver()
            assert not await self.persister(store).exists(TALLIES, id), faults
            assert (await writer.append(TALLIES, id, Added("a"), expected=0)).version == 1

    @case
    async def test_settling_does_not_begin_a_damaged_stream_anew(self) -> None:
        """Entries without a head are damage: no head of version 0 may be put before them."""
        store = self.open()
        await self.event(self.persister(store), "a", 0)
        faulty = self.faulty(store, *NEVER_ANSWERED)
        writer = self.persister(faulty)
        token = await self.unknown(self.event(writer, "lost", 1))
        await remove(store, head_key("tally-1"))
        faulty.then()
        with raises(CorruptionError):
            await writer.settle(token)
        loaded = await self.persister(store).load(TALLIES, "1")
        assert (loaded.version, loaded.data.marks) == (1, ("a",))
        assert (await self.event(self.persister(store), "b", 1)).version == 2
        assert await writer.settle(token) is False


class OutcomeCases(SettlementSuite):
    """Rule 4: a batch without an entry leaves an outcome; writing "aborted" there first kills it."""

    KEY: Final = Key(CURSOR, GOVERNOR, "c")

    async def _commit(self, store: Store, *operations: Operation) -> tuple[Committed | Refused, Batch]:
        committer = Committer(store, GOVERNOR)
        batch = committer.with_outcome(Batch(unique(), operations))
        return await committer.commit(batch), batch

    def _put(self, when: Any) -> Put:
        return Put(self.KEY, body(unique()), when)

    @case
    async def test_a_lost_answer_is_found_though_others_moved_on(self) -> None:
        store = self.open()
        faulty = self.faulty(store, LOST_ANSWER)
        result, _ = await self._commit(faulty, self._put(Require.ABSENT))
        assert isinstance(result, Committed)
        faulty.then(LOST_ANSWER)
        found = await stored(store, self.KEY)
        faulty.before_commit = on_call(4, partial(ignoring, partial(put, store, self.KEY)))
        result, batch = await self._commit(faulty, self._put(found.revision))
        assert isinstance(result, Committed)
        assert len(faulty.sent) >= 4
        assert b"committed" in (await stored(store, Key(OUTCOME, GOVERNOR, batch.token))).body

    @case
    async def test_a_refusal_of_the_only_copy_is_a_conflict(self) -> None:
        store = self.open()
        await put(store, self.KEY)
        faulty = self.faulty(store)
        result, batch = await self._commit(faulty, self._put(Require.ABSENT))
        assert isinstance(result, Refused)
        assert len(faulty.sent) == 1
        assert not await exists(store, Key(OUTCOME, GOVERNOR, batch.token))

    @case
    async def test_a_commit_given_up_never_lands(self) -> None:
        store = self.open()
        for faults in ((), (LOST_ANSWER,), (LOST_REQUEST,), (DELAYED,)):
            late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
            token = await self.unknown(self._commit(late, self._put(Require.ANY)))
            late.then(*faults)
            persister = self.persister(late)
            assert await persister.settle(token) is False, faults
            while late.held:
                await late.deliver()
            assert not await exists(store, self.KEY), "it landed after it was declared dead"
            assert await self.persister(store).settle(token) is False

    @case
    async def test_a_commit_that_landed_late_is_found(self) -> None:
        store = self.open()
        late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
        token = await self.unknown(self._commit(late, self._put(Require.ABSENT)))
        assert isinstance(await late.deliver(), Committed)
        assert await self.persister(store).settle(token) is True

    @case
    async def test_a_precondition_that_becomes_true_again_revives_nothing(self) -> None:
        store = self.open()
        late = self.faulty(store, DELAYED)
        late.before_commit = on_call(2, partial(ignoring, partial(put, store, self.KEY)))
        result, batch = await self._commit(late, self._put(Require.ABSENT))
        assert isinstance(result, Refused), "the document was there"
        await remove(store, self.KEY)
        await self.refuse_late_copies(late)
        assert not await exists(store, self.KEY)
        assert b"aborted" in (await stored(store, Key(OUTCOME, GOVERNOR, batch.token))).body

    @case
    async def test_a_deletion_is_done_once(self) -> None:
        store = self.open()
        await put(store, self.KEY)
        late = self.faulty(store, DELAYED)
        late.before_commit = on_call(2, partial(ignoring, late.deliver))
        result, _ = await self._commit(late, Delete(self.KEY, Require.EXISTS))
        assert isinstance(result, Committed)
        assert not await exists(store, self.KEY)


def _noted(id: str, expected: int) -> Change:
    def events(_state: Any, version: int) -> list[NewEvent]:
        return [NewEvent("noted", state=b'{"n":%d}' % version)]

    return Change(id=id, fold=PLAIN, events=events, expected=expected)


def _there(key: Key, _token: str) -> tuple[Operation, ...]:
    return (Check(key, Require.EXISTS),)
