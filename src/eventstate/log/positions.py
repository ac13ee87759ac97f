"""Saved positions: how far each named subscription has come, as documents beside the data.

Where a store has an order, one document holds a position. Where order is kept in each stream only, each stream has a
document with the version reached, so that saving costs what was read and not what there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import (
    CURSOR,
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
from eventstate.core.pins import register_operation
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidIdError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.log.following import Place, Selection, Stream
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

SUBSCRIPTION: Final = "subscription:"
POSITION: Final = "position:"
PARKED: Final = "parked:"
PER_COMMIT: Final = 400
"""Documents saved in one commit."""

NO_PARTITIONS: Final[Mapping[int, int]] = {}
NO_VERSIONS: Final[Mapping[Stream, int]] = {}

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_subscription_name(name: object) -> str:
    """The name, if it can name a subscription.

    Raises:
        InvalidIdError: it can't.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        rule = "1 to 64 letters, digits, '_', '-' or '.'"
        raise InvalidIdError(what="subscription name", value=name, rule=rule)
    return name


class Definition(NamedTuple):
    """What a named subscription is about; fixed when its position is first saved.

    Attributes:
        partitions: into how many parts the streams are shared; 1 for a subscription that is not shared.
    """

    name: str
    home: str
    selection: Selection
    order: str
    partitions: int = 1

    @property
    def key(self) -> Key:
        return Key(CURSOR, self.home, f"{SUBSCRIPTION}{self.name}")

    @property
    def has_one_position(self) -> bool:
        """Whether one document says it all."""
        return self.selection.state_id is not None or (self.order == "store" and self.partitions == 1)

    @property
    def _scope(self) -> str:
        """The name where its documents are: also in other governors, if it is about them."""
        if self.selection.governor == self.home:
            return self.name
        return f"{self.name}@{sha256(self.home.encode()).hexdigest()[:12]}"

    def partition_key(self, partition: int) -> Key:
        return Key(CURSOR, self.home, f"{POSITION}{self.name}:{partition:02}")

    def stream_prefix(self) -> str:
        return f"{POSITION}{self._scope}/"

    def stream_key(self, stream: Stream) -> Key:
        return Key(CURSOR, stream[0], f"{self.stream_prefix()}{stream[1]}")

    def parked_prefix(self) -> str:
        return f"{PARKED}{self._scope}/"

    def parked_key(self, stream: Stream, version: int) -> Key:
        return Key(CURSOR, stream[0], f"{self.parked_prefix()}{stream[1]}:{version:012}")

    def members(self) -> dict[str, Any]:
        """Its stored form."""
        selection = self.selection
        members: dict[str, Any] = {"order": self.order}
        if selection.governor is not None:
            members["governor"] = selection.governor
        if selection.state_id is not None:
            members["state_id"] = selection.state_id
        if selection.machines is not None:
            members["machines"] = sorted(selection.machines)
        if selection.actions is not None:
            members["actions"] = sorted(selection.actions)
        if self.partitions != 1:
            members["partitions"] = self.partitions
        return members


def definition_of(document: Document) -> Definition:
    """What a stored subscription is about.

    Raises:
        CorruptionError: the document is none.
    """
    members = members_of(document)
    machines, actions = members.get("machines"), members.get("actions")
    selection = Selection(
        members.get("governor"),
        members.get("state_id"),
        None if machines is None else frozenset(machines),
        None if actions is None else frozenset(actions),
    )
    name = document.key.id.removeprefix(SUBSCRIPTION)
    return Definition(name, document.key.owner, selection, members["order"], members.get("partitions", 1))


def members_of(document: Document) -> dict[str, Any]:
    """The members of a cursor.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members: dict[str, Any] = orjson.loads(document.body)
        members["t"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"it is no cursor ({error})") from None
    return members


Extra = Callable[[str], Sequence[Operation]]
"""Makes, from a batch's token, what else is to be written in it."""


def nothing(_token: str) -> Sequence[Operation]:
    """No `Extra`."""
    return ()


class Positions:
    """The saved position of one subscription, as one process reads and moves it.

    Attributes:
        place: as it was last loaded or saved; the versions of many streams as they were loaded.
        partitions: where the parts of a shared subscription are, on a store that has an order.
    """

    def __init__(self, store: Store, definition: Definition) -> None:
        self.definition = definition
        self.place = Place()
        self.partitions: dict[int, int] = {}
        self.store = store
        self._committer = Committer(store, definition.home)
        self._revision: Revision | None = None
        self._unanswered: set[str] = set()

    @property
    def is_new(self) -> bool:
        """Whether nothing was saved under its name."""
        return self._revision is None

    async def load(self) -> None:
        """Read what is saved.

        Raises:
            ConfigurationError: the name is that of a subscription to something else.
        """
        definition = self.definition
        document = (await self.store.get([definition.key])).documents.get(definition.key)
        if document is None:
            self._revision = None
            return
        _check_same(definition_of(document), definition)
        self._revision = document.revision
        self.place = await saved_place(self.store, definition, document)
        if definition.order == "store" and not definition.has_one_position:
            self.partitions = await partition_positions(self.store, definition, self.place.position or 0)

    async def create(self, place: Place) -> None:
        """Save a place for the first time.

        Raises:
            TransactionConflictError: somebody else was faster; load it.
        """
        # A prune that runs now has read the saved places before this one was there: its next commit is refused.
        governors = await owners_of(self.store, self.definition.selection)
        await self.save(place, lambda token: [register_operation(owner, token) for owner in governors])
        self.place = place
        if self.definition.order == "store" and not self.definition.has_one_position:
            self.partitions = dict.fromkeys(range(self.definition.partitions), place.position or 0)

    async def save(self, place: Place, extra: Extra = nothing) -> None:
        """Move on to a place; its ``versions`` need only be those of streams that have moved.

        ``extra`` is written in the same commit.

        Raises:
            TransactionConflictError: another process has moved the same subscription; call `load` before the next
                attempt.
        """
        try:
            await self._save(place, extra)
        except TransactionConflictError:
            if not await self._was_own():
                raise
            await self._save(place, extra)

    async def _was_own(self) -> bool:
        """Whether what stands in the way is a save of this very process that was never answered."""
        key = self.definition.key
        document = (await self.store.get([key])).documents.get(key)
        if document is None or members_of(document)["t"] not in self._unanswered:
            return False
        self._revision = document.revision
        return True

    async def _save(self, place: Place, extra: Extra) -> None:
        definition = self.definition
        streams = [] if definition.has_one_position else list(place.versions.items())
        token = self.store.runtime.unique()
        while len(streams) > PER_COMMIT:
            guard = Check(definition.key, self._revision or Require.ABSENT)
            await self._commit(Batch(token, [guard, *self._moves(token, streams[:PER_COMMIT])]))
            streams, token = streams[PER_COMMIT:], self.store.runtime.unique()
        body = orjson.dumps({"t": token, **definition.members(), **self._reached(place)})
        put = Put(definition.key, body, self._revision or Require.ABSENT)
        committed = await self._commit(Batch(token, [put, *self._moves(token, streams), *extra(token)]))
        revision = committed.revisions.get(definition.key)
        if revision is None:  # it was saved, and moved by another since
            raise self._conflict()
        self._revision = revision
        self.place = place if definition.has_one_position else self.place._replace(hint=place.hint)

    def check(self) -> Check:
        """Holds as long as nobody else has moved it."""
        return Check(self.definition.key, self._revision or Require.ABSENT)

    def _reached(self, place: Place) -> dict[str, int]:
        if self.definition.selection.state_id is not None:
            return {"n": next(iter(place.versions.values()), 0)}
        if self.definition.order == "store":
            return {"at": place.position or 0}
        return {"hint": place.hint}

    def _moves(self, token: str, streams: Iterable[tuple[Stream, int]]) -> list[Operation]:
        return [
            Put(self.definition.stream_key(stream), orjson.dumps({"t": token, "n": version}), Require.ANY)
            for stream, version in streams
        ]

    async def _commit(self, batch: Batch) -> Committed:
        try:
            result = await self._committer.commit_guarded(batch)
        except StoreUnavailableError:
            self._unanswered.add(batch.token)
            raise
        if not isinstance(result, Committed):
            raise self._conflict()
        return result

    def _conflict(self) -> TransactionConflictError:
        detail = "another process works on the same subscription; share it (shared=True), or stop one of them"
        return TransactionConflictError(keys=(str(self.definition.key),), detail=detail)

    async def save_shared(
        self,
        fences: Iterable[Check],
        *,
        partitions: Mapping[int, int] = NO_PARTITIONS,
        versions: Mapping[Stream, int] = NO_VERSIONS,
        extra: Extra = nothing,
    ) -> bool:
        """Move on in parts of a shared subscription, under the fences of their locks; False where one is gone."""
        streams = list(versions.items())
        fences = list(fences)
        is_last = False
        while not is_last:
            is_last = len(streams) <= PER_COMMIT
            token = self.store.runtime.unique()
            operations = [*fences, *self._moves(token, streams[:PER_COMMIT])]
            if is_last:
                operations += [self._at(token, number, at) for number, at in partitions.items()]
                operations += extra(token)
            if len(operations) == len(fences):
                return True
            if not isinstance(await self._committer.commit_guarded(Batch(token, operations)), Committed):
                return False
            streams = streams[PER_COMMIT:]
        self.partitions.update(partitions)
        return True

    def _at(self, token: str, partition: int, at: int) -> Put:
        return Put(self.definition.partition_key(partition), orjson.dumps({"t": token, "at": at}), Require.ANY)


async def saved_place(store: Store, definition: Definition, document: Document) -> Place:
    """The place that a subscription has saved, given its main document."""
    members = members_of(document)
    selection = definition.selection
    if selection.state_id is not None:
        return Place(None, {(selection.governor or "", selection.state_id): members.get("n", 0)})
    if definition.order == "store":
        return Place(members.get("at", 0))
    versions: dict[Stream, int] = {}
    for owner in await owners_of(store, selection):
        versions.update(await _versions_in(store, definition, owner))
    return Place(None, versions, members.get("hint", 0))


async def _versions_in(store: Store, definition: Definition, owner: str) -> dict[Stream, int]:
    prefix = definition.stream_prefix()
    versions: dict[Stream, int] = {}
    after: Key | None = None
    while True:
        page = await store.scan(CURSOR, owner, prefix=prefix, after=after)
        for document in page.documents:
            versions[owner, document.key.id.removeprefix(prefix)] = members_of(document)["n"]
        after = page.next
        if after is None:
            return versions


async def partition_positions(store: Store, definition: Definition, at: int) -> dict[int, int]:
    """Where each part of a shared subscription is; ``at`` where it has not begun."""
    keys = [definition.partition_key(number) for number in range(definition.partitions)]
    found = (await store.get(keys)).documents
    return {number: members_of(found[key])["at"] if key in found else at for number, key in enumerate(keys)}


async def owners_of(store: Store, selection: Selection) -> Sequence[str]:
    """The governors that a selection is about."""
    if selection.governor is not None:
        return [selection.governor]
    owners: list[str] = []
    while page := await store.owners(after=owners[-1] if owners else ""):
        owners.extend(page)
    return owners


async def definitions_page(store: Store, home: str, after: Key | None) -> tuple[Sequence[Document], Key | None]:
    """The main documents of some of the subscriptions of a governor, and where to go on."""
    page = await store.scan(CURSOR, home, prefix=SUBSCRIPTION, after=after)
    return page.documents, page.next


async def delete_saved(store: Store, definition: Definition) -> None:
    """Forget everything that is saved of a subscription, what it parked included. Its main document goes last."""
    keys = [definition.partition_key(number) for number in range(definition.partitions)]
    for owner in await owners_of(store, definition.selection):
        for prefix in (definition.stream_prefix(), definition.parked_prefix()):
            after: Key | None = None
            while True:
                page = await store.scan(CURSOR, owner, prefix=prefix, after=after)
                keys += [document.key for document in page.documents]
                after = page.next
                if after is None:
                    break
    keys.append(definition.key)
    committer = Committer(store, definition.home)
    for first in range(0, len(keys), PER_COMMIT):
        deletes = [Delete(key, Require.ANY) for key in keys[first : first + PER_COMMIT]]
        await committer.commit_guarded(Batch(store.runtime.unique(), deletes))


def _check_same(stored: Definition, wanted: Definition) -> None:
    if stored != wanted:
        raise ConfigurationError(
            f"subscription {stored.name!r} was made with {_shown(stored)}, not with {_shown(wanted)}: use another name,"
            " or delete what is saved of it"
        )


def _shown(definition: Definition) -> str:
    return orjson.dumps(definition.members()).decode()
