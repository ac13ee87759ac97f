"""Whether an entry follows the one before it, where that is at hand."""

from __future__ import annotations

from itertools import islice
from typing import Final, TypeVar

from eventstate.core.chain import genesis, linked, stored_digest, verified
from eventstate.core.documents import ENTRY, HEAD, Document, Key, Rows
from eventstate.core.format import decode_head
from eventstate.errors import CorruptionError, EventStateError
from eventstate.log.following.followed import Followed, Found
from eventstate.log.following.places import Stream
from eventstate.log.following.selection import Selection
from eventstate.stores.base import Store

REMEMBERED: Final = 10_000
"""Streams whose last digest is kept in memory."""

FoundT = TypeVar("FoundT", Followed, Found)


class Tip:
    """Up to where a stream was read: the version and the digest of that entry. Changed in place, entry by entry."""

    __slots__ = ("digest", "version")

    def __init__(self, version: int, digest: bytes) -> None:
        self.version = version
        self.digest = digest


class ChainChecks:
    """Reads entries in the order of their streams, and remembers where each of the last streams was."""

    def __init__(self, store: Store, remembered: int = REMEMBERED) -> None:
        self._store = store
        self._remembered = remembered
        self._tips: dict[Stream, Tip] = {}
        self._has_suspects = False
        """Whether `judged` has something to look at."""

    def follow(self, position: int | None, document: Document, after: int | None) -> Followed:
        """An entry read and checked.

        ``after`` is the version up to which the stream was read before, where that is known. An entry that does not
        follow it comes with a problem, which `judged` may take back.
        """
        key, body, _, _ = document
        return self._follow(position, (key.owner, key.id), key.n, body, after)

    def follow_all(self, entries: Rows, selection: Selection) -> list[Found]:
        """`follow` for those entries of wanted streams, in store order; they come by the hundred thousands."""
        tips, streams = self._tips, entries.streams
        found: list[Found] = []
        for row in entries.rows:
            position, number, version, _, body = row
            stream = streams[number]
            tip = tips.get(stream)
            if tip is not None:  # so it is wanted
                digest = linked(tip.digest, body)
                if digest is not None:
                    is_single = version == tip.version + 1
                    tip.version = version
                    tip.digest = digest
                    found.append(row if is_single else Followed(position, stream, version, body, False))
                    continue
            elif not selection.takes_stream(Key(ENTRY, *stream, version)):
                continue
            found.append(self._follow(position, stream, version, body, None))
        return found

    def _follow(self, position: int | None, stream: Stream, version: int, body: bytes, after: int | None) -> Followed:
        tips = self._tips
        tip = tips.get(stream)
        if tip is not None:
            after = tip.version
            digest = linked(tip.digest, body)
            if digest is not None:
                tips[stream] = Tip(version, digest)
                return Followed(position, stream, version, body, version == after + 1)
        followed = self._followed(Followed(position, stream, version, body, False), body, after)
        self._has_suspects = self._has_suspects or followed.is_suspect
        tips[stream] = Tip(version, stored_digest(body))
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

    async def judged(self, found: list[FoundT]) -> list[FoundT]:
        """The same entries, without the problem of those whose predecessors were pruned."""
        if not self._has_suspects:
            return found
        self._has_suspects = False
        try:
            return await self._judged(found)
        except BaseException:
            self._tips.clear()  # they will be read once more
            raise

    async def _judged(self, found: list[FoundT]) -> list[FoundT]:
        for number, followed in enumerate(found):
            if not isinstance(followed, Followed) or not followed.is_suspect:
                continue
            entry = followed.entry
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
