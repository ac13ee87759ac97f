"""The keys of subjects: made when they are first needed, replaced, and destroyed for good.

They live in a store of their own, so that a copy of the events is worth nothing without them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.backoff import full_jitter
from eventstate.core.codec import decode, encode
from eventstate.core.documents import (
    KEYRING,
    SECRET,
    SUBJECT,
    Batch,
    Committed,
    Document,
    Key,
    Precondition,
    Put,
    Require,
)
from eventstate.core.ids import check_id
from eventstate.core.instants import utc_of
from eventstate.core.privacy import (
    KEY_BYTES,
    NONCE_BYTES,
    Envelope,
    Erased,
    Place,
    decrypt,
    encode_envelope,
    encrypt,
    envelope_of,
    require_cipher,
    secret_of,
)
from eventstate.core.urlsafe import urlsafe_bytes, urlsafe_text
from eventstate.errors import (
    CorruptionError,
    InvalidInputError,
    KeyLostError,
    StoreReadOnlyError,
    SubjectErasedError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from eventstate.runtime.clock import secret
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

FRESH_SECONDS: Final = 1.0
"""How long a process goes on with the keys it has before it asks whether one was erased elsewhere."""

MAX_SUBJECT_KEYS: Final = 200
"""Keys of one subject, the replaced ones included: all of them are destroyed in one commit."""

MAX_KEYS_AT_HAND: Final = 200_000
_ATTEMPTS: Final = 20


class KeysNeededError(Exception):
    """A value can't be encrypted before the keys of these subjects have been fetched. Never leaves the library."""

    def __init__(self, subjects: Sequence[str]) -> None:
        super().__init__(f"{len(subjects)} subjects")
        self.subjects = subjects


class Tombstone(NamedTuple):
    """What is left of a key that was destroyed."""

    at: int
    reason: str


Material = bytes | Tombstone | None
"""A key as far as the keyring knows it: its bytes, its tombstone, or nothing at all."""


class _AtHand(NamedTuple):
    material: Material
    generation: int


class _CurrentKey(NamedTuple):
    """The key that a subject's new events are encrypted with, or the tombstone of the subject."""

    key: str | Tombstone
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectInfo:
    """A subject of a keyring.

    Attributes:
        subject: its name; None once it is erased, when the keyring does not know it any more.
        key_ids: the ids of its keys, the newest last.
        since: when its first key was made.
        erased_at, reason: when and why it was erased.
    """

    subject: str | None
    key_ids: tuple[str, ...]
    since: datetime
    erased_at: datetime | None = None
    reason: str | None = None


class KeyringCore:
    """The keys of one governor's subjects, with those lately used at hand."""

    def __init__(self, store: Store, governor: str, fresh_seconds: float = FRESH_SECONDS) -> None:
        if fresh_seconds < 0:
            raise InvalidInputError(f"fresh_seconds={fresh_seconds}: 0 or more")
        self.store = store
        self.governor = check_id("governor", governor)
        self._committer = Committer(store, self.governor)
        self._fresh_seconds = fresh_seconds
        self._at_hand: dict[str, _AtHand] = {}
        self._current: dict[str, _CurrentKey] = {}
        self._generation = 0
        self._erasures: int | None = None
        self._looked_at = float("-inf")
        self._pepper = b""
        self._salt = b""
        """The same secret once it is known to be stored."""

    # What is at hand, for code that can't wait

    def material(self, key_id: str) -> Material:
        """A key that was fetched before; None where the keyring does not have it."""
        found = self._at_hand.get(key_id)
        return found.material if found is not None else None

    def has_fresh(self, key_id: str) -> bool:
        """Whether a key is at hand, and was fetched since the last erasure that this process has heard of."""
        found = self._at_hand.get(key_id)
        return found is not None and found.generation == self._generation

    def current(self, subject: str) -> tuple[str, bytes]:
        """The id and the bytes of the key for new data about a subject.

        Raises:
            KeysNeededError: fetch it first.
            SubjectErasedError: the subject was erased.
        """
        found = self._current.get(subject)
        if found is None or found.generation != self._generation:
            raise KeysNeededError((subject,))
        if isinstance(found.key, Tombstone):
            raise self._erased(found.key)
        material = self.material(found.key)
        if not isinstance(material, bytes):
            raise KeysNeededError((subject,))
        return found.key, material

    def digest(self, text: bytes) -> str:
        """A digest of text that can't be guessed from the digest without this keyring."""
        return hashlib.blake2b(text, key=self._pepper, digest_size=32).hexdigest()

    # Fetching

    async def refresh(self) -> None:
        """Learn of erasures by others, if it is time to ask."""
        now = self.store.runtime.monotonic()
        if now - self._looked_at < self._fresh_seconds:
            return
        members = _decoded(await self._counter())
        if members["erasures"] != self._erasures:
            self._erasures = members["erasures"]
            self._generation += 1
        self._pepper = urlsafe_bytes(members["pepper"])
        self._looked_at = now

    async def _counter(self) -> Document:
        """The document that counts erasures, made with the keyring."""
        key = Key(KEYRING, self.governor, "erasures")
        while True:
            document = await self._get(key)
            if document is not None:
                return document
            await self._check_new(key)
            token = self.store.runtime.unique()
            body = orjson.dumps({"t": token, "erasures": 0, "pepper": urlsafe_text(secret(KEY_BYTES))})
            try:
                await self._committer.commit_guarded(Batch(token, (Put(key, body, Require.ABSENT),)))
            except StoreReadOnlyError:
                return Document(key, body, "", 0)

    async def _check_new(self, key: Key) -> None:
        """Fail where the counter is lost: with another secret nobody's keys would be found, nor erased, any more."""
        subjects = (await self.store.scan(SUBJECT, self.governor, limit=1)).documents
        if subjects and await self._get(key) is None:
            raise CorruptionError(where=str(key), problem="it is missing from the keyring, which has subjects")

    async def prepare(self, key_ids: Iterable[str]) -> None:
        """Have keys at hand, each as it is now."""
        key_ids = frozenset(key_ids)
        await self.refresh()
        # A key that was not there may be there now: its keyring may have been restored meanwhile.
        wanted = [id for id in key_ids if not self.has_fresh(id) or self.material(id) is None]
        if not wanted:
            return
        generation = self._generation
        self._make_room(key_ids)
        for start in range(0, len(wanted), 300):
            keys = {Key(SECRET, self.governor, id): id for id in wanted[start : start + 300]}
            documents = (await self.store.get(list(keys))).documents
            for key, id in keys.items():
                self._at_hand[id] = _AtHand(_material(documents.get(key)), generation)

    def _make_room(self, needed: frozenset[str]) -> None:
        if len(self._at_hand) > MAX_KEYS_AT_HAND:
            for id in list(self._at_hand)[: MAX_KEYS_AT_HAND // 2]:
                if id not in needed:
                    self._at_hand.pop(id, None)
            self._current.clear()

    async def prepare_subjects(self, subjects: Iterable[str]) -> None:
        """Have the keys for new data about subjects at hand, made where they have none.

        Raises:
            SubjectErasedError: a subject was erased.
        """
        await self.refresh()
        for subject in subjects:
            generation = self._generation
            members = _decoded(await self._subject(subject))
            tombstone = _tombstone(members)
            if tombstone is not None:
                self._current[subject] = _CurrentKey(tombstone, generation)
                raise self._erased(tombstone)
            newest = members["keys"][-1]
            await self.prepare((newest,))
            self._current[subject] = _CurrentKey(newest, generation)

    async def _subject(self, subject: str) -> Document:
        key = await self._subject_key(subject)
        while True:
            document = await self._get(key)
            if document is not None:
                return document
            members: dict[str, Any] = {"subject": subject, "keys": [], "since": self.store.runtime.now()}
            await self._add_key(key, members, self.store.runtime.unique(), Require.ABSENT)

    async def _add_key(
        self, key: Key, members: Mapping[str, Any], id: str, when: Precondition, counter: Document | None = None
    ) -> bool:
        """Make a new key, the newest of its subject, in the commit that says so."""
        token = self.store.runtime.unique()
        listed = {**members, "t": token, "keys": [*members["keys"], id]}
        material = {"t": token, "key": urlsafe_text(secret(KEY_BYTES)), "subject": key.id}
        batch = Batch(
            token,
            (
                Put(key, orjson.dumps(listed), when),
                Put(Key(SECRET, self.governor, id), orjson.dumps(material), Require.ABSENT),
                *(() if counter is None else (_counted(counter, token),)),
            ),
        )
        return isinstance(await self._committer.commit_guarded(batch), Committed)

    # Values that are stored outside of streams

    async def encrypt(self, subject: str, value: Any, place: str) -> dict[str, Any]:
        """A value encrypted for a subject and a place; plain JSON data again."""
        require_cipher()
        text = encode(value)
        key = check_id("subject", subject)
        await self.prepare_subjects((key,))
        id, material = self.current(key)
        bound = self._place(place).bound((id,))
        data = encrypt(text, secret_of((material,)), secret(NONCE_BYTES), bound)
        return orjson.loads(encode_envelope(Envelope((id,), 0, data)))

    async def decrypt(self, value: Any, place: str) -> Any:
        """The value again; `Erased` if its subject was erased."""
        require_cipher()
        where = f"value for {place!r}"
        envelope = envelope_of(value, where)
        await self.prepare(envelope.keys)
        found = self.opened(envelope, self._place(place), where)
        if isinstance(found, Tombstone):
            return Erased(action=place, erased_at=utc_of(found.at), reason=found.reason)
        return found

    def opened(self, envelope: Envelope, place: Place, where: str) -> Any:
        """An encrypted value whose keys are at hand, or the tombstone of one of them.

        Raises:
            KeyLostError: the keyring does not know one of them.
            DecryptionError: they don't open it there.
        """
        found = {id: self.material(id) for id in envelope.keys}
        materials: list[bytes] = []
        for material in found.values():
            if isinstance(material, Tombstone):
                return material
            if material is not None:
                materials.append(material)
        lost = next((id for id, material in found.items() if material is None), None)
        if lost is not None:
            raise KeyLostError(where=where, key_id=lost)
        return decode(decrypt(envelope.data, secret_of(materials), place.bound(envelope.keys), where), where)

    def _place(self, place: str) -> Place:
        return Place("value", self.governor, check_id("place", place), 0)

    # Changing

    async def rotate(self, subject: str) -> str:
        """Give a subject a new key, for what is written from now on; its id."""
        for attempt in range(1, _ATTEMPTS + 1):
            document = await self._known_subject(subject)
            members = _decoded(document)
            tombstone = _tombstone(members)
            if tombstone is not None:
                raise self._erased(tombstone)
            if len(members["keys"]) >= MAX_SUBJECT_KEYS:
                raise InvalidInputError(f"the subject has {MAX_SUBJECT_KEYS} keys, which is as many as one can have")
            id = self.store.runtime.unique()
            # Counted like an erasure: other processes then see that what they have at hand is old.
            counter = await self._counter()
            if await self._add_key(document.key, members, id, document.revision, counter):
                self._forget_all()
                return id
            await self._pause(attempt)
        raise self._contended(await self._subject_key(subject))

    async def erase(self, subject: str, reason: str) -> SubjectInfo:
        """Destroy all keys of a subject; again without effect."""
        if not reason:
            raise InvalidInputError("erase() needs a reason: what somebody will want to know in ten years")
        for attempt in range(1, _ATTEMPTS + 1):
            document = await self._known_subject(subject)
            members = _decoded(document)
            if _tombstone(members) is not None:
                self._forget_all()
                return _info(members)
            counter = await self._counter()
            at = self.store.runtime.now()
            remains = {"keys": members["keys"], "since": members["since"], "erased": at, "reason": reason}
            batch = self._erasure(document, counter, remains)
            if isinstance(await self._committer.commit_guarded(batch), Committed):
                self._forget_all()
                return _info(remains)
            await self._pause(attempt)
        raise self._contended(await self._subject_key(subject))

    def _erasure(self, document: Document, counter: Document, remains: dict[str, Any]) -> Batch:
        token = self.store.runtime.unique()
        stone = {"t": token, "erased": remains["erased"], "reason": remains["reason"], "subject": document.key.id}
        return Batch(
            token,
            (
                _counted(counter, token),
                Put(document.key, orjson.dumps({"t": token, **remains}), document.revision),
                *(Put(Key(SECRET, self.governor, id), orjson.dumps(stone), Require.ANY) for id in remains["keys"]),
            ),
        )

    def _forget_all(self) -> None:
        self._looked_at = float("-inf")
        self._generation += 1

    async def purge(self) -> None:
        """Leave nothing of erased keys behind, where the store can do something about it."""
        vacuum = getattr(self.store, "vacuum", None)
        if vacuum is not None:
            await vacuum()

    async def _known_subject(self, subject: str) -> Document:
        document = await self._get(await self._subject_key(subject))
        if document is None:
            raise SubjectNotFoundError(governor=self.governor)
        return document

    async def subjects(self, after: Key | None, limit: int = 500) -> tuple[list[SubjectInfo], Key | None]:
        """Some of the subjects, in no order that means anything, and the key to go on from."""
        page = await self.store.scan(SUBJECT, self.governor, after=after, limit=limit)
        return [_info(_decoded(document)) for document in page.documents], page.next

    async def info(self, subject: str) -> SubjectInfo:
        """One subject, by its name, also after its erasure."""
        return _info(_decoded(await self._known_subject(subject)))

    async def _get(self, key: Key) -> Document | None:
        return (await self.store.get([key])).documents.get(key)

    async def _pause(self, attempt: int) -> None:
        await self.store.runtime.sleep(full_jitter(attempt, self.store.runtime.random()))

    async def _subject_key(self, subject: str) -> Key:
        """Where a subject is kept: under a digest that tells nothing to who does not have this keyring's secret."""
        name = check_id("subject", subject)
        salt = self._salt
        if not salt:
            counter = await self._counter()
            salt = urlsafe_bytes(_decoded(counter)["pepper"])
            self._salt = salt if counter.revision else b""
        digest = hmac.digest(salt, f"subject\0{self.governor}\0{name}".encode(), "sha256")
        return Key(SUBJECT, self.governor, urlsafe_text(digest)[:43])

    def _contended(self, key: Key) -> TransactionConflictError:
        return TransactionConflictError(keys=(str(key),), detail="others were faster every time")

    def _erased(self, tombstone: Tombstone) -> SubjectErasedError:
        return SubjectErasedError(governor=self.governor, erased_at=utc_of(tombstone.at).isoformat())


def _counted(counter: Document, token: str) -> Put:
    """Tells every process that what it has at hand may have changed."""
    before = _decoded(counter)
    counted = {**before, "t": token, "erasures": before["erasures"] + 1}
    return Put(counter.key, orjson.dumps(counted), counter.revision)


def _decoded(document: Document) -> Any:
    try:
        return orjson.loads(document.body)
    except ValueError:
        raise CorruptionError(where=str(document.key), problem="not JSON") from None


def _tombstone(members: Any) -> Tombstone | None:
    return Tombstone(members["erased"], members["reason"]) if "erased" in members else None


def _material(document: Document | None) -> Material:
    if document is None:
        return None
    members = _decoded(document)
    stone = _tombstone(members)
    if stone is not None:
        return stone
    try:
        key = urlsafe_bytes(members["key"])
    except (KeyError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise CorruptionError(where=str(document.key), problem="it holds no key")
    return key


def _info(members: Any) -> SubjectInfo:
    erased = members.get("erased")
    return SubjectInfo(
        subject=members.get("subject"),
        key_ids=tuple(members["keys"]),
        since=utc_of(members["since"]),
        erased_at=None if erased is None else utc_of(erased),
        reason=members.get("reason"),
    )
