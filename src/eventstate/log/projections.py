"""Projections as they are stored: which generation is read, how far it is, and its documents.

A generation is one building of a projection from the first event on. Readers see one generation at a time; another one
is built beside it, and takes its place in one commit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.chain import key_context, seal
from eventstate.core.documents import (
    PROJECTION,
    Batch,
    Check,
    Committed,
    Delete,
    Document,
    Key,
    Operation,
    Put,
    Require,
    Revision,
)
from eventstate.core.format import sealed_members
from eventstate.core.ids import check_id
from eventstate.errors import CorruptionError, InvalidIdError, ProjectionNotFoundError
from eventstate.log.following import Selection
from eventstate.log.positions import Definition, delete_saved
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

SEPARATOR: Final = "/"
PER_COMMIT: Final = 200
"""Documents deleted in one commit."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_BEYOND: Final = "\U0010ffff"


def check_projection_name(name: object) -> str:
    """The name, if it can name a projection.

    Raises:
        InvalidIdError: it can't.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidIdError(what="projection name", value=name, rule="1 to 40 letters, digits, '_', '-' or '.'")
    return name


class Generation(NamedTuple):
    """One building of a projection: its number, and the version of the code that builds it."""

    number: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What says which generation readers see.

    Attributes:
        current: the one that is read.
        building: the one that is to take its place.
        is_held: the current one stands still, so that the other can catch up with it and take its place.
        old: numbers of generations whose documents are still to be removed.
        revision: of the document; None before it is written.
        written_at: by the store's clock.
    """

    name: str
    current: Generation
    building: Generation | None = None
    is_held: bool = False
    old: tuple[int, ...] = ()
    revision: Revision | None = None
    written_at: int = 0

    def body(self, token: str) -> bytes:
        members: dict[str, Any] = {"t": token, "current": self.current._asdict()}
        if self.building is not None:
            members["building"] = self.building._asdict()
        if self.is_held:
            members["held"] = True
        if self.old:
            members["old"] = list(self.old)
        return orjson.dumps(members)


def register_key(owner: str, name: str) -> Key:
    """The document that says which generation of a projection is read."""
    return Key(PROJECTION, owner, name)


def generation_key(owner: str, name: str, number: int) -> Key:
    """What is known of a generation besides its documents."""
    return Key(PROJECTION, owner, f"{name}{SEPARATOR}{number}")


def document_prefix(name: str, number: int) -> str:
    """How the ids of a generation's documents begin."""
    return f"{name}{SEPARATOR}{number}{SEPARATOR}"


def document_key(owner: str, name: str, number: int, id: object) -> Key:
    """Where a document of a generation lives.

    Raises:
        InvalidIdError: the id can't be used.
    """
    id = check_id("document id", id)
    return Key(PROJECTION, owner, check_id("document id", document_prefix(name, number) + id))


def document_body(key: Key, text: bytes, token: str) -> bytes:
    """A sealed document of a projection with a value, given as JSON text."""
    return seal(key_context(key), orjson.dumps({"t": token, "data": orjson.Fragment(text)}))[0]


def value_of(document: Document) -> Any:
    """The value of a document of a projection.

    Raises:
        CorruptionError: its bytes do not match their digest.
    """
    return sealed_members(document)["data"]


def definition(owner: str, name: str, number: int, selection: Selection, order: str) -> Definition:
    """Under which name a generation's position is saved, as a subscription's is."""
    return Definition(f"projection.{name}.{number}", owner, selection, order)


def register_of(document: Document) -> Register:
    """A register read back.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members = orjson.loads(document.body)
        building = members.get("building")
        return Register(
            name=document.key.id,
            current=Generation(**members["current"]),
            building=Generation(**building) if building else None,
            is_held=members.get("held", False),
            old=tuple(members.get("old", ())),
            revision=document.revision,
            written_at=document.written_at,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"it is no projection ({error})") from None


class Tally(NamedTuple):
    """What is known of a generation: how many events it has handled, and when its documents were last written."""

    events: int = 0
    at: int = 0


def tally_of(document: Document) -> Tally:
    """What a generation has done.

    Raises:
        CorruptionError: the document is none of it.
    """
    try:
        members = orjson.loads(document.body)
        return Tally(members["events"], members["at"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"it is no generation ({error})") from None


class Registers:
    """The registers of one governor's projections."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._committer = Committer(store, owner)

    @property
    def committer(self) -> Committer:
        return self._committer

    async def find(self, name: str) -> Register | None:
        key = register_key(self._owner, name)
        document = (await self._store.get([key])).documents.get(key)
        return None if document is None else register_of(document)

    async def get(self, name: str) -> Register:
        """The register of a projection.

        Raises:
            ProjectionNotFoundError: it was never run.
        """
        found = await self.find(check_projection_name(name))
        if found is None:
            raise ProjectionNotFoundError(governor=self._owner, name=name)
        return found

    async def write(self, register: Register, more: Sequence[Operation] = ()) -> bool:
        """Put a register in the place of the one that it was made from; whether nobody else was faster."""
        token = self._store.runtime.unique()
        when = Require.ABSENT if register.revision is None else register.revision
        put = Put(register_key(self._owner, register.name), register.body(token), when)
        return isinstance(await self._committer.commit_guarded(Batch(token, (put, *more))), Committed)

    async def age(self, register: Register) -> float:
        """Seconds since it was written, by the store's clock."""
        fetched = await self._store.get([register_key(self._owner, register.name)])
        return (fetched.read_at - register.written_at) / 1_000_000

    async def names(self) -> list[str]:
        """All projections, in order: one look for each of them and each of their generations."""
        names: list[str] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(PROJECTION, self._owner, after=after, limit=1)
            if not page.documents:
                return names
            name, separator, _ = page.documents[0].key.id.partition(SEPARATOR)
            if not separator:
                names.append(name)
            # What follows the first document of a projection is beyond all of them.
            after = Key(PROJECTION, self._owner, f"{name}{SEPARATOR}{_BEYOND}" if separator else name)

    def check(self, register: Register) -> Check:
        """Holds as long as the register has not changed."""
        assert register.revision is not None
        return Check(register_key(self._owner, register.name), register.revision)


class ViewReader:
    """Reads the documents of the generation that is current."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._registers = Registers(store, owner)
        self._numbers: dict[str, int] = {}

    async def get(self, name: str, id: str) -> Any:
        """The value of a document, or None where there is none.

        Raises:
            ProjectionNotFoundError: there is no such projection.
        """
        number = await self._number(name)
        while True:
            key = document_key(self._owner, name, number, id)
            document = (await self._store.get([key])).documents.get(key)
            # Looked at afterwards: the generation was the current one when its document was read.
            is_current, number = await self._confirmed(name, number)
            if is_current:
                return None if document is None else value_of(document)

    async def page(self, name: str, prefix: str, after: str, limit: int) -> tuple[list[tuple[str, Any]], str | None]:
        """Some documents of one generation in id order, and the id to go on from (None at the end)."""
        number = await self._number(name)
        while True:
            start = document_prefix(name, number)
            key = Key(PROJECTION, self._owner, start + after) if after else None
            page = await self._store.scan(PROJECTION, self._owner, prefix=start + prefix, after=key, limit=limit)
            is_current, number = await self._confirmed(name, number)
            if is_current:
                values = [(document.key.id[len(start) :], value_of(document)) for document in page.documents]
                return values, page.next.id[len(start) :] if page.next is not None else None

    async def _number(self, name: str) -> int:
        number = self._numbers.get(check_projection_name(name))
        return (await self._registers.get(name)).current.number if number is None else number

    async def _confirmed(self, name: str, number: int) -> tuple[bool, int]:
        try:
            current = (await self._registers.get(name)).current.number
        except ProjectionNotFoundError:
            self._numbers.pop(name, None)
            raise
        if len(self._numbers) > 1000:
            self._numbers.clear()
        self._numbers[name] = current
        return current == number, current


async def remove_generation(store: Store, owner: str, name: str, number: int, saved: Definition) -> None:
    """Delete what a generation consists of. May be repeated: what tells of it goes last."""
    committer = Committer(store, owner)
    prefix = document_prefix(name, number)
    while True:
        page = await store.scan(PROJECTION, owner, prefix=prefix, limit=PER_COMMIT)
        if not page.documents:
            break
        deletes = [Delete(document.key, Require.ANY) for document in page.documents]
        await committer.commit_guarded(Batch(store.runtime.unique(), deletes))
    await delete_saved(store, saved)
    last = Delete(generation_key(owner, name, number), Require.ANY)
    await committer.commit_guarded(Batch(store.runtime.unique(), (last,)))
