"""What becomes of a commit whose answer is missing: each case breaks a rule that is shorter than the one in use.

The rules are those of `eventstate.core.settlement`; the cases drive the shipped code through the schedule in which
a shorter rule loses an event or writes it twice.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.core.expected import ANY
from eventstate.errors import (
    StoreUnavailableError,
    TokenExpiredError,
    VersionConflictError,
)
from eventstate.testing.conformance.doubt import (
    DELAYED,
    LOST_ANSWER,
    LOST_REQUEST,
    NEVER_ANSWERED,
    UNAVAILABLE,
    SettlementSuite,
    ignoring,
    prune,
)
from eventstate.testing.conformance.persisters import (
    TALLIES,
    Added,
    entry_key,
    everything,
)
from eventstate.testing.conformance.suite import (
    Committed,
    case,
    raises,
)
from eventstate.testing.faults import on_call


class LateCopyCases(SettlementSuite):
    """Rule 1: a read alone never settles. What is absent may still land."""

    @case
    async def test_a_commit_given_up_never_lands(self) -> None:
        """No answer, no trace, and the copy is still on its way: only killing it makes "not committed" true."""
        store = self.open()
        await self.event(self.persister(store), "a")
        for mark in ("absent", "there"):
            late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
            expected = 0 if mark == "absent" else 1
            id = "new" if mark == "absent" else "1"
            writer = self.persister(late)
            token = await self.unknown(writer.append(TALLIES, id, Added("lost"), expected=expected))
            late.then()
            assert await writer.settle(token) is False
            await self.refuse_late_copies(late)
            assert await self.persister(store).settle(token) is False
        assert await self.marks(self.persister(store)) == ["a"]
        assert not await self.persister(store).exists(TALLIES, "new")

    @case
    async def test_a_commit_that_landed_late_is_found(self) -> None:
        store = self.open()
        late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
        writer = self.persister(late)
        token = await self.unknown(self.event(writer, "a", 0))
        assert isinstance(await late.deliver(), Committed)
        late.then()
        for persister in (writer, self.persister(store)):
            assert await persister.settle(token) is True
        assert await self.marks(writer) == ["a"]

    @case
    async def test_a_resend_and_its_late_copy_are_one_commit(self) -> None:
        store = self.open()
        for expected in (0, ANY):
            id = str(expected)
            late = self.faulty(store, DELAYED, LOST_REQUEST, LOST_REQUEST)
            written = await self.persister(late).append(TALLIES, id, Added("a"), expected=expected)
            assert written.version == 1
            await self.refuse_late_copies(late)
            assert await self.marks(self.persister(store), id) == ["a"]

    @case
    async def test_a_copy_that_lands_just_before_its_resend_is_the_commit(self) -> None:
        store = self.open()
        for expected in (0, ANY):
            id = str(expected)
            late = self.faulty(store, DELAYED)
            late.before_commit = on_call(2, partial(ignoring, late.deliver))
            written = await self.persister(late).append(TALLIES, id, Added("a"), expected=expected)
            assert written.version == 1
            assert await self.marks(self.persister(store), id) == ["a"]

    @case
    async def test_a_late_copy_does_not_follow_its_own_replacement(self) -> None:
        """Another commit came between; the append is planned anew under another token, and the old copy is dead."""
        store = self.open()
        other = self.persister(store)
        late = self.faulty(store, DELAYED)
        late.before_commit = on_call(2, partial(self.event, other, "other"))
        written = await self.event(self.persister(late), "mine")
        assert written.version == 2
        await self.refuse_late_copies(late)
        assert await self.marks(other) == ["other", "mine"]

    @case
    async def test_a_conflict_is_final_though_a_copy_is_late(self) -> None:
        store = self.open()
        other = self.persister(store)
        late = self.faulty(store, DELAYED)
        late.before_commit = on_call(2, partial(self.event, other, "other"))
        with raises(VersionConflictError):
            await self.event(self.persister(late), "mine", 0)
        await self.refuse_late_copies(late)
        assert await self.marks(other) == ["other"]

    @case
    async def test_a_call_that_was_certainly_not_sent_may_be_repeated(self) -> None:
        store = self.open()
        flaky = self.faulty(store, UNAVAILABLE)
        writer = self.persister(flaky)
        with raises(StoreUnavailableError):
            await self.event(writer, "a", 0)
        assert (await self.event(writer, "a", 0)).version == 1
        assert await self.marks(writer) == ["a"]


class RefusedResendCases(SettlementSuite):
    """Rule 2: a refusal of a resend is no conflict; head, then entry, then base tell."""

    @case
    async def test_a_lost_answer_is_no_conflict(self) -> None:
        store = self.open()
        for number, (lost, expected) in enumerate(((1, 0), (2, 0), (5, 0), (1, ANY), (3, ANY))):
            id = str(number)
            writer = self.persister(self.faulty(store, *(LOST_ANSWER,) * lost))
            first = await writer.append(TALLIES, id, Added("a"), expected=expected)
            second = await writer.append(TALLIES, id, Added("b"), expected=first)
            assert (first.version, second.version) == (1, 2)
            assert await self.marks(self.persister(store), id) == ["a", "b"]

    @case
    async def test_a_lost_answer_is_found_though_others_moved_on(self) -> None:
        """The head is another's by now; the entry is still there and says whose it is."""
        store = self.open()
        other = self.persister(store)
        faulty = self.faulty(store, LOST_ANSWER)
        faulty.before_commit = on_call(2, partial(self.event, other, "other"))
        writer = self.persister(faulty)
        written = await self.event(writer, "mine", 0)
        assert (written.version, written.data.marks) == (1, ("mine",))
        assert (await self.event(writer, "next")).version == 3
        assert await self.marks(other) == ["mine", "other", "next"]

    @case
    async def test_a_refused_resend_whose_place_another_took_is_a_conflict(self) -> None:
        store = self.open()
        other = self.persister(store)
        faulty = self.faulty(store, LOST_REQUEST)
        faulty.before_commit = on_call(2, partial(self.event, other, "other"))
        with raises(VersionConflictError) as caught:
            await self.event(self.persister(faulty), "mine", 0)
        assert caught.error.actual == 1
        assert await self.marks(other) == ["other"]

    @case
    async def test_a_resend_is_the_same_batch(self) -> None:
        store = self.open()
        faulty = self.faulty(store, LOST_REQUEST, LOST_REQUEST, LOST_ANSWER)
        runtime = faulty.runtime
        faulty.before_commit = partial(later, runtime)
        await self.event(self.persister(faulty), "a", 0)
        assert len(faulty.sent) == 4
        assert all(batch == faulty.sent[0] for batch in faulty.sent), "a resend has other bytes or another token"

    @case
    async def test_a_refusal_of_the_only_copy_is_a_conflict_at_once(self) -> None:
        store = self.open()
        other = self.persister(store)
        faulty = self.faulty(store)
        faulty.before_commit = on_call(1, partial(self.event, other, "other"))
        with raises(VersionConflictError):
            await self.event(self.persister(faulty), "mine", 0)
        assert len(faulty.sent) == 1

    @case
    async def test_a_resend_that_could_not_be_sent_says_nothing(self) -> None:
        """The first copy may have landed: only the resend was certainly not sent."""
        store = self.open()
        faulty = self.faulty(store, LOST_ANSWER, UNAVAILABLE, UNAVAILABLE)
        assert (await self.event(self.persister(faulty), "a", 0)).version == 1
        faulty.then(LOST_ANSWER, *(UNAVAILABLE,) * 1000)
        writer = self.persister(faulty)
        token = await self.unknown(self.event(writer, "b", 1))
        faulty.then()
        assert await writer.settle(token) is True
        assert await self.marks(self.persister(store)) == ["a", "b"]

    @case
    async def test_a_read_that_fails_while_settling_is_no_answer(self) -> None:
        """Unavailable means that nothing was written: it must not come from a call whose commit may be applied."""
        store = self.open()
        faulty = self.faulty(store, LOST_ANSWER)
        writer = self.persister(faulty)
        await self.event(self.persister(store), "a", 0)
        await writer.load(TALLIES, "1")
        reads = 0

        async def fail(_keys: object) -> None:
            nonlocal reads
            reads += 1
            if reads <= 3 or is_down:
                raise StoreUnavailableError(store=store.url, detail="this read fails")

        is_down = False
        faulty.before_get = fail
        assert (await self.event(writer, "b", 1)).version == 2
        assert reads > 0, "nothing was read"
        is_down = True
        faulty.then(LOST_ANSWER)
        token = await self.unknown(self.event(writer, "c", 2))
        faulty.before_get = None
        assert await writer.settle(token) is True
        assert await self.marks(self.persister(store)) == ["a", "b", "c"]

    @case
    async def test_what_is_pruned_between_two_reads_is_not_written_again(self) -> None:
        """The base is read last: had it been read with the head, the missing entry would look like "never applied"."""
        store = self.open()
        other = self.persister(store, snapshot_every=1)
        faulty = self.faulty(store, LOST_ANSWER)

        async def others_append() -> None:
            for mark in "xyz":
                await self.event(other, mark)

        async def prune_before_the_entry_is_read(keys: Any) -> None:
            if entry_key("tally-1", 1) in keys:
                await prune(store, "tally-1", 2)

        faulty.before_commit = on_call(2, others_append)
        faulty.before_get = prune_before_the_entry_is_read
        writer = self.persister(faulty, snapshot_every=1)
        with raises(TokenExpiredError):
            await self.event(writer, "mine")
        assert (await other.load(TALLIES, "1")).data.marks == ("mine", "x", "y", "z")


class ExpiryCases(SettlementSuite):
    """Rule 6: where the proof is gone, say so and write nothing."""

    @case
    async def test_a_token_whose_entry_is_pruned_is_expired(self) -> None:
        store = self.open()
        other = self.persister(store, snapshot_every=1)
        faulty = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
        writer = self.persister(faulty, snapshot_every=1)
        token = await self.unknown(self.event(writer, "mine", 0))
        for mark in "xyz":
            await self.event(other, mark)
        await prune(store, "tally-1", 2)
        before = await everything(store)
        faulty.then()
        for persister in (writer, other):
            with raises(TokenExpiredError):
                await persister.settle(token)
        assert await everything(store) == before, "settling an expired token wrote something"
        assert (await other.load(TALLIES, "1")).data.marks == ("mine", "x", "y", "z")

    @case
    async def test_a_token_above_the_base_is_settled(self) -> None:
        store = self.open()
        other = self.persister(store, snapshot_every=1)
        for mark in "xyz":
            await self.event(other, mark)
        faulty = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
        writer = self.persister(faulty, snapshot_every=1)
        token = await self.unknown(self.event(writer, "mine", 3))
        await self.event(other, "last")
        await prune(store, "tally-1", 2)
        assert await other.settle(token) is True
        assert (await other.load(TALLIES, "1")).data.marks == ("x", "y", "z", "mine", "last")


async def later(runtime: Any, _batch: object) -> None:
    runtime.shift += 1_000_000
