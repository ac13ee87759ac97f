"""What a persister writes: events, states, tombstones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson

from eventstate.core.codec import encode
from eventstate.core.delta import diff
from eventstate.core.expected import ANY, AnyVersion, check_expected
from eventstate.core.fold import PLAIN, Fold
from eventstate.core.format import (
    DELETED,
    NO_STATE,
    RESERVED,
    NewEvent,
)
from eventstate.core.ids import check_id, machine_of
from eventstate.core.metadata import metadata_to_plain
from eventstate.core.settlement import TokenRef
from eventstate.errors import (
    ConfigurationError,
    EventStateError,
    InvalidInputError,
    StateNotFoundError,
)
from eventstate.log.appending import Appended
from eventstate.log.commands import checked_key
from eventstate.log.planning import Change
from eventstate.machines.events import Event
from eventstate.machines.loading import Loading
from eventstate.machines.shapes import Shape
from eventstate.machines.states import StateSnapshot, written_state
from eventstate.transactions.fencing import Fences, fences_of

if TYPE_CHECKING:
    from eventstate.machines.protecting import ProtectedFold
    from eventstate.machines.together import AppendTo


class Writing(Loading):
    """The writing half of a persister."""

    async def append(
        self,
        state_id: str,
        events: Sequence[object],
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        idempotency_key: str | None,
        fence: Fences,
        reopen: bool,
    ) -> StateSnapshot[Any]:
        change = self.change(state_id, events, expected=expected, metadata=metadata, reopen=reopen)
        fingerprint = b""
        if idempotency_key is not None:
            fingerprint = self._fingerprint("append", state_id, list(map(_shown, self._new_events(state_id, events))))
        return (await self.append_changes((change,), idempotency_key, fingerprint, fence))[0]

    async def append_together(
        self, appends: Sequence[AppendTo], *, metadata: Mapping[str, Any], idempotency_key: str | None, fence: Fences
    ) -> list[StateSnapshot[Any]]:
        if not appends:
            raise InvalidInputError("append_together() without anything to append: pass AppendTo(...)")
        changes: list[Change] = []
        shown: list[Any] = []
        for append in appends:
            state_id, events = self.split(append.target, append.events)
            changes.append(
                self.change(state_id, events, expected=append.expected, metadata=metadata, reopen=append.reopen)
            )
            if idempotency_key is not None:
                shown.append([state_id, *(_shown(event) for event in self._new_events(state_id, events))])
        if len({change.id for change in changes}) != len(changes):
            raise InvalidInputError("two appends of one call name the same stream: put their events into one")
        return await self.append_changes(changes, idempotency_key, self._fingerprint("append", "", shown), fence)

    async def append_changes(
        self, changes: Sequence[Change], idempotency_key: str | None, fingerprint: bytes, fence: Fences = None
    ) -> list[StateSnapshot[Any]]:
        """Append to several streams in one commit."""
        key = checked_key(idempotency_key)
        fences = fences_of(fence, self.governor, self.store.epoch) if fence is not None else ()
        if self.protection is None:
            receipt = await self.appender.append(changes, idempotency_key=key, fingerprint=fingerprint, fences=fences)
        else:
            receipt = await self.protection.with_keys(
                lambda: self.appender.append(changes, idempotency_key=key, fingerprint=fingerprint, fences=fences)
            )
        if receipt.earlier is not None:
            return [await self.load(id, at_version=version) for id, version in receipt.earlier.items()]
        return [self._written(stream, receipt.position) for stream in receipt.streams]

    def change(
        self,
        state_id: str,
        events: Sequence[object],
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        reopen: bool = False,
    ) -> Change:
        """Events for one stream, encoded now: what the caller changes later has no effect."""
        encoded = self._new_events(state_id, events)
        fold = self.fold_of(state_id)
        carries_state = fold is PLAIN and all(event.state is not None for event in encoded)
        return self._change(
            state_id, fold, lambda _state, _version: encoded, expected, metadata, reopen, carries_state=carries_state
        )

    def _change(
        self,
        state_id: str,
        fold: Fold,
        events: Callable[[Any, int], Sequence[NewEvent]],
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        reopen: bool = False,
        tolerate_deleted: bool = False,
        carries_state: bool = False,
    ) -> Change:
        seen = None
        if isinstance(expected, StateSnapshot):
            if expected.id != state_id:
                raise InvalidInputError(f"expected= is a state of {expected.id!r}, not of {state_id!r}")
            seen = expected.known
            if seen is not None and seen.document.key != self.reader.key(state_id):
                owner = seen.document.key.owner
                raise InvalidInputError(f"expected= is a state of governor {owner!r}, not of {self.governor!r}")
            version = expected.version
        else:
            version = check_expected(expected)
        if fold.protects:
            events = cast("ProtectedFold", fold).protecting(events)
        return Change(state_id, fold, events, version, metadata, seen, reopen, tolerate_deleted, carries_state)

    def _new_events(self, state_id: str, events: Sequence[object]) -> list[NewEvent]:
        if not events:
            raise InvalidInputError(f"no events to append to {state_id!r}: pass at least one")
        machine = self.machines.get(machine_of(state_id))
        return [machine.new_event(event) if machine is not None else _plain_event(event) for event in events]

    async def execute(
        self,
        state_id: str,
        decide: Callable[..., Any],
        args: Sequence[object],
        *,
        metadata: Mapping[str, Any],
        idempotency_key: str | None,
        fence: Fences,
    ) -> StateSnapshot[Any]:
        change = self.decided(state_id, decide, args, metadata)
        fingerprint = b""
        if idempotency_key is not None:
            fingerprint = self.call_fingerprint("execute", state_id, decide, args)
        return (await self.append_changes([change], idempotency_key, fingerprint, fence))[0]

    def decided(
        self, state_id: str, decide: Callable[..., Any], args: Sequence[object], metadata: Mapping[str, Any]
    ) -> Change:
        """The events that ``decide`` names for the state as it is when they are planned."""
        fold = self.fold_of(state_id)
        rules = fold.bare

        def decided(state: Any, _version: int) -> Sequence[NewEvent]:
            # A copy: what decide does to its state must not reach the state the events are folded into.
            produced = decide(rules.load(orjson.loads(rules.dump(state)), rules.schema, state_id), *args)
            if produced is None:
                return ()
            events = list(cast("Sequence[object]", produced)) if isinstance(produced, list | tuple) else [produced]
            return self._new_events(state_id, events) if events else ()

        return self._change(state_id, fold, decided, ANY, metadata)

    def call_fingerprint(
        self, command: str, state_id: str, function: Callable[..., Any], args: Sequence[object]
    ) -> bytes:
        """What tells a call of a function from others: its name and its arguments.

        Raises:
            InvalidInputError: an argument has no JSON form.
        """
        while isinstance(function, partial):  # what is bound beforehand tells calls apart as well
            args = (*function.args, *sorted(function.keywords.items()), *args)
            function = function.func
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return self._fingerprint(command, state_id, [name, *(_plain_argument(arg) for arg in args)])

    async def record(
        self,
        state_id: str,
        action: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        idempotency_key: str | None = None,
        fence: Fences = None,
        must_exist: bool = False,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Record a whole new state under an action: as a difference where that is shorter."""
        text = self.fold_of(state_id).bare.dump(data)
        change = self.recorded(
            state_id, action, text, expected=expected, metadata=metadata, must_exist=must_exist, reopen=reopen
        )
        fingerprint = b""
        if idempotency_key is not None:
            fingerprint = self._fingerprint("record", state_id, [action, text.decode()])
        return (await self.append_changes([change], idempotency_key, fingerprint, fence))[0]

    def recorded(
        self,
        state_id: str,
        action: str,
        text: bytes,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        must_exist: bool,
        reopen: bool,
    ) -> Change:
        """The event that leads to a whole new state, given as JSON text."""
        fold = self.fold_of(state_id)
        check_id("action", action)
        if action.startswith(RESERVED):
            raise InvalidInputError(f"action {action!r}: names beginning with {RESERVED!r} are reserved")

        def recorded(state: Any, version: int) -> Sequence[NewEvent]:
            if must_exist and version == 0:
                raise StateNotFoundError(governor=self.governor, state_id=state_id)
            # A difference would be worth nothing once the state that it is one to is erased.
            if version == 0 or fold.protects:
                return (NewEvent(action, state=text),)
            if fold is PLAIN:
                delta = _delta(state, text)
                return (NewEvent(action, state=text) if delta is None else NewEvent(action, delta=delta, result=text),)
            delta = _delta(orjson.loads(fold.dump(state)), text)
            return (NewEvent(action, state=text) if delta is None else NewEvent(action, delta=delta),)

        return self._change(state_id, fold, recorded, expected, metadata, reopen)

    async def update(
        self,
        state_id: str,
        action: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        idempotency_key: str | None,
        fence: Fences,
    ) -> StateSnapshot[Any]:
        return await self.record(
            state_id,
            action,
            data,
            expected=expected,
            metadata=metadata,
            idempotency_key=idempotency_key,
            fence=fence,
            must_exist=expected != 0,
        )

    async def log_transition(
        self,
        from_state: StateSnapshot[Any] | None,
        to_state: StateSnapshot[Any],
        action: str,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion | None,
        metadata: Mapping[str, Any],
        idempotency_key: str | None,
        fence: Fences,
    ) -> StateSnapshot[Any]:
        if from_state is not None and from_state.id != to_state.id:
            raise InvalidInputError(
                f"a transition from {from_state.id!r} to {to_state.id!r}: pass two states of one id"
            )
        if expected is None:
            expected = from_state if from_state is not None and from_state.version > 0 else 0
        state_id = check_id("state id", to_state.id)
        return await self.record(
            state_id,
            action,
            to_state.data,
            expected=expected,
            metadata=metadata,
            idempotency_key=idempotency_key,
            fence=fence,
        )

    async def delete(
        self,
        state_id: str,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        fence: Fences,
    ) -> int:
        """Append a tombstone; the version of the stream. Deleting again changes nothing."""
        change = self.deleted(state_id, expected, metadata)
        receipt = await self.appender.append([change], fences=fences_of(fence, self.governor, self.store.epoch))
        return receipt.streams[0].tip.version

    def deleted(
        self, state_id: str, expected: int | StateSnapshot[Any] | AnyVersion, metadata: Mapping[str, Any]
    ) -> Change:
        """A tombstone."""

        def tombstone(_state: Any, version: int) -> Sequence[NewEvent]:
            if version == 0:
                raise StateNotFoundError(governor=self.governor, state_id=state_id)
            return (NewEvent(DELETED),)

        fold = self.fold_of(state_id)
        return self._change(state_id, fold, tombstone, expected, metadata, tolerate_deleted=True)

    async def settle(self, token: str) -> bool:
        """Whether the commit of a token is applied; if not, it never will be."""
        reference = TokenRef.parse(token)
        self.appender.forget(reference.stream)
        return await self.appender.committer.settle(reference)

    def _fingerprint(self, command: str, state_id: str, parts: Sequence[Any]) -> bytes:
        return orjson.dumps([command, state_id, *parts])

    def _written(self, stream: Appended, position: int | None) -> StateSnapshot[Any]:
        if stream.known.tip is not None:
            return written_state(stream.known, stream.tip, stream.state, stream.action, position)
        tip = stream.tip
        before = tip.version - 1
        return self.snapshot(tip, stream.state, stream.action, stream.metadata, before, stream.known, position=position)


def _delta(before: Any, after: bytes) -> bytes | None:
    """The difference between two states, or None where the whole state is no longer."""
    try:
        delta = orjson.dumps(diff(before, orjson.loads(after)))
    except TypeError:  # a difference nests deeper than what it is of, too deep here
        return None
    return delta if len(delta) < len(after) else None


def _plain_event(event: object) -> NewEvent:
    if not isinstance(event, Event):
        raise ConfigurationError(
            f"{type(event).__name__} needs its Machine: pass it in machines=[...], or use Event(type, state=...)"
        )
    check_id("event type", event.type)
    if event.type.startswith(RESERVED):
        raise ConfigurationError(f"event type {event.type!r}: names beginning with {RESERVED!r} are reserved")
    if event.state is NO_STATE:
        raise ConfigurationError(f"event {event.type!r} says no state=, and no machine is given to work it out")
    metadata = metadata_to_plain(event.metadata) if event.metadata is not None else None
    data = None if event.data is None else encode(event.data, f"$.{event.type}")
    return NewEvent(event.type, data, state=encode(event.state, "$.state"), metadata=metadata)


def _shown(event: NewEvent) -> list[Any]:
    texts = (event.data, event.state, event.delta)
    return [event.type, *(text.decode() if text is not None else None for text in texts)]


def _plain_argument(argument: object) -> Any:
    try:
        return encode(argument, "$").decode()
    except EventStateError:
        try:
            return Shape(type(argument), "$").encoded(argument).decode()
        except EventStateError as error:
            raise InvalidInputError(
                f"with idempotency_key, execute() must recognise its arguments: {argument!r} has no JSON form ({error})"
            ) from None
