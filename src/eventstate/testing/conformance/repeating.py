"""What a persister promises about idempotency keys and deletions."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.core.expected import ANY
from eventstate.errors import (
    IdempotencyMismatchError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionConflictError,
)
from eventstate.machines.events import Event
from eventstate.machines.together import AppendTo
from eventstate.testing.conformance.persisters import TALLIES, Added, PersisterSuite, Tally, everything
from eventstate.testing.conformance.suite import case, raises


def add_once(tally: Tally, mark: str) -> Added:
    """A decision that fails where it was made before."""
    if mark in tally.marks:
        raise ZeroDivisionError(f"{mark} is there")
    return Added(mark)


def add_if_missing(tally: Tally, mark: str) -> Added | None:
    """A decision that finds nothing to do where it was made before."""
    return None if mark in tally.marks else Added(mark)


class IdempotencyCases(PersisterSuite):
    """The same key is the same command: one run, one result."""

    @case
    async def test_the_same_call_again_gives_the_first_result(self) -> None:
        store = self.open()
        first, second = self.persister(store), self.persister(store)
        for expected in (0, ANY):
            id = str(expected)
            call = partial(_append, TALLIES, id, Added("a"), expected=expected, idempotency_key=f"key {expected}")
            written = await call(first)
            await second.append(TALLIES, id, Added("b"), expected=1)
            before = await everything(store)
            for persister in (first, second, self.persister(store)):
                again = await call(persister)
                assert (again.id, again.version, again.data) == (written.id, 1, written.data), "not the first result"
            assert await everything(store) == before
            assert await self.marks(first, id) == ["a", "b"]

    @case
    async def test_a_key_belongs_to_its_arguments(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        before = await everything(store)
        others: list[Any] = [
            partial(persister.append, TALLIES, "1", Added("b"), expected=0, idempotency_key="k"),
            partial(persister.append, TALLIES, "1", Added("a"), Added("a"), expected=ANY, idempotency_key="k"),
            partial(persister.append, TALLIES, "2", Added("a"), expected=0, idempotency_key="k"),
            partial(persister.execute, TALLIES, "1", add_once, "b", idempotency_key="k"),
            partial(persister.save_state, "doc", [1], expected=0, idempotency_key="k"),
            partial(persister.append_together, AppendTo(TALLIES, "1", Added("a"), expected=ANY), idempotency_key="k"),
        ]
        for call in others:
            with raises(IdempotencyMismatchError):
                await call()
        assert await everything(store) == before
        # What it is expected of is not part of the command.
        again = await persister.append(TALLIES, "1", Added("a"), expected=5, idempotency_key="k")
        assert again.version == 1

    @case
    async def test_a_conflict_does_not_use_up_a_key(self) -> None:
        persister = self.persister()
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        call = partial(persister.append, TALLIES, "1", Added("b"), idempotency_key="k")
        with raises(VersionConflictError):
            await call(expected=0)
        assert (await call(expected=1)).version == 2
        assert (await call(expected=0)).version == 2
        assert await self.marks(persister) == ["a", "b"]

    @case
    async def test_a_command_that_would_now_fail_still_gives_its_result(self) -> None:
        store = self.open()
        persister = self.persister(store)
        written = await persister.execute(TALLIES, "1", add_once, "a", idempotency_key="k")
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        for reader in (persister, self.persister(store)):
            again = await reader.execute(TALLIES, "1", add_once, "a", idempotency_key="k")
            assert (again.version, again.data) == (1, written.data)
        with raises(ZeroDivisionError):
            await persister.execute(TALLIES, "1", add_once, "a", idempotency_key="another")
        with raises(IdempotencyMismatchError):
            await persister.execute(TALLIES, "1", add_once, "b", idempotency_key="k")
        assert await self.marks(persister) == ["a", "b"]

    @case
    async def test_a_command_that_now_has_nothing_to_do_still_gives_its_result(self) -> None:
        store = self.open()
        persister = self.persister(store)
        written = await persister.execute(TALLIES, "1", add_if_missing, "a", idempotency_key="k")
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        for reader in (persister, self.persister(store)):
            again = await reader.execute(TALLIES, "1", add_if_missing, "a", idempotency_key="k")
            assert (again.version, again.data) == (1, written.data), "the state of now, not the result of then"
        with raises(IdempotencyMismatchError):
            await persister.execute(TALLIES, "1", add_if_missing, "b", idempotency_key="k")

    @case
    async def test_a_result_is_found_after_a_deletion(self) -> None:
        persister = self.persister()
        await persister.append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        await persister.delete_state(TALLIES, "1", expected=1)
        again = await persister.append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        assert (again.version, again.data.marks) == (1, ("a",))
        assert not await persister.exists(TALLIES, "1")

    @case
    async def test_of_several_with_one_key_one_runs(self) -> None:
        stores = self.open(), self.open(apart=True)
        persisters = [self.persister(stores[number % 2]) for number in range(self.writers)]
        for round in range(self.rounds):
            key, id = f"key {round}", str(round % 2)
            results = await self.together(
                [
                    partial(persister.append, TALLIES, id, Added(key), expected=ANY, idempotency_key=key)
                    for persister in persisters
                ]
            )
            assert len({result.version for result in results}) == 1, [result.version for result in results]
        for id in "01":
            marks = await self.marks(persisters[0], id)
            assert marks == [f"key {round}" for round in range(self.rounds) if str(round % 2) == id]

    @case
    async def test_a_key_covers_all_streams_of_a_call(self) -> None:
        store = self.open()
        appends = [AppendTo(TALLIES, id, Added("a"), expected=ANY) for id in "123"]
        first = await self.persister(store).append_together(*appends, idempotency_key="k")
        before = await everything(store)
        again = await self.persister(store).append_together(*appends, idempotency_key="k")
        assert [(state.id, state.version, state.data) for state in again] == [
            (state.id, state.version, state.data) for state in first
        ]
        assert await everything(store) == before

    @case
    async def test_keys_are_text_and_belong_to_their_governor(self) -> None:
        store = self.open()
        for odd in ("a/b", "..", "__x__", "ä ö", "k" * 200):
            for governor in ("shop", "other"):
                persister = self.persister(store, governor=governor)
                await persister.append(TALLIES, odd, Added("a"), expected=0, idempotency_key=odd)
                again = await persister.append(TALLIES, odd, Added("a"), expected=0, idempotency_key=odd)
                assert again.version == 1
        for wrong in ("", 7, b"k"):
            with raises(InvalidInputError):
                await self.persister(store).append(TALLIES, "1", Added("a"), expected=0, idempotency_key=wrong)


class DeletionCases(PersisterSuite):
    """A deletion is an event; what was before stays, what comes after goes on counting."""

    @case
    async def test_a_deleted_state_is_gone_and_its_history_is_not(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("a"), Added("b"), expected=0)
        assert await persister.delete_state(TALLIES, "1", expected=2) == 3
        for reader in (persister, self.persister(store)):
            assert not await reader.exists(TALLIES, "1")
            with raises(StateDeletedError) as caught:
                await reader.load(TALLIES, "1")
            assert caught.error.version == 3
            assert (await reader.batch_get_states(["tally-1"])) == {"tally-1": None}
            assert (await reader.list_states()).states == []
            assert (await reader.load(TALLIES, "1", at_version=2)).data.marks == ("a", "b")
            with raises(StateDeletedError):
                await reader.load(TALLIES, "1", at_version=3)
            history = await reader.history(TALLIES, "1")
            assert [step.version for step in history] == [1, 2, 3]
            assert history[-1].to_state is None
        await self.consistent(persister)

    @case
    async def test_nothing_is_appended_to_a_deleted_state(self) -> None:
        store = self.open()
        persister = self.persister(store)
        tip = await persister.append(TALLIES, "1", Added("a"), expected=0)
        await persister.delete_state(TALLIES, "1", expected=tip)
        before = await everything(store)
        for writer in (persister, self.persister(store)):
            for expected in (ANY, 2):
                with raises(StateDeletedError):
                    await writer.append(TALLIES, "1", Added("x"), expected=expected)
            for expected in (0, 1, tip):
                with raises(StateDeletedError, VersionConflictError):
                    await writer.append(TALLIES, "1", Added("x"), expected=expected)
            with raises(StateDeletedError):
                await writer.execute(TALLIES, "1", add_if_missing, "x")
        assert await everything(store) == before

    @case
    async def test_a_stale_deletion_is_a_conflict(self) -> None:
        persister = self.persister()
        with raises(StateNotFoundError):
            await persister.delete_state(TALLIES, "1", expected=ANY)
        tip = await persister.append(TALLIES, "1", Added("a"), expected=0)
        await persister.append(TALLIES, "1", Added("b"), expected=tip)
        for expected in (0, 1, tip, 3):
            with raises(VersionConflictError):
                await persister.delete_state(TALLIES, "1", expected=expected)
        assert await self.marks(persister) == ["a", "b"]

    @case
    async def test_deleting_again_changes_nothing(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        await persister.delete_state(TALLIES, "1", expected=ANY)
        before = await everything(store)
        for writer in (persister, self.persister(store)):
            assert await writer.delete_state(TALLIES, "1", expected=ANY) == 2
            assert await writer.delete_state(TALLIES, "1", expected=2) == 2
        assert await everything(store) == before

    @case
    async def test_a_new_incarnation_goes_on_counting_and_begins_anew(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        await persister.delete_state(TALLIES, "1", expected=1)
        with raises(VersionConflictError):
            await persister.append(TALLIES, "1", Added("b"), expected=0, reopen=True)
        reopened = await self.persister(store).append(TALLIES, "1", Added("b"), expected=2, reopen=True)
        assert reopened.version == 4, "the new incarnation begins with an event of its own"
        assert reopened.data.marks == ("b",), "the old incarnation shows through"
        for reader in (persister, self.persister(store)):
            assert (await reader.load(TALLIES, "1")).data.marks == ("b",)
            assert (await reader.load(TALLIES, "1", at_version=1)).data.marks == ("a",)
            assert (await reader.load(TALLIES, "1", at_version=4)).data.marks == ("b",)
            assert (await reader.rebuild(TALLIES, "1", full=True)).data.marks == ("b",)
            assert [step.version for step in await reader.history(TALLIES, "1")] == [1, 2, 3, 4]
        await persister.append(TALLIES, "1", Added("c"), expected=4)
        await persister.delete_state(TALLIES, "1", expected=5)
        again = await persister.append(TALLIES, "1", Added("d"), expected=ANY, reopen=True)
        assert (again.version, again.data.marks) == (8, ("d",))
        await self.consistent(persister)

    @case
    async def test_plain_states_are_deleted_and_saved_anew(self) -> None:
        persister = self.persister()
        saved = await persister.save_state("doc", {"a": 1}, expected=0)
        await persister.delete_state("doc", expected=saved)
        with raises(StateDeletedError):
            await persister.save_state("doc", {"a": 2}, expected=ANY)
        with raises(StateDeletedError):
            await persister.append("doc", Event("x", state=1), expected=ANY)
        again = await persister.save_state("doc", {"a": 2}, expected=ANY, reopen=True)
        assert (again.version, (await persister.load("doc")).data) == (4, {"a": 2})


async def _append(*args: Any, **kwargs: Any) -> Any:
    *arguments, persister = args
    return await persister.append(*arguments, **kwargs)
