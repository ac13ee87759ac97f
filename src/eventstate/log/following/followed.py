"""Entries as a follower hands them on, each checked against the one before it where that is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from eventstate.core.chain import REST, genesis, sealed_start, stored_digest, verified
from eventstate.core.chain import digest as digest_of
from eventstate.core.documents import HEAD, Document, Key, made
from eventstate.core.format import Entry, StoredEvent, decode_entry, decode_head, load_members
from eventstate.errors import CorruptionError, EventStateError
from eventstate.log.following.places import Stream
from eventstate.log.following.selection import Selection
from eventstate.stores.base import Store

REMEMBERED = 10_000
"""Streams whose last digest is kept in memory."""


class Followed:
    """One entry of one stream. It is decoded when somebody looks: what is decoded at once lies about for long.

    Attributes:
        position: its place in store order; None where that is not known.
        document: as it is stored.
        is_checked: its digest was held against the entry before it.
    """

    __slots__ = ("_entry", "_is_decoded", "_problem", "document", "is_checked", "position")

    def __init__(
        self,
        position: int | None,
        document: Document,
        entry: Entry | None = None,
        problem: EventStateError | None = None,
        is_checked: bool = True,
        is_decoded: bool = True,
    ) -> None:
        self.position = position
        self.document = document
        self._entry = entry
        self._problem = problem
        self.is_checked = is_checked
        self._is_decoded = is_decoded

    def _decode(self) -> None:
        self._is_decoded = True
        try:
            self._entry = _unchecked(self.document)
        except EventStateError as error:
            self._problem = error

    @property
    def entry(self) -> Entry | None:
        """Its events; None where the bytes can't be read."""
        if not self._is_decoded:
            self._decode()
        return self._entry

    @property
    def problem(self) -> EventStateError | None:
        """Why it can't be trusted or read, if so: a CorruptionError or a FormatError."""
        if not self._is_decoded:
            self._decode()
        return self._problem

    @property
    def is_suspect(self) -> bool:
        """Whether a problem is known already."""
        return self._problem is not None

    def without_problem(self) -> Followed:
        """The same entry, taken for good."""
        return Followed(self.position, self.document, self._entry, None, self.is_checked)

    @property
    def stream(self) -> Stream:
        key = self.document[0]
        return key[1], key[2]

    @property
    def version(self) -> int:
        """Of its last event."""
        return self.document.key.n

    def events(self, selection: Selection) -> Sequence[StoredEvent]:
        """Those of its events that are wanted."""
        entry = self.entry
        if entry is None:
            return ()
        wanted = enumerate(entry.events, entry.first)
        return [entry.event(version) for version, body in wanted if selection.takes_event(body)]

    def is_wanted(self, selection: Selection) -> bool:
        """Whether any of its events is wanted, or it must be told of since it can't be read."""
        entry = self.entry
        return entry is None or self._problem is not None or selection.takes_entry(entry)


class ChainChecks:
    """Reads entries in the order of their streams, and remembers where each of the last streams was."""

    def __init__(self, store: Store, remembered: int = REMEMBERED) -> None:
        self._store = store
        self._remembered = remembered
        self._tips: dict[Stream, tuple[int, bytes]] = {}

    def follow(self, position: int | None, document: Document, after: int | None) -> Followed:
        """An entry read and checked.

        ``after`` is the version up to which the stream was read before, where that is known. An entry that does not
        follow it comes with a problem, which `judged` may take back.
        """
        key = document[0]
        stream = key[1], key[2]
        tips = self._tips
        known = tips.get(stream)
        if known is not None:
            try:
                digest = verified(known[1], document[1], key)
            except EventStateError:
                followed = self._followed(position, document, known[0])
            else:
                tips[stream] = key[3], digest
                return Followed(position, document, None, None, True, False)
        else:
            followed = self._followed(position, document, after)
        tips[stream] = key[3], stored_digest(document[1])
        if len(tips) > self._remembered:
            for old in list(islice(tips, len(tips) // 2)):
                del tips[old]
        return followed

    def follow_all(self, entries: Iterable[tuple[int, Document]]) -> list[Followed]:
        """`follow` for entries in store order, which come by the ten thousands."""
        tips, follow = self._tips, self.follow
        found: list[Followed] = []
        add = found.append
        for position, document in entries:
            key, body, _, _ = document
            _, owner, id, version = key
            known = tips.get((owner, id))
            if known is None:
                add(follow(position, document, None))
                continue
            start = body[:REST]
            digest = digest_of(known[1], body[REST:])
            if start != sealed_start(digest):
                add(follow(position, document, None))
                continue
            tips[owner, id] = version, digest
            add(Followed(position, document, None, None, True, False))
        return found

    def _followed(self, position: int | None, document: Document, before: int | None) -> Followed:
        """An entry that does not follow the one before it by its digest, or of which that one is not at hand."""
        key = document.key
        try:
            entry = _unchecked(document)
            if entry.first == 1:
                decode_entry(document, genesis(key.owner, key.id))
        except EventStateError as error:
            return Followed(position, document, None, error)
        if before is None:
            return Followed(position, document, entry, None, entry.first == 1)
        if entry.first <= before:
            problem = CorruptionError(where=str(key), problem=f"it comes after version {before}")
            return Followed(position, document, entry, problem, False)
        if entry.first == before + 1 and key[1:3] in self._tips:
            problem = CorruptionError(where=str(key), problem="its bytes do not match their digest")
            return Followed(position, document, None, problem)
        if entry.first == before + 1:
            return Followed(position, document, entry, None, entry.first == 1)
        problem = CorruptionError(where=str(key), problem=f"version {before + 1} is missing before it")
        return Followed(position, document, entry, problem, False)

    async def judged(self, found: list[Followed]) -> list[Followed]:
        """The same entries, without the problem of those whose predecessors were pruned."""
        try:
            return await self._judged(found)
        except BaseException:
            self._tips.clear()  # they will be read once more
            raise

    async def _judged(self, found: list[Followed]) -> list[Followed]:
        for number, followed in enumerate(found):
            if not followed.is_suspect or followed.entry is None:
                continue
            key = Key(HEAD, *followed.stream)
            head = (await self._store.get([key])).documents.get(key)
            try:
                base = decode_head(head)[0].tip.base if head is not None else None
            except EventStateError:
                base = None
            if base is not None and base.version >= followed.entry.first - 1:
                found[number] = followed.without_problem()
        return found


def _unchecked(document: Document) -> Entry:
    """An entry whose digest can't be checked, since the one before it is not at hand.

    Raises:
        CorruptionError: it is no entry, or not this one.
        FormatError: a newer version of this library wrote it.
    """
    key, body, _, _ = document
    members = load_members(body, key)
    try:
        events, version = members["e"], members["n"]
        entry: Entry = made(Entry, (version, version - len(events) + 1, stored_digest(body), events, members))
    except (KeyError, TypeError) as error:
        raise CorruptionError(where=str(key), problem=f"it is no entry ({error})") from None
    if version != key.n:
        raise CorruptionError(where=str(key), problem=f"it holds version {version}")
    return entry
