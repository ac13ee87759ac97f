"""A machine: its name, its initial state and how events change it."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import orjson

from eventstate.core.codec import encode
from eventstate.core.documents import Key
from eventstate.core.fold import check_reserved, step_recorded
from eventstate.core.format import DELETED, FORKED, NO_STATE, REOPENED, RESERVED, Entry, NewEvent, StoredEvent
from eventstate.core.ids import check_id, check_machine_name, is_checked
from eventstate.core.metadata import metadata_to_plain
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    EncodingError,
    SchemaError,
    SchemaNewerError,
    UnknownEventError,
    UpcastError,
)
from eventstate.machines.events import Event, event_type_of
from eventstate.machines.shapes import Shape
from eventstate.machines.transitions import Transitions
from eventstate.machines.upcasting import Upcasters, check_old, check_renamed

if TYPE_CHECKING:
    from eventstate.core.privacy import Erased

S = TypeVar("S")
E = TypeVar("E")

Evolve = Callable[[S, E], S]


class Machine(Generic[S, E]):
    """Declares a kind of state machine.

    Args:
        name: names its instances, as in ``order-42``; without ``-``.
        initial: the state before the first event; its type is the state's type.
        evolve: the state after an event. Pure: it runs again at every rebuild. The types of its events are
            read from its second parameter's annotation, unless ``events`` names them.
        events: event types by stored name, or just the types (their stored name is ``event_type`` or the
            class name). Stored names never change; classes may move and be renamed.
        state_of: the name of the declared state that a state is in: an attribute or key, or a function.
        transitions: the legal ones, as ``(from, action, to)``; everything else is refused before it is written.
        fold_version: raise it when ``evolve`` changes meaning: kept states are then rebuilt from events.
        schemas: the present schema version of event types, 1 unless named.
        upcasters: per event type and old version, how its data becomes that of the next version.
        renamed: old stored names of event types.
        state_schema, state_upcasters: the same for kept states; without an upcaster they are rebuilt.
        subjects: whom events are about: per event type the path of the field that names the person, as in
            ``{Registered: "customer"}`` or ``"customer.id"``. These events, and all states of the stream after them,
            are encrypted; the persister needs a ``keyring``.
        state_subject: the same for states recorded as a whole: the path of the field in the state.
        erased: the state after an event that was erased, ``(state, Erased) -> state``; unless given, the state
            stays as it was.

    Raises:
        ConfigurationError: the parts contradict each other.
        InvalidIdError: the name can't be used.
    """

    def __init__(
        self,
        name: str,
        initial: S,
        evolve: Callable[[S, E], S] | None = None,
        *,
        events: Mapping[str, type] | Iterable[type] | None = None,
        state_of: str | Callable[[S], str] | None = None,
        transitions: Iterable[tuple[str, str, str]] | None = None,
        fold_version: int = 1,
        schemas: Mapping[str, int] | None = None,
        upcasters: Mapping[str, Mapping[int, Callable[[Any], Any]]] | None = None,
        renamed: Mapping[str, str] | None = None,
        state_schema: int = 1,
        state_upcasters: Mapping[int, Callable[[Any], Any]] | None = None,
        subjects: Mapping[type | str, str] | None = None,
        state_subject: str | None = None,
        erased: Callable[[S, Erased], S] | None = None,
    ) -> None:
        self.name = check_machine_name(name)
        if fold_version < 1 or state_schema < 1:
            raise ConfigurationError(f"machine {name!r}: fold_version and state_schema begin at 1")
        self.version = fold_version
        self.schema = state_schema
        self._evolve: Callable[[Any, Any], Any] | None = evolve
        self._shape = Shape(_shape_type(initial), f"state of {name}")
        self.is_plain = self._shape.is_plain
        self._initial = self._shape.encoded(initial)
        self._shapes, self._names = _event_shapes(self.name, evolve, events)
        self._renamed = dict(renamed or {})
        check_renamed(name, self._renamed, self._shapes)
        self._upcasters = Upcasters(name, schemas or {}, upcasters or {}, self._shapes)
        self._presently = {
            (name, self._upcasters.current(name)): shape.from_plain
            for name, shape in self._shapes.items()
            if name not in self._renamed
        }
        self._state_upcasters = dict(state_upcasters or {})
        check_old(f"machine {name!r}: an upcaster of states", self._state_upcasters, state_schema, "state_schema=")
        self._transitions = Transitions(self.name, tuple(transitions), state_of) if transitions is not None else None
        if state_of is not None and self._transitions is None:
            self._transitions = Transitions(self.name, None, state_of)
        self._subjects = self._declared_subjects(subjects or {})
        self.state_subject = state_subject
        self.has_subjects = bool(self._subjects) or state_subject is not None
        """Whether its streams are encrypted, so that they need a keyring."""
        self._erased: Callable[[Any, Erased], Any] | None = erased

    def __repr__(self) -> str:
        return f"Machine({self.name!r})"

    def state_id(self, id: str) -> str:
        """The id of one instance's stream: ``order-42``."""
        if type(id) is str and id and is_checked(state_id := f"{self.name}-{id}"):
            return state_id
        return check_id("state id", f"{self.name}-{check_id('id', id)}")

    # What is declared

    @property
    def event_types(self) -> tuple[str, ...]:
        """Stored names of the declared event types; empty for a machine that takes any."""
        return tuple(self._shapes)

    @property
    def declared_states(self) -> tuple[str, ...]:
        """The states that the declared transitions name, in their order; none where no transitions are declared."""
        table = self._transitions.table if self._transitions is not None else None
        return tuple(dict.fromkeys(label for source, _, target in table or () for label in (source, target)))

    def actions(self, state: S) -> tuple[str, ...]:
        """The actions that are legal in a state.

        Raises:
            ConfigurationError: the machine declares no transitions.
        """
        declared = self._declared()
        return declared.actions(declared.label(state))

    def diagram(self, state: S | None = None) -> str:
        """The declared transitions as a Mermaid state diagram, the current state marked.

        Raises:
            ConfigurationError: the machine declares no transitions.
        """
        declared = self._declared()
        return declared.diagram(self.initial(), state)

    def _declared(self) -> Transitions:
        if self._transitions is None or self._transitions.table is None:
            raise ConfigurationError(f"machine {self.name!r} declares no transitions: pass transitions= and state_of=")
        return self._transitions

    def subject_of(self, event_type: str) -> str | None:
        """The path of the field that names the subject of an event type, if it is declared."""
        return self._subjects.get(event_type)

    def _declared_subjects(self, subjects: Mapping[type | str, str]) -> dict[str, str]:
        declared: dict[str, str] = {}
        for event, path in subjects.items():
            name = event if isinstance(event, str) else self._names.get(event)
            if name is None or (self._shapes and name not in self._shapes):
                shown = event if isinstance(event, str) else event.__name__
                raise ConfigurationError(f"machine {self.name!r}: subjects= names {shown!r}, which is no event of it")
            if not path or not all(path.split(".")):
                raise ConfigurationError(f"machine {self.name!r}: {path!r} is no path of a field of {name!r}")
            declared[name] = path
        return declared

    # core.fold.Fold

    protects = False

    @property
    def bare(self) -> Machine[S, E]:
        return self

    def opens(self, plain: Any, version: int) -> bool:
        return True

    def begin_erased(self, plain: Any, where: str) -> Any:
        return NO_STATE

    def step_erased(self, state: Any, event: Erased) -> Any:
        """The state after an event whose subject was erased."""
        return state if self._erased is None else self._erased(state, event)

    def initial(self) -> S:
        """A new initial state."""
        return self._shape.from_plain(orjson.loads(self._initial))

    def step(self, state: Any, event: StoredEvent, where: str) -> Any:
        """The state after a stored event."""
        if event.type == DELETED:
            return None
        if event.type == REOPENED:
            return self.initial()
        if event.type == FORKED:
            return self.load(event.body["state"], event.schema, where)
        if "data" not in event.body or self._evolve is None:
            plain = None if state is None else orjson.loads(self.dump(state))
            after = step_recorded(plain, event, where)
            if after is NO_STATE:
                return state if self._evolve is None else self._evolved(state, event, where)
            return self.load(after, self.schema, where)
        return self._evolved(state, event, where)

    def _evolved(self, state: Any, event: StoredEvent, where: str) -> Any:
        assert self._evolve is not None
        typed = self.event_of(event, where)
        try:
            return self._evolve(state, typed)
        except Exception as error:
            self._name_place(error, event.type, where)
            raise

    def _name_place(self, error: Exception, event_type: str, where: str) -> None:
        """Say in a traceback at which event the caller's own code failed; the error stays what it is."""
        note = f"evolve of machine {self.name!r} raised this at {where} ({event_type})"
        if note not in getattr(error, "__notes__", ()):  # an error that is raised again and again has it already
            error.add_note(note)

    def replay(self, state: Any, entries: Iterable[Entry], last: int, where: Callable[[int], str]) -> Any:
        """The state after the events of entries, as far as the version ``last``; state and entries are used up."""
        evolve, presently = self._evolve, self._presently
        for entry in entries:
            version = entry.first
            for body in entry.events:
                if version > last:
                    return state
                load = presently.get((body["type"], body.get("v", 1)))
                if evolve is None or load is None or "data" not in body:
                    state = self.step(state, entry.event(version), where(version))
                else:
                    try:
                        event = load(body["data"])
                    except ValueError:
                        event = self.event_of(entry.event(version), where(version))
                    try:
                        state = evolve(state, event)
                    except Exception as error:
                        self._name_place(error, body["type"], where(version))
                        raise
                version += 1
        return state

    def step_new(self, state: Any, event: StoredEvent, where: str) -> Any:
        """The state after an event to append, held against the declared transitions."""
        transitions = self._transitions
        if transitions is None or event.type.startswith(RESERVED):
            return self.step(state, event, where)
        before = transitions.label(state)
        transitions.check(before, event.type)
        after = self.step(state, event, where)
        transitions.check_led_to(before, event.type, transitions.label(after))
        return after

    def present_event(self, body: Mapping[str, Any]) -> Any:
        """The typed event of a stored one of the present schema; `NO_STATE` where `event_of` must look at it."""
        load = self._presently.get((body["type"], body.get("v", 1)))
        if load is None:
            return NO_STATE
        try:
            return load(body["data"])
        except ValueError:
            return NO_STATE

    def event_of(self, event: StoredEvent, where: str) -> Any:
        """The typed event of a stored one, brought to its present schema.

        Raises:
            UnknownEventError, SchemaNewerError, UpcastError, SchemaError: see their texts.
        """
        check_reserved(event.type, where)
        name = self._renamed.get(event.type, event.type)
        data = self._upcasters.upcast(name, event.schema, event.body.get("data"), where)
        if not self._shapes:
            return Event(name, data)
        shape = self._shapes.get(name)
        if shape is None:
            raise UnknownEventError(machine=self.name, event_type=name, known=self.event_types, where=where)
        try:
            return shape.from_plain(data)
        except ValueError as error:
            current = self._upcasters.current(name)
            problem = f"it is no {name} of schema {current}: {error}"
            if event.schema < current:
                raise UpcastError(where=where, problem=f"the upcasters made something of it, but {problem}") from error
            raise SchemaError(where=where, problem=f"{problem}; where its fields changed, raise its schema") from error

    def dump(self, state: Any) -> bytes:
        return self._shape.encoded(state)

    def accepts(self, schema: int, where: Key | str) -> bool:
        if schema == self.schema:
            return True
        if schema > self.schema:
            raise SchemaNewerError(where=str(where), found=schema, supported=self.schema)
        return all(old in self._state_upcasters for old in range(schema, self.schema))

    def load(self, plain: Any, schema: int, where: Key | str) -> Any:
        for old in range(schema, self.schema):
            try:
                plain = self._state_upcasters[old](plain)
            except Exception as error:
                problem = f"the upcaster of states from schema {old} failed: {type(error).__name__}: {error}"
                raise UpcastError(where=str(where), problem=problem) from error
        try:
            return self._shape.from_plain(plain)
        except ValueError as error:
            raise CorruptionError(where=str(where), problem=f"it holds no state of {self.name}: {error}") from error

    def label(self, state: Any) -> str | None:
        return self._transitions.label(state) if self._transitions is not None else None

    # What an append needs

    def new_event(self, event: Any) -> NewEvent:
        """The stored form of an event to append.

        Raises:
            UnknownEventError: its type is not declared.
            EncodingError: it has no exact JSON form.
        """
        if isinstance(event, Event):
            return self._new_raw(event)
        type_ = cast("type[Any]", type(event))
        name = self._names.get(type_)
        if name is None:
            shown = event_type_of(type_)
            raise UnknownEventError(machine=self.name, event_type=shown, known=self.event_types)
        # Names in this table were checked when the machine was declared.
        return NewEvent(name, self._shapes[name].encoded(event), schema=self._upcasters.current(name))

    def _new_raw(self, event: Event) -> NewEvent:
        if event.state is not NO_STATE:
            raise ConfigurationError("an Event with state= belongs to a stream without a machine")
        metadata = metadata_to_plain(event.metadata) if event.metadata is not None else None
        shape = self._shapes.get(event.type)
        if shape is not None and shape.type is not None and isinstance(event.data, shape.type):
            schema = self._upcasters.current(event.type)
            return NewEvent(event.type, shape.encoded(event.data), schema=schema, metadata=metadata)
        encoded = self._encoded(event.type, event.data, metadata)
        if shape is not None and encoded.data is not None:
            try:
                shape.from_plain(orjson.loads(encoded.data))
            except ValueError as error:
                raise EncodingError(path="$.data", problem=f"it is no {event.type}: {error}") from error
        return encoded

    def _encoded(self, name: str, data: Any, metadata: Mapping[str, Any] | None) -> NewEvent:
        check_id("event type", name)
        if name.startswith(RESERVED):
            raise ConfigurationError(f"event type {name!r}: names beginning with {RESERVED!r} are reserved")
        if self._shapes and name not in self._shapes:
            raise UnknownEventError(machine=self.name, event_type=name, known=self.event_types)
        schema = self._upcasters.current(name)
        return NewEvent(name, encode(data, f"$.{name}"), schema=schema, metadata=metadata)


def _shape_type(initial: object) -> type | None:
    return None if initial is None else type(initial)


def _event_shapes(
    machine: str, evolve: Callable[..., Any] | None, events: Mapping[str, type] | Iterable[type] | None
) -> tuple[dict[str, Shape], dict[type, str]]:
    if isinstance(events, Mapping):
        declared = dict(typing.cast("Mapping[str, type]", events))
    else:
        declared = _by_name(machine, _annotated(evolve) if events is None else events)
    names: dict[type, str] = {}
    for name, type_ in declared.items():
        check_id("event type", name)
        if name.startswith(RESERVED):
            raise ConfigurationError(
                f"machine {machine!r}: event type {name!r} begins with {RESERVED!r}, which is reserved"
            )
        if type_ in names:
            raise ConfigurationError(f"machine {machine!r} declares {type_.__name__} under two names")
        names[type_] = name
    return {name: Shape(type_, f"$.{name}") for name, type_ in declared.items()}, names


def _by_name(machine: str, types: Iterable[type]) -> dict[str, type]:
    declared: dict[str, type] = {}
    for type_ in types:
        name = event_type_of(type_)
        if declared.setdefault(name, type_) is not type_:
            raise ConfigurationError(f"machine {machine!r}: two events are named {name!r}; name them by events={{...}}")
    return declared


def _annotated(evolve: Callable[..., Any] | None) -> list[type]:
    """The types in the annotation of evolve's second parameter; none where it says nothing usable."""
    if evolve is None:
        return []
    parameters = list(inspect.signature(evolve).parameters)
    try:
        hints = typing.get_type_hints(_function_of(evolve))
    except NameError as error:
        raise ConfigurationError(
            f"evolve's annotation can't be read ({error}): define the event types at module level or pass events="
        ) from None
    if len(parameters) < 2 or parameters[1] not in hints:
        return []
    annotation = hints[parameters[1]]
    annotation = getattr(annotation, "__value__", annotation)  # of a `type` statement
    members = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return [m for m in members if isinstance(m, type) and m not in (dict, object, type(None), typing.Any, Event)]


def _function_of(evolve: Callable[..., Any]) -> Callable[..., Any]:
    """What holds the annotations: of a partial its function, of an object its ``__call__``."""
    while isinstance(evolve, functools.partial):
        evolve = cast("functools.partial[Any]", evolve).func
    return evolve if hasattr(evolve, "__annotations__") else type(evolve).__call__


def _is_union(annotation: object) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)
