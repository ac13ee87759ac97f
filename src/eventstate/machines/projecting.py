"""Running a projection: catching up, following, and rebuilding it beside the generation that is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from eventstate.core.backoff import full_jitter
from eventstate.core.documents import HEAD, PIN, Batch, Document, Key, Operation, Require
from eventstate.core.format import decode_head
from eventstate.core.pins import pin_operations, unpin_operations
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    ProjectionVersionError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.log.following import Place, Selection
from eventstate.log.positions import Definition, definition_of, saved_place
from eventstate.log.projections import (
    Generation,
    Register,
    Registers,
    Tally,
    definition,
    generation_key,
    remove_generation,
    tally_of,
)
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.generation_run import GenerationRun
from eventstate.machines.projection import Projection
from eventstate.machines.view_buffer import ViewBuffer

HOLD_SECONDS: Final = 20.0
"""After so long a switch that has not ended is taken for dead, and the projection goes on as it was."""
NEAR_SECONDS: Final = 1.0
"""A rebuild that needs no longer than this for what has come meanwhile is near enough for the switch."""
POLL_SECONDS: Final = 1.0
ATTEMPTS: Final = 20
_PIN: Final = "projection"

Call = Callable[[Delivery, ViewBuffer], Awaitable[None]]
Progress = Callable[[int], None]


class Projecting:
    """One projection of one governor, as one process runs it."""

    def __init__(self, core: PersisterCore, projection: Projection, call: Call) -> None:
        self.store = core.store
        self.owner = core.governor
        self.projection = projection
        self.call = call
        self.machines = core.machines
        self.registers = Registers(core.store, core.governor)
        self.selection = Selection(core.governor, None, projection.machines, projection.actions)
        for machine in core.machines.values():
            if machine.has_subjects and (projection.machines is None or machine.name in projection.machines):
                raise ConfigurationError(
                    f"projection {projection.name!r} takes events of {machine.name!r}, which declares subjects: what a"
                    " projection writes is not encrypted, and would outlast an erasure. Name its machines=[...] without"
                )
        self._order = core.store.capabilities.feed_order

    def definition(self, number: int) -> Definition:
        """Under which name the position of a generation is saved."""
        return definition(self.owner, self.projection.name, number, self.selection, self._order)

    def tally_key(self, number: int) -> Key:
        return generation_key(self.owner, self.projection.name, number)

    async def saved(self, number: int) -> Definition | None:
        """What the saved position of a generation is about; None where there is none."""
        document = await self._saved_document(number)
        return None if document is None else definition_of(document)

    async def saved_place(self, number: int) -> Place:
        """Up to where a generation is, as is saved."""
        document = await self._saved_document(number)
        return Place() if document is None else await saved_place(self.store, definition_of(document), document)

    async def _saved_document(self, number: int) -> Document | None:
        key = self.definition(number).key
        return (await self.store.get([key])).documents.get(key)

    async def tally(self, number: int) -> Tally:
        key = self.tally_key(number)
        document = (await self.store.get([key])).documents.get(key)
        return Tally() if document is None else tally_of(document)

    # What a generation needs is pinned until it has caught up: a prune that runs now may have looked at the saved
    # places before this one was there.

    def _pin_id(self, number: int) -> str:
        return f"{_PIN}:{self.projection.name}.{number}"

    def pin(self, number: int, token: str) -> Sequence[Operation]:
        members: dict[str, Any] = {"kind": _PIN, "from": 1, "by": repr(self.projection), "at": self.store.runtime.now()}
        if self.projection.machines is not None and len(self.projection.machines) == 1:
            members["machine"] = next(iter(self.projection.machines))
        pin, register = pin_operations(self.owner, self._pin_id(number), members, token)
        return (pin._replace(when=Require.ANY), register)

    async def is_pinned(self, number: int) -> bool:
        key = Key(PIN, self.owner, self._pin_id(number))
        return key in (await self.store.get([key])).documents

    async def unpin(self, number: int) -> None:
        operations = unpin_operations(self.owner, self._pin_id(number))
        await self.registers.committer.commit_guarded(Batch(self.store.runtime.unique(), operations))

    async def first_pruned(self) -> str | None:
        """The first wanted stream whose beginning is pruned."""
        after: Key | None = None
        while True:
            page = await self.store.scan(HEAD, self.owner, after=after)
            for document in page.documents:
                if self.selection.takes_stream(document.key) and _is_pruned(document):
                    return document.key.id
            after = page.next
            if after is None:
                return None

    # Running

    async def register(self) -> Register:
        """What says which generation is read, made if this is the first run.

        Raises:
            ProjectionVersionError: it was built by another version of the code.
        """
        name, version = self.projection.name, self.projection.version
        register = await self.registers.find(name)
        if register is None:
            await self.registers.write(Register(name=name, current=Generation(1, version)))
            register = await self.registers.get(name)
        if register.current.version != version:
            raise ProjectionVersionError(name=name, running=version, current=register.current.version)
        return register

    async def opened(self) -> GenerationRun:
        """The generation that is read, ready to go on."""
        while True:
            register = await self.register()
            if register.is_held:
                await self._wait_for_switch(register)
                continue
            if register.old:  # whoever switched was killed before this: what it left holds back pruning
                await self.clean_up()
                continue
            run = GenerationRun(self, register, register.current.number)
            await run.open()
            return run

    async def _wait_for_switch(self, register: Register) -> None:
        if await self.registers.age(register) > HOLD_SECONDS:
            await self.registers.write(replace(register, is_held=False))
        else:
            await self.store.runtime.sleep(0.05)

    async def catch_up(self, progress: Progress | None = None) -> int:
        """Handle everything that was committed before this call; how many events the projection has handled in all."""
        return await self._until(self.opened, lambda run: run.is_caught_up, progress)

    async def follow(self, stop: Callable[[], bool]) -> None:
        """Handle what is there and what comes, until ``stop()`` says so. Outages of the store are waited out."""
        failures = 0
        run: GenerationRun | None = None
        while not stop():
            try:
                run = run or await self.opened()
                if not await run.step():
                    await run.wait(POLL_SECONDS)
                failures = 0
            except (TransactionConflictError, StoreUnavailableError):
                failures += 1
                if run is not None:
                    run.close()
                run = None
                await self._pause(failures, cap=2.0)
            except BaseException:
                if run is not None:
                    run.close()
                raise
        if run is not None:
            run.close()

    async def _until(
        self,
        opened: Callable[[], Awaitable[GenerationRun]],
        done: Callable[[GenerationRun], bool],
        progress: Progress | None,
    ) -> int:
        failures = 0
        while True:
            run: GenerationRun | None = None
            try:
                run = await opened()
                while True:
                    more = await run.step()
                    failures = 0
                    if progress is not None:
                        progress(run.handled)
                    if done(run):  # though there may be more: others may write as fast as this handles
                        await run.save_place()
                        return run.handled
                    if not more:
                        await run.wait(0.05)
            except TransactionConflictError:
                failures += 1
                if failures > ATTEMPTS:
                    raise
                await self._pause(failures, cap=0.5)
            finally:
                if run is not None:
                    run.close()

    async def _pause(self, failures: int, cap: float) -> None:
        runtime = self.store.runtime
        await runtime.sleep(full_jitter(failures, runtime.random(), initial=0.02, cap=cap))

    # Rebuilding

    async def rebuild(self, progress: Progress | None = None) -> int:
        """Build the projection anew beside the one that is read, and have it take its place; events handled."""
        register = await self._begun()
        building = register.building
        assert building is not None
        handled = await self._approach(building, progress)
        while True:
            register = await self._building_register(building)
            if not register.is_held:
                await self.registers.write(replace(register, is_held=True))
                continue
            # As long as the register stays as it is, the current generation stands still: its commits check that it
            # is not held. So what is true of it here still is when this very register is replaced.
            reached = await self.saved_place(register.current.number)
            handled = await self._until(
                lambda: self._opened_building(building), lambda run, to=reached: run.has_reached(to), progress
            )
            old = (*register.old, register.current.number)
            if await self.registers.write(replace(register, current=building, building=None, is_held=False, old=old)):
                break
        await self.clean_up()
        return handled

    async def _approach(self, building: Generation, progress: Progress | None) -> int:
        """Bring a generation near to what is there, so that little is left to do while the current one stands still."""
        monotonic = self.store.runtime.monotonic
        before = float("inf")
        while True:
            began = monotonic()
            handled = await self._until(lambda: self._opened_building(building), lambda run: run.is_caught_up, progress)
            took = monotonic() - began
            if took < NEAR_SECONDS or took >= before:  # it comes no nearer: others write as fast as this handles
                return handled
            before = took

    async def _begun(self) -> Register:
        """The register with a generation that is being built, by this code."""
        name, version = self.projection.name, self.projection.version
        while True:
            register = await self.registers.find(name)
            if register is None:
                await self.registers.write(Register(name=name, current=Generation(1, version)))
                continue
            if version < register.current.version:
                raise ProjectionVersionError(name=name, running=version, current=register.current.version)
            building = register.building
            if building is not None and building.version == version:
                return register
            old = register.old if building is None else (*register.old, building.number)
            number = max(register.current.number, *old, building.number if building else 0) + 1
            begun = replace(register, building=Generation(number, version), is_held=False, old=old)
            if await self.registers.write(begun):
                return await self.registers.get(name)

    async def _building_register(self, building: Generation) -> Register:
        """The register, as long as this generation is being built.

        Raises:
            ProjectionVersionError: another rebuild took its place.
        """
        register = await self.registers.get(self.projection.name)
        if register.building != building:
            newer = register.building or register.current
            raise ProjectionVersionError(name=register.name, running=building.version, current=newer.version)
        return register

    async def _opened_building(self, building: Generation) -> GenerationRun:
        run = GenerationRun(self, await self._building_register(building), building.number)
        await run.open()
        return run

    async def clean_up(self) -> None:
        """Remove generations that are not read any more."""
        register = await self.registers.get(self.projection.name)
        for number in register.old:
            saved = await self.saved(number) or self.definition(number)
            await self.unpin(number)
            await remove_generation(self.store, self.owner, register.name, number, saved)
        while register.old:
            done = register.old
            if await self.registers.write(replace(register, old=())):
                return
            register = await self.registers.get(self.projection.name)
            if register.old != done:
                return


def _is_pruned(head: Document) -> bool:
    try:
        return decode_head(head)[0].tip.base is not None
    except CorruptionError:
        return False  # verify names it
