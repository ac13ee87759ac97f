"""Personal data in events and states, encrypted under the keys of those whom it is about.

The one place that encrypts and decrypts. `ProtectedFold` stands in for a machine that declares subjects: what it is
given to write is encrypted, and what it reads is decrypted, so that nothing around it knows the difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import orjson

from eventstate.core.documents import FeedPage, Fetched, Key, Page
from eventstate.core.fold import Fold
from eventstate.core.format import DELETED, NO_STATE, REOPENED, RESERVED, Entry, NewEvent, StoredEvent
from eventstate.core.ids import check_id
from eventstate.core.instants import utc_of
from eventstate.core.privacy import (
    NONCE_BYTES,
    Envelope,
    Erased,
    Place,
    decrypt,
    encode_envelope,
    encrypt,
    envelope_of,
    is_encrypted,
    named_keys,
    require_cipher,
    secret_of,
)
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    DecryptionError,
    EncodingError,
    InvalidIdError,
    InvalidInputError,
    KeyLostError,
    SchemaError,
    SchemaNewerError,
    StoreUnavailableError,
    UpcastError,
)
from eventstate.log.keyring import KeyringCore, KeysNeededError, Tombstone
from eventstate.machines.machine import Machine
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.runtime.clock import secret
from eventstate.stores.base import Closing, Store

T = TypeVar("T")

BASE: Final = "$base"
"""The action of an `Erased` that stands for all events before the base of a pruned stream."""

MAX_KEYS: Final = 1000
"""Keys of one state: all of them are named in each head of the stream."""

_ATTEMPTS: Final = 100


class Protection:
    """What a persister with a keyring does for its machines."""

    def __init__(self, keyring: KeyringCore, store: Store, governor: str) -> None:
        if keyring.governor != governor:
            raise ConfigurationError(f"the keyring is of governor {keyring.governor!r}, not of {governor!r}")
        if keyring.store is store or (keyring.store.url == store.url and store.capabilities.shared):
            raise ConfigurationError(
                f"the keyring is in the store whose events it protects ({store.url}): open another one for it"
            )
        if isinstance(keyring.store.runtime, BlockingRuntime) != isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("Keyring goes with StateMachinePersister, AsyncKeyring with the asyncio one")
        require_cipher()
        self.keyring = keyring
        self.store = self.over(store)

    def over(self, store: Store) -> Store:
        """A store, such as one with an archive before it, that has the keys fetched of what is read from it."""
        return cast("Store", _PreparedStore(store, self.keyring))

    def fold(self, machine: Machine[Any, Any], state_id: str) -> ProtectedFold:
        return ProtectedFold(machine, self.keyring, state_id)

    async def with_keys(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call that may encrypt, the keys of the subjects it meets fetched as it meets them.

        The call is begun anew each time; it must not have written anything before it has encrypted all.
        """
        await self.keyring.refresh()
        met: set[str] = set()
        repeats = 0
        while repeats < _ATTEMPTS:
            try:
                return await call()
            except KeysNeededError as needed:
                subjects = needed.subjects
            repeats += met.issuperset(subjects)
            met.update(subjects)
            await self.keyring.prepare_subjects(subjects)
        raise StoreUnavailableError(store=self.keyring.store.url, detail="its keys change all the time")


class _PreparedStore(Closing):
    """A store that has the keys of whatever is read from it fetched before anybody decodes it."""

    def __init__(self, store: Store, keyring: KeyringCore) -> None:
        self._store = store
        self._keyring = keyring

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, keys: Sequence[Key]) -> Fetched:
        found = await self._store.get(keys)
        await self._prepare(document.body for document in found.documents.values())
        return found

    async def scan(self, kind: str, owner: str, **options: Any) -> Page:
        page = await self._store.scan(kind, owner, **options)
        await self._prepare(document.body for document in page.documents)
        return page

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        page = await self._store.feed(after, limit=limit)
        await self._prepare(document.body for _, document in page.entries)
        return page

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _prepare(self, bodies: Iterable[bytes]) -> None:
        await self._keyring.prepare(set[str]().union(*map(named_keys, bodies)))


class ProtectedFold:
    """The rules of one stream with subjects: those of its machine, over encrypted events and states.

    It remembers the keys of what it has read and encrypted, for a state holds what the events before it held: a state
    is encrypted under all of them. So each call makes its own, and keeps to it. Implements `eventstate.core.fold.Fold`.
    """

    protects = True
    is_plain = False

    def __init__(self, machine: Machine[Any, Any], keyring: KeyringCore, state_id: str) -> None:
        self.bare: Fold = machine
        self._machine = machine
        self._keyring = keyring
        self._id = state_id
        self._version = 0
        self._keys: dict[str, bytes] | None = None
        """Of all that the present state is made of; None before there is one."""

    @property
    def version(self) -> int:
        return self._machine.version

    @property
    def schema(self) -> int:
        return self._machine.schema

    def initial(self) -> Any:
        self._met(())
        return self._machine.initial()

    def accepts(self, schema: int, where: Key | str) -> bool:
        return self._machine.accepts(schema, where)

    def label(self, state: Any) -> str | None:
        return self._machine.label(state)

    # Events

    def step(self, state: Any, event: StoredEvent, where: str) -> Any:
        read = self._read(event, where)
        if isinstance(read, Erased):
            return self._machine.step_erased(state, read)
        with _Discreet(where):
            return self._machine.step(state, read, where)

    def step_new(self, state: Any, event: StoredEvent, where: str) -> Any:
        read = self._read(event, where)
        assert not isinstance(read, Erased)
        with _Discreet(where):
            return self._machine.step_new(state, read, where)

    def replay(self, state: Any, entries: Iterable[Entry], last: int, where: Callable[[int], str]) -> Any:
        for entry in entries:
            for version in range(entry.first, min(entry.version, last) + 1):
                state = self.step(state, entry.event(version), where(version))
        return state

    def event_of(self, event: StoredEvent, where: str) -> Any:
        """The typed event of a stored one, as `Machine.event_of` gives it; `Erased` if its subject was erased."""
        read = self._read(event, where)
        if isinstance(read, Erased) or "data" not in read.body:
            return read if isinstance(read, Erased) else None
        with _Discreet(where):
            return self._machine.event_of(read, where)

    def _read(self, event: StoredEvent, where: str) -> StoredEvent | Erased:
        self._version = event.version
        if event.type in (DELETED, REOPENED):  # what follows begins with nothing
            self._keys = {}
        self._met(())
        name = "data" if not event.type.startswith(RESERVED) else "state"
        text = event.body.get(name)
        if not is_encrypted(text):
            return event
        envelope = envelope_of(text, where)
        place = self._place("event", envelope.version, event.type, event.schema)
        if envelope.version != event.version:
            raise DecryptionError(where=where, problem=f"it was made for version {envelope.version}")
        materials = self._materials(envelope, where)
        if isinstance(materials, Tombstone):
            return Erased(action=event.type, erased_at=utc_of(materials.at), reason=materials.reason)
        members = self._decrypted(envelope, materials, place, where)
        rest = {member: value for member, value in event.body.items() if member != name}
        return event._replace(body={**rest, **members})

    def protecting(self, events: Callable[[Any, int], Sequence[NewEvent]]) -> Callable[[Any, int], list[NewEvent]]:
        """The same events, encrypted for the versions they will have."""

        def encrypted(state: Any, version: int) -> list[NewEvent]:
            made: list[NewEvent] = []
            needed: list[str] = []
            for number, event in enumerate(events(state, version), version + 1):
                try:
                    made.append(self._protected(event, number))
                except KeysNeededError as error:
                    needed.extend(error.subjects)
            if needed:  # all at once: each time, everything is planned anew
                raise KeysNeededError(tuple(dict.fromkeys(needed)))
            return made

        return encrypted

    def revealed(self, event: NewEvent, version: int) -> Any:
        """What a new event says, for comparing it with another one."""
        data = None if event.data is None else orjson.loads(event.data)
        if not is_encrypted(data):
            return event
        stored = StoredEvent(version, event.type, {"data": data}, event.schema, 0, {}, {})
        read = self._read(stored, f"event {self._id} version {version}")
        return event._replace(data=None), None if isinstance(read, Erased) else read.body

    def _protected(self, event: NewEvent, version: int) -> NewEvent:
        type_, data, state, delta, schema, metadata, _ = event
        is_own = type_.startswith(RESERVED)  # what the library itself says in one's data is about nobody
        members = {"data": None if is_own else data, "state": state, "delta": delta}
        given = {name: orjson.Fragment(text) for name, text in members.items() if text is not None}
        if not given:
            return event
        keys = self._keys_of(event)
        if not keys:
            if data is not None and data.startswith(_OPENING):
                raise EncodingError(path="$", problem="an object with $encrypted, which stands for an encrypted value")
            return event
        self._met(keys.items())
        place = self._place("event", version, type_, schema)
        text = self._encrypted(orjson.dumps(given), keys, place)
        if is_own:
            return NewEvent(type_, data, state=text, schema=schema, metadata=metadata)
        return NewEvent(type_, text, schema=schema, metadata=metadata)

    def _keys_of(self, event: NewEvent) -> Mapping[str, bytes]:
        """The keys that a new event is to be encrypted under."""
        if event.state is None and event.delta is None:
            path = self._machine.subject_of(event.type)
            return {} if path is None else dict([self._key_at(event.data, path, event.type)])
        # A recorded state holds what the state before it held, or a part of that: nobody can tell which.
        keys = dict(self._keys or {})
        path = self._machine.state_subject
        if path is not None and event.state is not None and not event.type.startswith(RESERVED):
            keys.update([self._key_at(event.state, path, event.type)])
        return keys

    def _key_at(self, text: bytes | None, path: str, type_: str) -> tuple[str, bytes]:
        """The key of the subject that stands at a path of some data.

        Raises:
            EncodingError: there is none.
        """
        value = orjson.loads(text) if text is not None else None
        for name in path.split("."):
            value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        try:
            return self._keyring.current(check_id("subject", value))
        except InvalidIdError as error:  # its text shows the value
            problem = f"no subject that can be used stands there: {error.rule}"
            raise EncodingError(path=f"$.{type_}.{path}", problem=problem) from None

    # States

    def dump(self, state: Any) -> bytes:
        assert self._keys is not None, "a fold of its own, which knows nothing of where the state comes from"
        text = self._machine.dump(state)
        if not self._keys:
            if text.startswith(_OPENING):
                raise EncodingError(path="$", problem="an object with $encrypted, which stands for an encrypted value")
            return text
        return self._encrypted(text, self._keys, self._place("state", self._version))

    def opens(self, plain: Any, version: int) -> bool:
        """Whether a kept state can be read: it belongs to this version, and no key of it was destroyed.

        Raises:
            KeyLostError: the keyring does not know one of its keys.
        """
        if not is_encrypted(plain):
            return True
        where = f"state {self._keyring.governor}/{self._id}"
        envelope = envelope_of(plain, where)
        known = self._keys or {}
        if envelope.version != version or not all(id in known or self._keyring.has_fresh(id) for id in envelope.keys):
            return False
        return not isinstance(self._materials(envelope, where), Tombstone)

    def begin_erased(self, plain: Any, where: str) -> Any:
        if not is_encrypted(plain):
            return NO_STATE
        materials = self._materials(envelope_of(plain, where), where)
        if not isinstance(materials, Tombstone):
            return NO_STATE
        event = Erased(action=BASE, erased_at=utc_of(materials.at), reason=materials.reason)
        return self._machine.step_erased(self.initial(), event)

    def load(self, plain: Any, schema: int, where: Key | str) -> Any:
        keys: dict[str, bytes] = {}
        if is_encrypted(plain):
            envelope = envelope_of(plain, str(where))
            materials = self._materials(envelope, str(where))
            if isinstance(materials, Tombstone):
                raise DecryptionError(where=str(where), problem="a key that it was encrypted under is erased")
            keys = materials
            plain = self._decrypted(envelope, keys, self._place("state", envelope.version), str(where))
            self._version = envelope.version
        self._met(keys.items())
        with _Discreet(str(where)):
            return self._machine.load(plain, schema, where)

    def inherit(self, other: ProtectedFold) -> None:
        """Begin with what another stream's state is made of."""
        self._met((other._keys or {}).items())

    # Both

    def _met(self, keys: Iterable[tuple[str, bytes]]) -> None:
        if self._keys is None:
            self._keys = {}
        self._keys.update(keys)

    def _place(self, what: str, version: int, action: str = "", schema: int = 1) -> Place:
        return Place(what, self._keyring.governor, self._id, version, action, schema)

    def _materials(self, envelope: Envelope, where: str) -> dict[str, bytes] | Tombstone:
        """The keys of an encrypted value, or the tombstone of one of them.

        Raises:
            KeyLostError: the keyring does not know one of them.
        """
        known = self._keys or {}
        found: dict[str, bytes] = {}
        lost: str | None = None
        for id in envelope.keys:
            material = known.get(id) or self._keyring.material(id)
            if isinstance(material, Tombstone):
                return material
            if material is None:
                lost = lost or id
            else:
                found[id] = material
        if lost is not None:
            raise KeyLostError(where=where, key_id=lost)
        return found

    def _encrypted(self, text: bytes, keys: Mapping[str, bytes], place: Place) -> bytes:
        ids = sorted(keys)
        if len(ids) > MAX_KEYS:
            raise InvalidInputError(
                f"{self._id!r} would be encrypted under {len(ids)} keys, the limit is {MAX_KEYS}: spread it over"
                " several streams, each about fewer people"
            )
        data = encrypt(text, secret_of([keys[id] for id in ids]), secret(NONCE_BYTES), place.bound(ids))
        return encode_envelope(Envelope(tuple(ids), place.version, data))

    def _decrypted(self, envelope: Envelope, keys: Mapping[str, bytes], place: Place, where: str) -> Any:
        ids = envelope.keys
        text = decrypt(envelope.data, secret_of([keys[id] for id in ids]), place.bound(ids), where)
        self._met(keys.items())
        return orjson.loads(text)


_OPENING: Final = b'{"$encrypted"'


class _Discreet:
    """Keeps values out of the texts of errors: what does not fit a type is often shown by them."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, SchemaError) and not isinstance(error, SchemaNewerError):
            kind = UpcastError if isinstance(error, UpcastError) else SchemaError
            problem = "decrypted, it does not fit (details are withheld: they would show its content)"
            raise kind(where=self._where, problem=problem) from None
        if isinstance(error, CorruptionError) and not isinstance(error, DecryptionError):
            problem = "decrypted, it does not fit its declared type (details are withheld: they would show its content)"
            raise CorruptionError(where=self._where, problem=problem) from None
