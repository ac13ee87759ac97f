"""Entries as a follower hands them on, each checked against the one before it where that is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Self

import orjson

from eventstate.core.chain import genesis, linked, stored_digest, verified
from eventstate.core.documents import ENTRY, HEAD, Document, Key, Rows
from eventstate.core.format import Entry, StoredEvent, decode_head, load_members
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
        stream: whose entry it is.
        version: of its last event.
        is_single: it is known to hold one event, without a look into it.
    """

    __slots__ = ("_body", "_members", "_problem", "is_single", "position", "stream", "version")

    def __init__(self, position: int | None, stream: Stream, version: int, body: bytes, is_single: bool) -> None:
        self.position = position
        self.stream = stream
        self.version = version
        self.is_single = is_single
        self._body = body
        self._members: Any = None
        self._problem: EventStateError | None = None

    def _read(self) -> Any:
        """Its members; None where the bytes can't be read."""
        if self._members is None and self._problem is None:
            try:
                members = orjson.loads(self._body)
                count = len(members["e"])
                is_whole = count == 1 if self.is_single else count > 0
                if is_whole and members["n"] == self.version and "f" not in members:
                    self._members = members
                    return members
            except (ValueError, KeyError, TypeError):
                pass
            self._problem = _problem(self.key, self._body)
        return self._members

    @property
    def entry(self) -> Entry | None:
        """Its events; None where the bytes can't be read."""
        members = self._read()
        if members is None:
            return None
        events = members["e"]
        return Entry(self.version, self.version - len(events) + 1, stored_digest(self._body), events, members)

    def body(self, version: int) -> Mapping[str, Any] | None:
        """One of its events, as it is stored; None where the bytes can't be read."""
        members = self._members or self._read()
        return None if members is None else members["e"][version - self.version - 1]

    @property
    def problem(self) -> EventStateError | None:
        """Why it can't be trusted or read, if so: a CorruptionError or a FormatError."""
        self._read()
        return self._problem

    @property
    def is_suspect(self) -> bool:
        """Whether a problem is known already."""
        return self._problem is not None

    def with_problem(self, problem: EventStateError, members: Any = None) -> Self:
        """Itself, with what is wrong with it, and its members where they can be read nevertheless."""
        self._problem, self._members = problem, members
        return self

    def without_problem(self) -> Followed:
        """The same entry, taken for good."""
        taken = Followed(self.position, self.stream, self.version, self._body, self.is_single)
        taken._members = self._members
        return taken

    @property
    def key(self) -> Key:
        return Key(ENTRY, *self.stream, self.version)

    def events(self, selection: Selection) -> Sequence[StoredEvent]:
        """Those of its events that are wanted."""
        entry = self.entry
        if entry is None:
            return ()
        wanted = enumerate(entry.events, entry.first)
        return [entry.event(version) for version, body in wanted if selection.takes_event(body)]

    def is_wanted(self, selection: Selection) -> bool:
        """Whether any of its events is wanted, or it must be told of since it can't be read."""
        if selection.actions is None:
            return True
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
        key, body, _, _ = document
        return self._follow(position, (key.owner, key.id), key.n, body, after)

    def follow_all(self, entries: Rows, selection: Selection) -> list[Followed]:
        """`follow` for those entries of wanted streams, in store order; they come by the ten thousands."""
        tips, streams = self._tips, entries.streams
        found: list[Followed] = []
        for position, number, version, _, body in entries.rows:
            stream = streams[number]
            known = tips.get(stream)
            if known is not None:  # so it is wanted
                before, digest = known
                digest = linked(digest, body)
                if digest is not None:
                    tips[stream] = version, digest
                    found.append(Followed(position, stream, version, body, version == before + 1))
                    continue
            elif not selection.takes_stream(Key(ENTRY, *stream, version)):
                continue
            found.append(self._follow(position, stream, version, body, None))
        return found

    def _follow(self, position: int | None, stream: Stream, version: int, body: bytes, after: int | None) -> Followed:
        tips = self._tips
        known = tips.get(stream)
        if known is not None:
            after, digest = known
            digest = linked(digest, body)
            if digest is not None:
                tips[stream] = version, digest
                return Followed(position, stream, version, body, version == after + 1)
        followed = self._followed(Followed(position, stream, version, body, False), body, after)
        tips[stream] = version, stored_digest(body)
        if len(tips) > self._remembered:
            for old in list(islice(tips, len(tips) // 2)):
                del tips[old]
        return followed

    def _followed(self, found: Followed, body: bytes, before: int | None) -> Followed:
        """An entry that does not follow the one before it by its digest, or of which that one is not at hand."""
        entry, key = found.entry, found.key
        if entry is None:
            return found
        if entry.first == 1:
            try:
                verified(genesis(key.owner, key.id), body, key)
            except CorruptionError as error:
                return found.with_problem(error)
        if before is None:
            return found
        if entry.first <= before:
            problem = CorruptionError(where=str(key), problem=f"it comes after version {before}")
            return found.with_problem(problem, entry.members)
        if entry.first > before + 1:
            problem = CorruptionError(where=str(key), problem=f"version {before + 1} is missing before it")
            return found.with_problem(problem, entry.members)
        if found.stream in self._tips:
            return found.with_problem(CorruptionError(where=str(key), problem="its bytes do not match their digest"))
        return found

    async def judged(self, found: list[Followed]) -> list[Followed]:
        """The same entries, without the problem of those whose predecessors were pruned."""
        try:
            return await self._judged(found)
        except BaseException:
            self._tips.clear()  # they will be read once more
            raise

    async def _judged(self, found: list[Followed]) -> list[Followed]:
        for number, followed in enumerate(found):
            entry = followed.entry if followed.is_suspect else None
            if entry is None:
                continue
            key = Key(HEAD, *followed.stream)
            head = (await self._store.get([key])).documents.get(key)
            try:
                base = decode_head(head)[0].tip.base if head is not None else None
            except EventStateError:
                base = None
            if base is not None and base.version >= entry.first - 1:
                found[number] = followed.without_problem()
        return found


def _problem(key: Key, body: bytes) -> EventStateError:
    """Why an entry can't be read."""
    try:
        members = load_members(body, key)
        count = len(members["e"])
        if members["n"] != key.n:
            return CorruptionError(where=str(key), problem=f"it holds version {members['n']}")
        return CorruptionError(where=str(key), problem=f"it holds {count} events, which is not what its version says")
    except (KeyError, TypeError) as error:
        return CorruptionError(where=str(key), problem=f"it is no entry ({error})")
    except EventStateError as error:
        return error
