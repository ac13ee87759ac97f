"""What both persisters do, written once: coroutines that wait only through the store's runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from eventstate.core.causality import VectorClock
from eventstate.core.codec import encode
from eventstate.core.delta import diff
from eventstate.core.documents import HEAD, SNAPSHOT, Committed, Document, Key
from eventstate.core.expected import ANY, AnyVersion, check_expected
from eventstate.core.fold import PLAIN, Fold
from eventstate.core.format import (
    DELETED,
    NO_STATE,
    RESERVED,
    Head,
    Image,
    NewEvent,
    Tip,
    decode_head,
    decode_snapshot,
    encode_head,
)
from eventstate.core.ids import check_id, machine_of
from eventstate.core.instants import micros_of, utc_of
from eventstate.core.metadata import NO_METADATA, ChangeMetadata, metadata_from_plain, metadata_to_plain
from eventstate.core.planner import plan_head, plan_snapshot
from eventstate.core.settlement import TokenRef
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    EventStateError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionNotFoundError,
)
from eventstate.log.appending import Appended, Appender, Change, Receipt, checked_key
from eventstate.log.history import HistoryReader, TimeReader
from eventstate.log.reading import Known, StreamReader, usable
from eventstate.log.verify import ConsistencyReport, Verifier
from eventstate.machines.events import Event
from eventstate.machines.machine import Machine
from eventstate.machines.shapes import Shape
from eventstate.machines.states import RecoveredState, StatePage, StateSnapshot, StoreStats, Transition
from eventstate.machines.together import AppendTo
from eventstate.stores.base import Store


def metadata_of(
    changed_by: str | None = None,
    reason: str | None = None,
    context: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    occurred_at: datetime | None = None,
) -> ChangeMetadata:
    """The metadata of one call from its keyword arguments."""
    if all(value is None for value in (changed_by, reason, context, correlation_id, causation_id, occurred_at)):
        return NO_METADATA
    return ChangeMetadata(
        changed_by=changed_by,
        reason=reason,
        context=context or {},
        correlation_id=correlation_id,
        causation_id=causation_id,
        occurred_at=occurred_at,
    )


class PersisterCore:
    """The operations of a persister on one governor of one store."""

    def __init__(
        self, store: Store, governor: str, machines: Iterable[Machine[Any, Any]], policy: SnapshotPolicy
    ) -> None:
        self.store = store
        self.governor = check_id("governor", governor)
        self.machines: dict[str, Machine[Any, Any]] = {}
        for machine in machines:
            if self.machines.setdefault(machine.name, machine) is not machine:
                raise ConfigurationError(f"two machines are named {machine.name!r}")
        self._policy = policy
        self.reader = StreamReader(store, self.governor)
        self._appender = Appender(store, self.governor, self.reader, policy)
        self._history = HistoryReader(store, self.governor)

    # Naming

    def resolve(self, target: Machine[Any, Any] | str, id: str | None) -> str:
        """The full state id of ``(machine, id)``, ``(machine name, id)`` or a full id alone."""
        if isinstance(target, Machine):
            if self.machines.get(target.name) is not target:
                raise ConfigurationError(f"{target!r} is not among this persister's machines=[...]")
            if id is None:
                raise InvalidInputError(f"which {target.name}? Pass its id")
            return target.state_id(id)
        if id is None:
            return check_id("state id", target)
        if not isinstance(target, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"{target!r} is no machine and no state id")
        return check_id("state id", f"{target}-{check_id('id', id)}")

    def split(self, target: Machine[Any, Any] | str, rest: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """The state id and the events of ``(machine, id, *events)`` or ``(state_id, *events)``."""
        if isinstance(target, Machine):
            return self.resolve(target, rest[0] if rest else None), rest[1:]
        if len(rest) > 1 and isinstance(rest[0], str):
            return self.resolve(target, rest[0]), rest[1:]
        return self.resolve(target, None), rest

    def fold_of(self, state_id: str) -> Fold:
        """The rules for a stream: those of its machine, or plain ones."""
        return self.machines.get(machine_of(state_id), PLAIN)

    # Writing

    async def append(
        self,
        state_id: str,
        events: Sequence[object],
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: ChangeMetadata,
        idempotency_key: str | None,
        reopen: bool,
    ) -> StateSnapshot[Any]:
        change = self.change(state_id, events, expected=expected, metadata=metadata, reopen=reopen)
        fingerprint = self._fingerprint("append", state_id, [_shown(e) for e in self._new_events(state_id, events)])
        return (await self.append_changes([change], idempotency_key, fingerprint))[0]

    async def append_together(
        self, appends: Sequence[AppendTo], *, metadata: ChangeMetadata, idempotency_key: str | None
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
            shown.append([state_id, *(_shown(event) for event in self._new_events(state_id, events))])
        if len({change.id for change in changes}) != len(changes):
            raise InvalidInputError("two appends of one call name the same stream: put their events into one")
        return await self.append_changes(changes, idempotency_key, self._fingerprint("append", "", shown))

    async def append_changes(
        self, changes: Sequence[Change], idempotency_key: str | None, fingerprint: bytes
    ) -> list[StateSnapshot[Any]]:
        """Append to several streams in one commit."""
        key = checked_key(idempotency_key)
        receipt = await self._appender.append(changes, idempotency_key=key, fingerprint=fingerprint)
        return await self._results(receipt, changes)

    def change(
        self,
        state_id: str,
        events: Sequence[object],
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: ChangeMetadata,
        reopen: bool = False,
    ) -> Change:
        """Events for one stream, encoded now: what the caller changes later has no effect."""
        machine = self.machines.get(machine_of(state_id))
        encoded = self._new_events(state_id, events)

        def checked(state: Any, _version: int) -> Sequence[NewEvent]:
            if machine is not None:
                _check_transitions(machine, state, encoded)
            return encoded

        return self._change(state_id, checked, expected, metadata, reopen)

    def _change(
        self,
        state_id: str,
        events: Callable[[Any, int], Sequence[NewEvent]],
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: ChangeMetadata,
        reopen: bool = False,
        tolerate_deleted: bool = False,
    ) -> Change:
        seen = None
        if isinstance(expected, StateSnapshot):
            if expected.id != state_id:
                raise InvalidInputError(f"expected= is a state of {expected.id!r}, not of {state_id!r}")
            seen = expected.known
            version = expected.version
        else:
            version = check_expected(expected)
        return Change(
            id=state_id,
            fold=self.fold_of(state_id),
            events=events,
            expected=version,
            metadata=orjson.loads(encode(metadata_to_plain(metadata), "$.metadata")),
            seen=seen,
            reopen=reopen,
            tolerate_deleted=tolerate_deleted,
        )

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
        metadata: ChangeMetadata,
        idempotency_key: str | None,
    ) -> StateSnapshot[Any]:
        machine = self.machines.get(machine_of(state_id))

        def decided(state: Any, _version: int) -> Sequence[NewEvent]:
            produced = decide(state, *args)
            if produced is None:
                return ()
            events = list(produced) if isinstance(produced, list | tuple) else [produced]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            if not events:
                return ()
            encoded = self._new_events(state_id, events)
            if machine is not None:
                current = machine.load(orjson.loads(machine.dump(state)), machine.schema, state_id)
                _check_transitions(machine, current, encoded)
            return encoded

        change = self._change(state_id, decided, ANY, metadata)
        fingerprint = b""
        if idempotency_key is not None:
            name = getattr(decide, "__qualname__", type(decide).__qualname__)
            fingerprint = self._fingerprint("execute", state_id, [name, *(_plain_argument(arg) for arg in args)])
        return (await self.append_changes([change], idempotency_key, fingerprint))[0]

    async def record(
        self,
        state_id: str,
        action: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: ChangeMetadata,
        idempotency_key: str | None = None,
        must_exist: bool = False,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Record a whole new state under an action: as a difference where that is shorter."""
        fold = self.fold_of(state_id)
        text = fold.dump(data)
        check_id("action", action)
        if action.startswith(RESERVED):
            raise InvalidInputError(f"action {action!r}: names beginning with {RESERVED!r} are reserved")

        def recorded(state: Any, version: int) -> Sequence[NewEvent]:
            if must_exist and version == 0:
                raise StateNotFoundError(governor=self.governor, state_id=state_id)
            if isinstance(fold, Machine):
                fold.check_legal(state, action)
                fold.check_led_to(state, action, fold.load(orjson.loads(text), fold.schema, state_id))
            if version == 0:
                return (NewEvent(action, state=text),)
            delta = orjson.dumps(diff(orjson.loads(fold.dump(state)), orjson.loads(text)))
            return (NewEvent(action, delta=delta) if len(delta) < len(text) else NewEvent(action, state=text),)

        change = self._change(state_id, recorded, expected, metadata, reopen)
        fingerprint = self._fingerprint("record", state_id, [action, text.decode()])
        return (await self.append_changes([change], idempotency_key, fingerprint))[0]

    async def update(
        self,
        state_id: str,
        action: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: ChangeMetadata,
        idempotency_key: str | None,
    ) -> StateSnapshot[Any]:
        return await self.record(
            state_id,
            action,
            data,
            expected=expected,
            metadata=metadata,
            idempotency_key=idempotency_key,
            must_exist=expected != 0,
        )

    async def log_transition(
        self,
        from_state: StateSnapshot[Any] | None,
        to_state: StateSnapshot[Any],
        action: str,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion | None,
        metadata: ChangeMetadata,
        idempotency_key: str | None,
    ) -> StateSnapshot[Any]:
        if from_state is not None and from_state.id != to_state.id:
            raise InvalidInputError(f"a transition from {from_state.id!r} to {to_state.id!r}: pass two states of one id")
        if expected is None:
            expected = from_state if from_state is not None and from_state.version > 0 else 0
        state_id = check_id("state id", to_state.id)
        return await self.record(
            state_id, action, to_state.data, expected=expected, metadata=metadata, idempotency_key=idempotency_key
        )

    async def delete(
        self, state_id: str, *, expected: int | StateSnapshot[Any] | AnyVersion, metadata: ChangeMetadata
    ) -> int:
        """Append a tombstone; the version of the stream. Deleting again changes nothing."""

        def tombstone(_state: Any, version: int) -> Sequence[NewEvent]:
            if version == 0:
                raise StateNotFoundError(governor=self.governor, state_id=state_id)
            return (NewEvent(DELETED),)

        change = self._change(state_id, tombstone, expected, metadata, tolerate_deleted=True)
        receipt = await self._appender.append([change])
        return receipt.streams[0].tip.version

    async def settle(self, token: str) -> bool:
        """Whether the commit of a token is applied; if not, it never will be."""
        reference = TokenRef.parse(token)
        self._appender.forget(reference.stream)
        return await self._appender.committer.settle(reference)

    def _fingerprint(self, command: str, state_id: str, parts: Sequence[Any]) -> bytes:
        return orjson.dumps([command, state_id, *parts])

    async def _results(self, receipt: Receipt, changes: Sequence[Change]) -> list[StateSnapshot[Any]]:
        if receipt.earlier is not None:
            return [await self.load(id, at_version=version) for id, version in receipt.earlier.items()]
        return [self._written(stream, receipt.position) for stream in receipt.streams]

    def _written(self, stream: Appended, position: int | None) -> StateSnapshot[Any]:
        tip = stream.tip
        fold = self.fold_of(tip.id)
        state = None if tip.deleted else fold.load(orjson.loads(fold.dump(stream.state)), fold.schema, tip.id)
        before = tip.version - 1
        return self._snapshot(tip, state, stream.action, stream.metadata, before, stream.known, position=position)

    def _snapshot(
        self,
        tip: Tip,
        state: Any,
        action: str,
        metadata: Mapping[str, Any],
        before: int,
        known: Known | None,
        *,
        recovered: bool = False,
        position: int | None = None,
    ) -> StateSnapshot[Any]:
        return StateSnapshot(
            id=tip.id,
            data=state,
            version=tip.version,
            timestamp=utc_of(tip.at),
            metadata=metadata_from_plain(metadata, max(before, 0)),
            causality=VectorClock(tip.clock),
            action=action,
            recovered=recovered,
            position=position,
            known=known,
        )

    # Reading

    async def load(
        self, state_id: str, *, at_version: int | None = None, at_time: datetime | None = None
    ) -> StateSnapshot[Any]:
        if at_version is not None and at_time is not None:
            raise InvalidInputError("pass at_version or at_time, not both")
        if at_version is not None:
            return await self._load_version(state_id, _version(at_version))
        if at_time is not None:
            return await self._load_time(state_id, micros_of(at_time, "at_time"))
        known, recovered = await self._known(state_id)
        fold = self.fold_of(state_id)
        try:
            head, state, rebuilt = await self.reader.state_of(known, fold)
        except CorruptionError as error:
            if error.where != str(known.document.key):
                raise
            known, recovered = await self._known_from_log(state_id), True
            head, state, rebuilt = await self.reader.state_of(known, fold)
        self._check_there(head.tip)
        if rebuilt:
            known = Known(known.document, fold.dump(state))
        if known.document.revision:
            self._appender.remember(state_id, known)
        return self._current(head, state, known, recovered or (rebuilt and head.image is not None))

    async def _known(self, state_id: str) -> tuple[Known, bool]:
        try:
            document = await self.reader.head_document(state_id)
        except CorruptionError:
            return await self._known_from_log(state_id), True
        if document is None:
            raise StateNotFoundError(governor=self.governor, state_id=state_id)
        return Known(document), False

    async def _known_from_log(self, state_id: str) -> Known:
        """A stand-in for a bad head, made from the entries; nothing is written."""
        tip = await self.reader.repaired(state_id)
        body = encode_head(tip, None, token="", action="", metadata={})
        return Known(Document(tip.key, body, "", tip.at))

    def _check_there(self, tip: Tip) -> None:
        if tip.version == 0:
            raise StateNotFoundError(governor=self.governor, state_id=tip.id)
        if tip.deleted:
            raise StateDeletedError(state_id=tip.id, version=tip.version)

    def _current(self, head: Head, state: Any, known: Known | None, recovered: bool) -> StateSnapshot[Any]:
        before = head.tip.version - 1
        return self._snapshot(head.tip, state, head.action, head.metadata, before, known, recovered=recovered)

    async def tip_of(self, state_id: str) -> Tip:
        """The tip of a stream that has events, from its head or else from its entries."""
        known, _ = await self._known(state_id)
        try:
            tip = decode_head(known.document)[0].tip
        except CorruptionError:
            tip = await self.reader.repaired(state_id)
        if tip.version == 0:
            raise StateNotFoundError(governor=self.governor, state_id=state_id)
        return tip

    async def _load_version(self, state_id: str, version: int) -> StateSnapshot[Any]:
        tip = await self.tip_of(state_id)
        fold = self.fold_of(state_id)
        at = await self.reader.rebuild(tip, fold, version)
        event = at.event or await self._history.event(tip, version)
        if event.type == DELETED:
            raise StateDeletedError(state_id=state_id, version=version)
        return StateSnapshot(
            id=state_id,
            data=at.state,
            version=version,
            timestamp=utc_of(event.at),
            metadata=metadata_from_plain(event.metadata, version - 1),
            causality=VectorClock(event.clock),
            action=event.type,
        )

    async def _load_time(self, state_id: str, at: int) -> StateSnapshot[Any]:
        tip = await self.tip_of(state_id)
        version = await TimeReader(self.store, self.governor).version_at(tip, at)
        if version is None:
            first = tip.base.version if tip.base else 1
            raise VersionNotFoundError(state_id=state_id, asked=f"state at {utc_of(at)}", first=first, last=tip.version)
        return await self._load_version(state_id, version)

    async def states_page_at(self, at: datetime, after: str, limit: int) -> StatePage:
        """The states that existed at a time, of some of the streams."""
        micros = micros_of(at, "at")
        page = await self.store.scan(HEAD, self.governor, after=self._after(after), limit=limit)
        states: list[StateSnapshot[Any]] = []
        for document in page.documents:
            try:
                states.append(await self._load_time(document.key.id, micros))
            except (VersionNotFoundError, StateDeletedError, StateNotFoundError):
                continue
        return StatePage(states, page.next.id if page.next else None)

    async def history_page(
        self, state_id: str, first: int, last: int | None, limit: int = 500
    ) -> tuple[list[Transition], int | None]:
        """Transitions from a version on, and the version to go on from (None at the end)."""
        tip = await self.tip_of(state_id)
        base = tip.base.version if tip.base else 0
        start = max(_version(first), base + 1)
        end = tip.version if last is None else min(_version(last), tip.version)
        if start > end:
            return [], None
        stop = min(end, start + limit - 1)
        transitions = await self._history.transitions(tip, self.fold_of(state_id), self.reader, start, stop)
        return [self._transition(state_id, t) for t in transitions], stop + 1 if stop < end else None

    def _transition(self, state_id: str, step: Any) -> Transition:
        event = step.event
        machine = self.machines.get(machine_of(state_id))
        data = event.body.get("data")
        if machine is not None and "data" in event.body and not event.type.startswith(RESERVED):
            data = machine.event_of(event, f"event {self.governor}/{state_id} version {event.version}")
        return Transition(
            state_id=state_id,
            version=event.version,
            action=event.type,
            data=data,
            from_state=step.before,
            to_state=step.after,
            timestamp=utc_of(event.at),
            metadata=metadata_from_plain(event.metadata, event.version - 1),
            causality=VectorClock(event.clock),
            rebuilt=step.rebuilt,
        )

    async def list_page(
        self, *, prefix: str, machine: str | None, state: str | None, after: str, limit: int
    ) -> StatePage:
        """Some of the states that exist, in id order."""
        if limit < 1:
            raise InvalidInputError(f"limit={limit}: ask for at least one")
        if machine is not None:
            prefix = prefix or f"{machine}-"
        states: list[StateSnapshot[Any]] = []
        key = self._after(after)
        while True:
            page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=key, limit=limit)
            for document in page.documents:
                found = await self._listed(document, machine, state)
                if found is not None:
                    states.append(found)
                if len(states) == limit:
                    more = page.next is not None or document is not page.documents[-1]
                    return StatePage(states, document.key.id if more else None)
            key = page.next
            if key is None:
                return StatePage(states, None)

    async def _listed(self, document: Document, machine: str | None, state: str | None) -> StateSnapshot[Any] | None:
        id = document.key.id
        if machine is not None and machine_of(id) != machine:
            return None
        fold = self.fold_of(id)
        try:
            head, data, rebuilt = await self.reader.state_of(Known(document), fold)
        except CorruptionError:
            found = await self.load(id)
            return found if state is None or fold.label(found.data) == state else None
        if head.tip.version == 0 or head.tip.deleted:
            return None
        label = fold.label(data) if isinstance(fold, Machine) else head.action
        if state is not None and label != state:
            return None
        return self._current(head, data, Known(document), rebuilt)

    def _after(self, id: str) -> Key | None:
        return self.reader.key(id) if id else None

    async def governors(self) -> list[str]:
        found: list[str] = []
        while True:
            page = await self.store.owners(after=found[-1] if found else "")
            if not page:
                return found
            found.extend(page)

    async def events_between(self, start: datetime, end: datetime, prefix: str) -> list[Transition]:
        """Transitions by when they happened, both ends included."""
        first, last = micros_of(start, "start"), micros_of(end, "end")
        found: list[Transition] = []
        key: Key | None = None
        while True:
            page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=key)
            for document in page.documents:
                version: int | None = 1
                while version is not None:
                    transitions, version = await self._history_or_nothing(document.key.id, version)
                    found.extend(t for t in transitions if first <= micros_of(t.effective_at, "time") <= last)
            key = page.next
            if key is None:
                return sorted(found, key=lambda t: (t.effective_at, t.state_id, t.version))

    async def _history_or_nothing(self, state_id: str, first: int) -> tuple[list[Transition], int | None]:
        try:
            return await self.history_page(state_id, first, None)
        except StateNotFoundError:  # a head without any event: a commit that was given up left it
            return [], None

    async def exists(self, state_id: str) -> bool:
        try:
            tip = await self.tip_of(state_id)
        except StateNotFoundError:
            return False
        return not tip.deleted

    async def batch_get(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any] | None]:
        found: dict[str, StateSnapshot[Any] | None] = {}
        for id in state_ids:
            try:
                found[id] = await self.load(id)
            except (StateNotFoundError, StateDeletedError):
                found[id] = None
        return found

    # Snapshots, recovery, verification

    async def create_snapshot(self, state_id: str) -> int:
        """Keep the current state as a snapshot; its version."""
        while True:
            known, _ = await self._known(state_id)
            fold = self.fold_of(state_id)
            head, state, _ = await self.reader.state_of(known, fold)
            self._check_there(head.tip)
            image = Image(fold.dump(state), fold.version, fold.schema, fold.label(state))
            token = self.store.runtime.unique()
            plan = plan_snapshot(head.tip, image, head.action, head.metadata, self._policy, token=token)
            result = await self._appender.committer.commit_guarded(plan.batch)
            self._appender.forget(state_id)
            if isinstance(result, Committed):
                return head.tip.version

    async def load_snapshot(self, state_id: str, version: int | None) -> StateSnapshot[Any] | None:
        """The newest kept snapshot (at or below ``version``), or None."""
        tip = await self.tip_of(state_id)
        fold = self.fold_of(state_id)
        for kept in reversed(tip.snapshots):
            if version is not None and kept > version:
                continue
            key = Key(SNAPSHOT, self.governor, state_id, kept)
            document = (await self.store.get([key])).documents.get(key)
            if document is None:
                continue
            try:
                snapshot, plain = decode_snapshot(document)
            except CorruptionError:
                continue
            if usable(snapshot.image, fold, str(key)):
                state = fold.load(plain, snapshot.image.schema, str(key))
                return StateSnapshot(id=state_id, data=state, version=kept, timestamp=utc_of(snapshot.at))
        return None

    async def rebuild(self, state_id: str, *, full: bool) -> StateSnapshot[Any]:
        """Replay a stream and write its head anew where that does not agree."""
        tip = await self.reader.repaired(state_id)
        fold = self.fold_of(state_id)
        if tip.deleted:
            raise StateDeletedError(state_id=state_id, version=tip.version)
        source = _without_snapshots(tip) if full else tip
        at = await self.reader.rebuild(source, fold, tip.version)
        event = at.event or await self._history.event(tip, tip.version)
        if not await self._agrees(tip, fold, at.state):
            image = Image(fold.dump(at.state), fold.version, fold.schema, fold.label(at.state))
            plan = plan_head(tip, image, event.type, event.metadata, token=self.store.runtime.unique())
            await self._appender.committer.commit_guarded(plan.batch)
            self._appender.forget(state_id)
        return self._snapshot(tip, at.state, event.type, event.metadata, tip.version - 1, None, recovered=True)

    async def _agrees(self, tip: Tip, fold: Fold, state: Any) -> bool:
        document = (await self.store.get([tip.key])).documents.get(tip.key)
        if document is None:
            return False
        try:
            head, plain = decode_head(document)
            if head.image is None or plain is NO_STATE or not usable(head.image, fold, str(tip.key)):
                return False
            same = fold.dump(fold.load(plain, head.image.schema, str(tip.key))) == fold.dump(state)
        except CorruptionError:
            return False
        return same and head.tip.digest == tip.digest

    async def recover_page(self, after: str, limit: int = 500) -> tuple[list[RecoveredState], str | None]:
        """Some streams, each from its head, or rebuilt from the log where the head can't be trusted."""
        page = await self.store.scan(HEAD, self.governor, after=self._after(after), limit=limit)
        items = [await self._recovered(document) for document in page.documents]
        return [item for item in items if item is not None], page.next.id if page.next else None

    async def _recovered(self, document: Document) -> RecoveredState | None:
        id = document.key.id
        fold = self.fold_of(id)
        problem = None
        try:
            head, state, rebuilt = await self.reader.state_of(Known(document), fold)
            if head.tip.version == 0:
                return None
            if head.tip.deleted:
                return RecoveredState(id, head.tip.version, None, "deleted")
            return RecoveredState(id, head.tip.version, state, "rebuilt" if rebuilt else "current")
        except CorruptionError as error:
            problem = str(error)
        try:
            found = await self.rebuild(id, full=False)
            return RecoveredState(id, found.version, found.data, "rebuilt", problem)
        except StateDeletedError as error:
            return RecoveredState(id, error.version, None, "deleted", problem)
        except EventStateError as error:
            return RecoveredState(id, 0, None, "lost", str(error))

    async def verify_page(self, after: str, report: ConsistencyReport) -> str | None:
        """Verify some streams; the id to go on from, or None."""
        return await Verifier(self.store, self.governor, self.fold_of).page(after, report)

    async def stats(self) -> StoreStats:
        """Numbers of this governor, from one scan of its heads."""
        states = deleted = events = versions = highest = snapshots = 0
        by_machine: dict[str, int] = {}
        key: Key | None = None
        while True:
            page = await self.store.scan(HEAD, self.governor, after=key)
            for document in page.documents:
                try:
                    tip = decode_head(document)[0].tip
                except CorruptionError:
                    tip = await self.reader.repaired(document.key.id)
                if tip.version == 0:
                    continue
                states += not tip.deleted
                deleted += tip.deleted
                events += tip.version - (tip.base.version if tip.base else 0)
                versions += tip.version
                highest = max(highest, tip.version)
                snapshots += len(tip.snapshots)
                name = machine_of(tip.id)
                by_machine[name] = by_machine.get(name, 0) + 1
            key = page.next
            if key is None:
                return StoreStats(
                    total_states=states,
                    deleted_states=deleted,
                    total_events=events,
                    total_versions=versions,
                    max_version=highest,
                    total_snapshots=snapshots,
                    states_by_machine=by_machine,
                )


def _check_transitions(machine: Machine[Any, Any], state: Any, events: Sequence[NewEvent]) -> None:
    """Walk the events through the declared transitions before anything is written."""
    for index, event in enumerate(events):
        before = machine.load(orjson.loads(machine.dump(state)), machine.schema, machine.name)
        machine.check_legal(before, event.type)
        stored = machine.stored(event, index)
        state = machine.step(state, stored, f"new event {index + 1}")
        machine.check_led_to(before, event.type, state)


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


def _without_snapshots(tip: Tip) -> Tip:
    return replace(tip, snapshots=(tip.base.version,) if tip.base else ())


def _shown(event: NewEvent) -> list[Any]:
    texts = (event.data, event.state, event.delta)
    return [event.type, *(text.decode() if text is not None else None for text in texts)]


def _plain_argument(argument: object) -> Any:
    try:
        return encode(argument, "$").decode()
    except EventStateError:
        try:
            return encode(Shape(type(argument)).to_plain(argument), "$").decode()
        except EventStateError as error:
            raise InvalidInputError(
                f"with idempotency_key, execute() must recognise its arguments: {argument!r} has no JSON form ({error})"
            ) from None


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"version {value!r}: versions begin at 1")
    return value


