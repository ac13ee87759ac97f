"""Running projections: events handled, what their handler writes, and how far it is, all in one commit.

Everything a commit writes is guarded by the document that says how far the generation is: of two that work on it, one
is refused and begins anew from what is saved. So whatever happens between a handler's call and its commit, each event
has its effect once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from eventstate.core.backoff import full_jitter
from eventstate.core.codec import encode
from eventstate.core.documents import HEAD, PIN, Batch, Delete, Document, Key, Operation, Put, Require
from eventstate.core.format import decode_head
from eventstate.core.pins import pin_operations, unpin_operations
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    DocumentTooLargeError,
    InvalidInputError,
    ProjectionVersionError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.log.following import Followed, Follower, Place, Selection, Stream, follow
from eventstate.log.positions import Definition, Positions, definition_of, delete_saved, saved_place
from eventstate.log.projections import (
    Generation,
    Register,
    Registers,
    Tally,
    check_projection_name,
    definition,
    document_body,
    document_key,
    generation_key,
    remove_generation,
    tally_of,
    value_of,
)
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery, deliveries_of
from eventstate.machines.machine import Machine
from eventstate.machines.subscribing import selection_of
from eventstate.stores.base import Store

PAGE: Final = 250
"""Entries read at once."""
MAX_OPERATIONS: Final = 200
MAX_BYTES: Final = 1_500_000
MAX_ENTRY_OPERATIONS: Final = 450
MAX_ENTRY_BYTES: Final = 3_000_000
BODY_OVERHEAD: Final = 200
MAX_STREAMS: Final = 100
"""What one commit holds at most, unless a single entry makes more of it."""
MAX_CACHED_BYTES: Final = 32 * 1024 * 1024
SAVE_SECONDS: Final = 5.0
"""How often a place is saved that has moved over events nobody wanted."""
HOLD_SECONDS: Final = 20.0
"""After so long a switch that has not ended is taken for dead, and the projection goes on as it was."""
NEAR_SECONDS: Final = 1.0
"""A rebuild that needs no longer than this for what has come meanwhile is near enough for the switch."""
POLL_SECONDS: Final = 1.0
_PIN: Final = "projection"
ATTEMPTS: Final = 20


class Projection:
    """Declares a projection: documents that follow from events.

    Args:
        name: 1 to 40 letters, digits, ``_``, ``-`` or ``.``.
        handler: ``handler(event, view)``: an event as subscriptions deliver it, and the documents of the projection. It
            reads and writes them through ``view`` and does nothing else: it may run again for an event whose commit
            did not come about. A coroutine function for asyncio.
        version: raise it when the code of the handler, or what it is handed, changes: then the projection is rebuilt.
        machines: only events of these machines, by name or declaration; of all unless given.
        actions: only events of these types.
        accept_pruned: begin although some streams are pruned, so that their first events are never handed over.

    Raises:
        InvalidIdError, InvalidInputError: one of them can't be used.
    """

    def __init__(
        self,
        name: str,
        handler: Callable[[Delivery, Any], Any],
        *,
        version: int = 1,
        machines: Iterable[Machine[Any, Any] | str] | None = None,
        actions: Iterable[str] | None = None,
        accept_pruned: bool = False,
    ) -> None:
        self.name = check_projection_name(name)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"projection {name!r}: version={version!r}, versions begin at 1")
        self.handler = handler
        self.version = version
        self.accept_pruned = accept_pruned
        chosen = selection_of(None, None, machines, actions)
        self.machines = chosen.machines
        self.actions = chosen.actions

    def __repr__(self) -> str:
        return f"Projection({self.name!r}, version={self.version})"


Call = Callable[[Delivery, "ViewBuffer"], Awaitable[None]]
Progress = Callable[[int], None]


class ViewBuffer:
    """The documents of one generation, as its handler reads and writes them between two commits."""

    def __init__(self, store: Store, owner: str, name: str, number: int) -> None:
        self._store = store
        self._owner = owner
        self._name = name
        self._number = number
        self._kept: dict[Key, bytes | None] = {}
        """Values as they are in the store, or will be with the next commit; None for what is not there."""
        self._kept_bytes = 0
        self._pending: dict[Key, bytes | None] = {}
        self._pending_bytes = 0
        self._entry: dict[Key, bytes | None] = {}
        """What the handler has written for the present entry: taken back if it fails."""

    async def get(self, id: str) -> Any:
        """The value of a document, or None where there is none."""
        text = await self._text(document_key(self._owner, self._name, self._number, id))
        return None if text is None else orjson.loads(text)

    async def put(self, id: str, value: Any) -> None:
        key, text = document_key(self._owner, self._name, self._number, id), encode(value)
        limit = self._store.capabilities.max_body_bytes - BODY_OVERHEAD
        if len(text) > limit:
            raise DocumentTooLargeError(what=f"the document {id!r}", size=len(text), limit=limit)
        self._entry[key] = text

    async def delete(self, id: str) -> None:
        self._entry[document_key(self._owner, self._name, self._number, id)] = None

    async def _text(self, key: Key) -> bytes | None:
        for texts in (self._entry, self._pending, self._kept):
            if key in texts:
                return texts[key]
        document = (await self._store.get((key,))).documents.get(key)
        text = None if document is None else encode(value_of(document))
        self._keep(key, text)
        return text

    def _keep(self, key: Key, text: bytes | None) -> None:
        if self._kept_bytes > MAX_CACHED_BYTES:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept[key] = text
        self._kept_bytes += 200 + len(text or b"")

    def check_entry(self) -> None:
        """Raise where the events of one commit write more than one commit can hold."""
        if len(self._entry) > MAX_ENTRY_OPERATIONS:
            raise InvalidInputError(f"{len(self._entry)} documents for one commit, the limit is {MAX_ENTRY_OPERATIONS}")
        size = sum(len(text or b"") for text in self._entry.values())
        if size > MAX_ENTRY_BYTES:
            raise DocumentTooLargeError(what="what the events of one commit write", size=size, limit=MAX_ENTRY_BYTES)

    def end_entry(self) -> None:
        """What was written for an entry is to be committed."""
        self._pending.update(self._entry)
        self._pending_bytes += sum(len(text or b"") for text in self._entry.values())
        self._entry.clear()

    def drop_entry(self) -> None:
        """Take back what was written for an entry."""
        self._entry.clear()

    @property
    def is_full(self) -> bool:
        return len(self._pending) >= MAX_OPERATIONS or self._pending_bytes > MAX_BYTES

    @property
    def is_crowded(self) -> bool:
        """Whether what the present entry wrote had better not be committed together with what came before it."""
        size = self._pending_bytes + sum(len(text or b"") for text in self._entry.values())
        return len(self._pending) + len(self._entry) > MAX_OPERATIONS or size > MAX_BYTES

    def operations(self, token: str) -> list[Operation]:
        """What the next commit writes."""
        return [
            Delete(key, Require.ANY) if text is None else Put(key, document_body(key, text, token), Require.ANY)
            for key, text in self._pending.items()
        ]

    def committed(self) -> None:
        for key, text in self._pending.items():
            self._keep(key, text)
        self._pending.clear()
        self._pending_bytes = 0


class GenerationRun:
    """One generation at work in this process. Thrown away after any failure: the next one begins from what is saved."""

    def __init__(self, projecting: Projecting, register: Register, number: int) -> None:
        self._projecting = projecting
        self._store = projecting.store
        self._register = register
        self._number = number
        self._definition = projecting.definition(number)
        self._positions = Positions(self._store, self._definition)
        self._view = ViewBuffer(self._store, projecting.owner, projecting.projection.name, number)
        self._follower: Follower | None = None
        self._tally = Tally()
        self._handled = 0
        self._place = Place()
        self._position: int | None = None
        self._is_pinned = False
        self._moved: dict[Stream, int] = {}
        self._saved_at = self._store.runtime.monotonic()

    @property
    def handled(self) -> int:
        """Events in all, those of earlier runs included."""
        return self._tally.events

    @property
    def place(self) -> Place:
        """Up to where it has come, as is saved."""
        return self._place

    @property
    def is_caught_up(self) -> bool:
        return self._follower is not None and self._follower.is_caught_up

    async def open(self) -> None:
        """Go to where the generation is.

        Raises:
            ConfigurationError: it would begin, and the first events of some streams are pruned.
            CorruptionError: its saved place is gone.
            TransactionConflictError: another process begins it too; open it again.
        """
        positions = self._positions
        if (await self._projecting.saved(self._number) or self._definition) != self._definition:
            raise ConfigurationError(
                f"projection {self._projecting.projection.name!r} was built with other machines= or actions=: raise its"
                " version and rebuild it"
            )
        await positions.load()
        self._tally = await self._projecting.tally(self._number)
        if positions.is_new:
            if self._tally.events:
                problem = "it says how far a projection is, and is gone; the documents are not: rebuild the projection"
                raise CorruptionError(where=str(self._definition.key), problem=problem)
            await self._begin()
        self._is_pinned = await self._projecting.is_pinned(self._number)
        if self._is_pinned and not self._tally.events:  # whoever began it may have died before its second look
            await self._check_begun()
        self._place = positions.place
        self._follower = follow(self._store, self._definition.selection, positions.place)

    async def _begin(self) -> None:
        await self._check_whole()
        beginning = Place(0 if self._definition.order == "store" else None)

        def extra(token: str) -> Sequence[Operation]:
            return (*self._checked(token), *self._projecting.pin(self._number, token))

        await self._positions.save(beginning, extra)

    async def _check_begun(self) -> None:
        try:
            await self._check_whole()  # a prune may have been faster than the pin; none that comes later can be
        except ConfigurationError:
            await delete_saved(self._store, self._definition)
            await self._projecting.unpin(self._number)
            raise

    async def _check_whole(self) -> None:
        projection = self._projecting.projection
        pruned = None if projection.accept_pruned else await self._projecting.first_pruned()
        if pruned is not None:
            raise ConfigurationError(
                f"projection {projection.name!r} would not see the first events of {pruned!r}, which are pruned: pass"
                " accept_pruned=True to build it from what is left"
            )

    def _checked(self, _token: str) -> Sequence[Operation]:
        return (self._projecting.registers.check(self._register),)

    async def step(self) -> bool:
        """Handle a page of events; whether there may be more at once.

        Raises:
            TransactionConflictError: another process works on it too, or it was switched over.
            Exception: of the handler; everything before its event is committed.
        """
        assert self._follower is not None
        reading = await self._follower.read(PAGE)
        for followed in reading.entries:
            try:
                await self._handle(followed)
            except Exception as error:
                self._view.drop_entry()
                await self._save(self._positions.place.hint)
                await self._check_alone()
                error.add_note(f"projection {self._projecting.projection.name!r} stopped at {followed.key}")
                raise
            if self._view.is_full or len(self._moved) >= MAX_STREAMS:
                await self._save(self._positions.place.hint)
        await self._save(self._follower.place.hint)
        if self._store.runtime.monotonic() - self._saved_at > SAVE_SECONDS:
            await self.save_place()
        if self._is_pinned and self.is_caught_up:
            await self._projecting.unpin(self._number)  # from here on its saved place says what is still needed
            self._is_pinned = False
        return reading.more

    async def _check_alone(self) -> None:
        """An error passes only if what its handler had read was as of this place.

        Raises:
            TransactionConflictError: another process has gone further, or the projection was switched over.
        """
        expected = (self._positions.check(), self._projecting.registers.check(self._register))
        found = (await self._store.get([check.key for check in expected])).documents
        if any(check.key not in found or found[check.key].revision != check.when for check in expected):
            detail = "another process has gone on"
            raise TransactionConflictError(keys=(str(self._definition.key),), detail=detail) from None

    async def _handle(self, followed: Followed) -> None:
        if followed.problem is not None:
            raise followed.problem
        handled = 0
        for delivery in deliveries_of(followed, self._definition.selection, self._projecting.machines):
            await self._projecting.call(delivery, self._view)
            handled += 1
        self._view.check_entry()
        if self._view.is_crowded:
            await self._save(self._positions.place.hint)
        self._view.end_entry()
        self._handled += handled
        self._position = followed.position
        self._moved[followed.stream] = followed.version

    async def _save(self, hint: int) -> None:
        """Commit what was handled, and how far that is."""
        if not self._moved:
            return
        tally = Tally(self._tally.events + self._handled, self._store.runtime.now())
        is_ordered = self._definition.order == "store"
        place = Place(self._position) if is_ordered else Place(None, self._moved, hint)

        def extra(token: str) -> Sequence[Operation]:
            members = {"t": token, "events": tally.events, "at": tally.at}
            own = Put(self._projecting.tally_key(self._number), orjson.dumps(members), Require.ANY)
            return (*self._checked(token), own, *self._view.operations(token))

        await self._positions.save(place, extra)
        self._place = place if is_ordered else Place(None, {**self._place.versions, **self._moved}, hint)
        self._view.committed()
        self._moved = {}
        self._handled = 0
        self._tally = tally
        self._saved_at = self._store.runtime.monotonic()

    async def save_place(self) -> None:
        """Save a place that has moved on over what is not wanted. Everything handled is committed already."""
        assert self._follower is not None
        place = self._follower.place
        self._saved_at = self._store.runtime.monotonic()
        if self._definition.order == "store":
            if place.position != self._place.position:
                await self._positions.save(place, self._checked)
        else:
            known = self._place.versions
            changed = {stream: version for stream, version in place.versions.items() if known.get(stream) != version}
            if changed:
                await self._positions.save(place._replace(versions=changed), self._checked)
        self._place = place

    def has_reached(self, place: Place) -> bool:
        """Whether everything up to a place has been read."""
        assert self._follower is not None
        reached = self._follower.place
        if self._definition.order == "store":
            return (reached.position or 0) >= (place.position or 0)
        takes = self._definition.selection.takes_stream
        wanted = {stream: version for stream, version in place.versions.items() if takes(Key(HEAD, *stream))}
        return all(reached.versions.get(stream, 0) >= version for stream, version in wanted.items())

    async def wait(self, seconds: float) -> None:
        assert self._follower is not None
        await self._follower.wait(seconds)

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()


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
