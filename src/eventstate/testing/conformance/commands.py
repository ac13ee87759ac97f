"""Commands under an idempotency key, whatever happened to the answers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from eventstate.core.documents import COMMAND
from eventstate.core.expected import ANY
from eventstate.errors import (
    IdempotencyMismatchError,
    VersionConflictError,
)
from eventstate.testing.conformance.doubt import (
    DELAYED,
    LOST_ANSWER,
    LOST_REQUEST,
    NEVER_ANSWERED,
    SettlementSuite,
    ignoring,
)
from eventstate.testing.conformance.persisters import (
    GOVERNOR,
    TALLIES,
    Added,
    Face,
)
from eventstate.testing.conformance.repeating import add_if_missing, add_once
from eventstate.testing.conformance.suite import (
    Key,
    case,
    exists,
    raises,
)
from eventstate.testing.faults import Fault, on_call


class KeyCases(SettlementSuite):
    """Rule 5: only the document of a command closes its key."""

    @case
    async def test_a_command_is_found_by_another_process(self) -> None:
        """Whatever happened to the first answer, the same key gives one run and one result."""
        store = self.open()
        for number, faults in enumerate(
            ((LOST_ANSWER, *NEVER_ANSWERED), (LOST_REQUEST, *NEVER_ANSWERED), (DELAYED, *NEVER_ANSWERED))
        ):
            key, id = f"key {number}", str(number)
            faulty = self.faulty(store, *faults)
            call = partial(_append, id=id, key=key)
            await self.unknown(call(self.persister(faulty)))
            results = [await call(self.persister(store)) for _ in range(2)]
            assert [result.version for result in results] == [1, 1]
            await self.refuse_late_copies(faulty)
            faulty.then()
            assert (await call(self.persister(faulty))).version == 1
            assert await self.marks(self.persister(store), id) == ["a"]

    @case
    async def test_a_late_copy_that_lands_first_is_the_run(self) -> None:
        store = self.open()
        late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
        await self.unknown(_append(self.persister(late), id="1", key="k"))
        second = self.faulty(store)
        second.before_commit = on_call(1, partial(ignoring, late.deliver))
        assert (await _append(self.persister(second), id="1", key="k")).version == 1
        assert await self.marks(self.persister(store)) == ["a"]

    @case
    async def test_a_refusal_under_a_key_is_not_the_keys_result(self) -> None:
        """Another process ran the command while this one's batch was on its way: that run is the result."""
        store = self.open()
        for expected in (0, ANY):
            key = f"key {expected}"
            faulty = self.faulty(store)
            call = partial(_append, id=str(expected), key=key, expected=expected)
            faulty.before_commit = on_call(1, partial(ignoring, partial(call, self.persister(store))))
            assert (await call(self.persister(faulty))).version == 1
            assert await self.marks(self.persister(store), str(expected)) == ["a"]

    @case
    async def test_a_conflict_in_doubt_leaves_the_key_open(self) -> None:
        store = self.open()
        other = self.persister(store)
        late = self.faulty(store, DELAYED)
        late.before_commit = on_call(2, partial(self.event, other, "other"))
        with raises(VersionConflictError):
            await _append(self.persister(late), id="1", key="k", expected=0)
        assert not await exists(store, Key(COMMAND, GOVERNOR, "k"))
        assert (await _append(other, id="1", key="k", expected=1)).version == 2
        await self.refuse_late_copies(late)
        assert await self.marks(other) == ["other", "a"]

    @case
    async def test_a_cancelled_command_is_found_again(self) -> None:
        """Only where calls can be cancelled: the cancellation comes out, and the key tells what became of it."""
        if self.world.name == "sync":
            return
        store = self.open()
        for number, fault in enumerate((Fault.CANCELLED_AFTER, Fault.CANCELLED_BEFORE, Fault.CANCELLED_DELAYED)):
            id, key = str(number), f"key {number}"
            late = self.faulty(store, fault)
            with raises(asyncio.CancelledError):
                await _append(self.persister(late), id=id, key=key)
            for writer in (self.persister(late), self.persister(store)):
                assert (await _append(writer, id=id, key=key)).version == 1
            await self.refuse_late_copies(late)
            assert await self.marks(self.persister(store), id) == ["a"]

    @case
    async def test_a_task_cancelled_in_its_commit_is_found_again(self) -> None:
        if self.world.name == "sync":
            return
        store = self.open()
        for number in range(self.rounds * 2):
            id, key = str(number), f"key {number}"
            task = asyncio.ensure_future(_append(self.persister(store), id=id, key=key))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, asyncio.CancelledError), outcome
            else:
                assert outcome.version == 1
            assert (await _append(self.persister(store), id=id, key=key)).version == 1
            assert await self.marks(self.persister(store), id) == ["a"]

    @case
    async def test_a_decision_is_not_made_again(self) -> None:
        store = self.open()
        for number, decide in enumerate((add_once, add_if_missing)):
            id, key = str(number), f"key {number}"
            faulty = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
            await self.unknown(self.persister(faulty).execute(TALLIES, id, decide, "a", idempotency_key=key))
            again = await self.persister(store).execute(TALLIES, id, decide, "a", idempotency_key=key)
            assert (again.version, again.data.marks) == (1, ("a",))
            with raises(IdempotencyMismatchError):
                await self.persister(store).execute(TALLIES, id, decide, "b", idempotency_key=key)


async def _append(persister: Face, *, id: str, key: str, expected: Any = ANY) -> Any:
    return await persister.append(TALLIES, id, Added("a"), expected=expected, idempotency_key=key)
