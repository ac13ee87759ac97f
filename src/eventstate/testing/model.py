"""Random histories against a model in plain Python: Hypothesis finds the shortest one in which they differ.

`PersisterMachine` plays two persisters on one store, so that what either remembers goes stale; the machine of
`eventstate.testing.model_documents` plays batches and scans on the port itself. A backend's tests subclass them and
name their suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from eventstate.core.expected import ANY
from eventstate.errors import IdempotencyMismatchError, StateDeletedError, StateNotFoundError, VersionConflictError
from eventstate.machines.states import StateSnapshot
from eventstate.machines.together import AppendTo
from eventstate.testing.conformance.persisters import (
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Tally,
    evolve,
)
from eventstate.testing.conformance.suite import raises
from eventstate.testing.model_machine import StoreMachine

DELETED: Final = "$deleted"
REOPENED: Final = "$reopened"
TALLY_IDS: Final = ("tally-1", "tally-2", "tally-1:2")
PLAIN_IDS: Final = ("doc", "doc/1")
IDS: Final = (*TALLY_IDS, *PLAIN_IDS)


@dataclass
class StreamModel:
    """What a stream must be: its actions, and the state after each of its versions."""

    actions: list[str] = field(default_factory=list[str])
    states: list[Any] = field(default_factory=list[Any])

    @property
    def version(self) -> int:
        return len(self.states)

    @property
    def is_deleted(self) -> bool:
        return bool(self.actions) and self.actions[-1] == DELETED

    @property
    def is_there(self) -> bool:
        return bool(self.actions) and not self.is_deleted

    def add(self, action: str, state: Any) -> None:
        self.actions.append(action)
        self.states.append(state)


EVENTS = st.lists(
    st.builds(Added, st.text("abc", max_size=2), st.integers(-3, 9)) | st.builds(Doubled, st.just("d")),
    min_size=1,
    max_size=4,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=6,
)
WHO = st.integers(0, 1)
EXPECTED = st.sampled_from(["right", "right", "right", "any", "loaded", "zero", "less", "more"])


class PersisterMachine(StoreMachine):
    """Appends, deletions, snapshots, loads, repairs and reopened stores in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.model = {id: StreamModel() for id in IDS}
        self.keys: dict[str, tuple[str, tuple[Any, ...], int]] = {}
        self.store = self.open()
        self._new_persisters()

    def _new_persisters(self) -> None:
        assert isinstance(self.suite, PersisterSuite), "suite_type must be a PersisterSuite here"
        self.faces: list[Face] = [
            self.suite.persister(self.store, snapshot_every=every, keep_snapshots=2) for every in (2, 5)
        ]

    # Writing

    @rule(who=WHO, id=st.sampled_from(TALLY_IDS), events=EVENTS, expected=EXPECTED, reopen=st.booleans())
    def append(self, who: int, id: str, events: list[Any], expected: str, reopen: bool) -> None:
        call = self._call(who, "append", id, *events, reopen=reopen)
        if self._written(call, id, expected, reopen):
            self._add_events(id, events)

    @rule(who=WHO, id=st.sampled_from(PLAIN_IDS), value=VALUES, expected=EXPECTED, reopen=st.booleans())
    def save(self, who: int, id: str, value: Any, expected: str, reopen: bool) -> None:
        if self._written(self._call(who, "save_state", id, value, reopen=reopen), id, expected, reopen):
            self._add(id, "saved", value)

    @rule(who=WHO, id=st.sampled_from(PLAIN_IDS), value=VALUES)
    def log_transition(self, who: int, id: str, value: Any) -> None:
        stream = self.model[id]
        before = self.run(self.faces[who].load(id)) if stream.is_there else None
        call = self._call(who, "log_transition", before, StateSnapshot[Any].new(id, value), "moved")
        if self._written(call, id, "right" if stream.is_there else "zero", reopen=False):
            self._add(id, "moved", value)

    @rule(who=WHO, id=st.sampled_from(IDS), expected=EXPECTED)
    def delete(self, who: int, id: str, expected: str) -> None:
        stream = self.model[id]
        call = self._call(who, "delete_state", id)
        if stream.version == 0:
            if expected not in ("more", "less"):
                self._fails(call(expected=ANY), StateNotFoundError)
        elif stream.is_deleted:
            assert self.run(call(expected=ANY)) == stream.version
        elif self._written(call, id, expected, reopen=False):
            stream.add(DELETED, None)

    @precondition(lambda self: any(stream.is_there for stream in self.model.values()))
    @rule(data=st.data(), who=WHO)
    def delete_one_that_is_there(self, data: st.DataObject, who: int) -> None:
        id = data.draw(st.sampled_from([id for id in IDS if self.model[id].is_there]))
        assert self.run(self.faces[who].delete_state(id, expected=ANY)) == self.model[id].version + 1
        self.model[id].add(DELETED, None)

    @precondition(lambda self: any(stream.is_deleted for stream in self.model.values()))
    @rule(data=st.data(), who=WHO, events=EVENTS, value=VALUES)
    def begin_anew(self, data: st.DataObject, who: int, events: list[Any], value: Any) -> None:
        id = data.draw(st.sampled_from([id for id in IDS if self.model[id].is_deleted]))
        if id in TALLY_IDS:
            self.run(self.faces[who].append(id, *events, expected=self.model[id].version, reopen=True))
            self._add_events(id, events)
        else:
            self.run(self.faces[who].save_state(id, value, expected=ANY, reopen=True))
            self._add(id, "saved", value)

    @rule(who=WHO, ids=st.permutations(TALLY_IDS), size=st.integers(1, 3), events=EVENTS, are_right=st.booleans())
    def append_together(self, who: int, ids: list[str], size: int, events: list[Any], are_right: bool) -> None:
        ids = ids[:size]
        versions = [self.model[id].version + (0 if are_right or id != ids[-1] else 1) for id in ids]
        appends = [
            AppendTo(id, *events, expected=version, reopen=True) for id, version in zip(ids, versions, strict=True)
        ]
        call = self.faces[who].append_together(*appends)
        if not are_right:
            self._fails(call, VersionConflictError)
            return
        self.run(call)
        for id in ids:
            self._add_events(id, events)

    @rule(who=WHO, id=st.sampled_from(TALLY_IDS), events=EVENTS, key=st.sampled_from("kl"), same=st.booleans())
    def append_with_key(self, who: int, id: str, events: list[Any], key: str, same: bool) -> None:
        name = f"{key} {id}"
        if name in self.keys:
            id, given, version = self.keys[name]
            if not same:
                call = self.faces[who].append(id, *given, Doubled("another"), expected=ANY, idempotency_key=name)
                self._fails(call, IdempotencyMismatchError)
                return
            again = self.run(self.faces[who].append(id, *given, expected=ANY, idempotency_key=name))
            assert (again.version, again.data) == (version, self.model[id].states[version - 1])
            return
        call = self._call(who, "append", id, *events, idempotency_key=name, reopen=False)
        if self._written(call, id, "any", reopen=False):
            self._add_events(id, events)
            self.keys[name] = id, tuple(events), self.model[id].version

    def _call(self, who: int, name: str, *args: Any, **kwargs: Any) -> Any:
        return partial(getattr(self.faces[who], name), *args, **kwargs)

    def _written(self, call: Any, id: str, expected: str, reopen: bool) -> bool:
        """Make a call with an expectation; whether it had to write. Fails where it did otherwise."""
        stream = self.model[id]
        value = self._expectation(id, expected)
        version = value.version if isinstance(value, StateSnapshot) else value
        is_conflict = value is not ANY and version != stream.version
        if is_conflict or (stream.is_deleted and not reopen):
            kinds = (VersionConflictError,) if is_conflict and not stream.is_deleted else _REFUSED
            self._fails(call(expected=value), *kinds)
            return False
        self.run(call(expected=value))
        return True

    def _expectation(self, id: str, expected: str) -> Any:
        stream = self.model[id]
        if expected == "any":
            return ANY
        if expected == "loaded" and stream.is_there:
            return self.run(self.faces[0].load(id))
        version = {"zero": 0, "less": stream.version - 1, "more": stream.version + 1}.get(expected, stream.version)
        return max(version, 0)

    def _fails(self, call: Any, *kinds: type[BaseException]) -> None:
        with raises(*kinds):
            self.run(call)

    def _add_events(self, id: str, events: list[Any]) -> None:
        stream = self.model[id]
        state = stream.states[-1] if stream.is_there else Tally()
        self._reopen(id, Tally())
        for event in events:
            state = evolve(state, event)
            stream.add(type(event).__name__, state)

    def _add(self, id: str, action: str, state: Any) -> None:
        self._reopen(id, None)
        self.model[id].add(action, state)

    def _reopen(self, id: str, initial: Any) -> None:
        if self.model[id].is_deleted:
            self.model[id].add(REOPENED, initial)

    # Upkeep

    @rule(who=WHO, id=st.sampled_from(IDS))
    def create_snapshot(self, who: int, id: str) -> None:
        stream = self.model[id]
        if stream.is_there:
            assert self.run(self.faces[who].create_snapshot(id)) == stream.version
        else:
            self._fails(self.faces[who].create_snapshot(id), StateNotFoundError, StateDeletedError)

    @rule(who=WHO, id=st.sampled_from(IDS), full=st.booleans())
    def rebuild(self, who: int, id: str, full: bool) -> None:
        stream = self.model[id]
        if stream.is_there:
            rebuilt = self.run(self.faces[who].rebuild(id, full=full))
            assert (rebuilt.version, rebuilt.data) == (stream.version, stream.states[-1])

    @rule()
    def reopen_store(self) -> None:
        if self.store.capabilities.shared:
            self.run(self.store.aclose())
            self.store = self.open()
        self._new_persisters()

    # Reading

    @rule(who=WHO, id=st.sampled_from(IDS))
    def load(self, who: int, id: str) -> None:
        stream = self.model[id]
        assert self.run(self.faces[who].exists(id)) == stream.is_there
        if stream.is_there:
            loaded = self.run(self.faces[who].load(id))
            assert (loaded.version, loaded.action) == (stream.version, stream.actions[-1])
            assert loaded.data == stream.states[-1]
            assert not loaded.recovered
        else:
            self._fails(self.faces[who].load(id), StateDeletedError if stream.version else StateNotFoundError)

    @precondition(lambda self: any(stream.version for stream in self.model.values()))
    @rule(data=st.data(), who=WHO)
    def load_version(self, data: st.DataObject, who: int) -> None:
        id = data.draw(st.sampled_from([id for id in IDS if self.model[id].version]))
        stream = self.model[id]
        version = data.draw(st.integers(1, stream.version))
        call = self.faces[who].load(id, at_version=version)
        if stream.actions[version - 1] == DELETED:
            self._fails(call, StateDeletedError)
        else:
            loaded = self.run(call)
            assert (loaded.version, loaded.action) == (version, stream.actions[version - 1])
            assert loaded.data == stream.states[version - 1]

    @precondition(lambda self: any(stream.version for stream in self.model.values()))
    @rule(data=st.data(), who=WHO)
    def history(self, data: st.DataObject, who: int) -> None:
        id = data.draw(st.sampled_from([id for id in IDS if self.model[id].version]))
        stream = self.model[id]
        first = data.draw(st.integers(1, stream.version))
        last = data.draw(st.integers(first, stream.version + 1))
        steps = self.run(self.faces[who].history(id, from_version=first, to_version=last))
        end = min(last, stream.version)
        assert [step.version for step in steps] == list(range(first, end + 1))
        assert [step.action for step in steps] == stream.actions[first - 1 : end]
        assert [step.to_state for step in steps] == stream.states[first - 1 : end]
        before = [None, *stream.states]
        assert [step.from_state for step in steps] == before[first - 1 : end]

    @rule(who=WHO, limit=st.integers(1, 4), prefix=st.sampled_from(["", "tally-", "tally-1", "doc"]))
    def list_states(self, who: int, limit: int, prefix: str) -> None:
        found: dict[str, Any] = {}
        after: str | None = ""
        while after is not None:
            page = self.run(self.faces[who].list_states(prefix=prefix, after=after, limit=limit))
            found.update({state.id: state.data for state in page.states})
            after = page.next
        there = {id: s.states[-1] for id, s in self.model.items() if s.is_there and id.startswith(prefix)}
        assert found == there
        assert list(found) == sorted(found, key=str.encode)

    @rule(who=WHO)
    def recover(self, who: int) -> None:
        found = {item.id: (item.version, item.status, item.data) for item in self.run(self.faces[who].recover())}
        assert found == {
            id: (s.version, "deleted" if s.is_deleted else "current", s.states[-1])
            for id, s in self.model.items()
            if s.version
        }

    def teardown(self) -> None:
        try:
            report = self.run(self.faces[0].validate_consistency())
            assert report.is_consistent, report.findings
            assert report.total_events == sum(stream.version for stream in self.model.values())
        finally:
            super().teardown()


_REFUSED: Final = (VersionConflictError, StateDeletedError)
