"""Entries as a follower hands them on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeAlias, overload

import orjson

from eventstate.core.chain import stored_digest
from eventstate.core.documents import ENTRY, Key, Row
from eventstate.core.format import Entry, StoredEvent, load_members
from eventstate.errors import CorruptionError, EventStateError
from eventstate.log.following.places import Stream
from eventstate.log.following.selection import Selection


class Followed:
    """One entry of one stream. It is decoded when somebody looks: what is decoded at once lies about for long.

    Attributes:
        position: its place in store order; None where that is not known.
        stream: whose entry it is.
        version: of its last event.
        is_single: it is known to hold one event, without a look into it.
    """

    __slots__ = ("_body", "_members", "_problem", "is_single", "position", "stream", "version")

    def __init__(
        self,
        position: int | None,
        stream: Stream,
        version: int,
        body: bytes,
        is_single: bool,
        members: Any = None,
    ) -> None:
        self.position = position
        self.stream = stream
        self.version = version
        self.is_single = is_single
        self._body = body
        self._members = members
        self._problem: EventStateError | None = None

    def _read(self) -> Any:
        """Its members; None where the bytes can't be read."""
        if self._members is None and self._problem is None:
            members = read_members(self._body, self.version, 1 if self.is_single else None)
            if members is None:
                self._problem = _problem(self.key, self._body)
            self._members = members
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


Found: TypeAlias = "Followed | Row"
"""An entry that was checked. A row stands for one that holds one event and follows the entry before it by its digest:
most do, there is nothing more to know about it, and so no object is made for it until somebody asks."""


class FollowedRows(Sequence[Followed]):
    """A page of entries that are made `Followed` as they are looked at. A subscription takes what was found instead.

    Attributes:
        found: in feed order.
        streams: governor and id of the streams of its rows.
    """

    __slots__ = ("found", "streams")

    def __init__(self, found: Sequence[Found], streams: Mapping[Any, Stream]) -> None:
        self.found = found
        self.streams = streams

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Followed]:
        return map(self._followed, self.found)

    @overload
    def __getitem__(self, index: int) -> Followed: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Followed]: ...
    def __getitem__(self, index: int | slice) -> Followed | Sequence[Followed]:
        if isinstance(index, slice):
            return FollowedRows(self.found[index], self.streams)
        return self._followed(self.found[index])

    def _followed(self, found: Found) -> Followed:
        if isinstance(found, Followed):
            return found
        position, stream, version, _, body = found
        return Followed(position, self.streams[stream], version, body, True)


def read_members(body: bytes, version: int, count: int | None) -> Any:
    """The members of an entry's body; None where it can't be read, or does not hold so many events, or any."""
    try:
        members = orjson.loads(body)
        found = len(members["e"])
        if (found if count is None else found == count) and members["n"] == version and "f" not in members:
            return members
    except (ValueError, KeyError, TypeError):
        pass
    return None


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
