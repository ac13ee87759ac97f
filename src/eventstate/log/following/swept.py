"""Following many streams of a store that keeps order in each stream only: Firestore.

What makes it complete is the version reached of each stream, held against a sweep of all heads. The feed only says
where to look before the next sweep, and a watch on the heads of streams that moved lately says when.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

import orjson

from eventstate.core.documents import ENTRY, HEAD, Document, Key
from eventstate.log.following.checks import ChainChecks
from eventstate.log.following.followed import Followed
from eventstate.log.following.follower import PAGE, Reading
from eventstate.log.following.places import Place, Stream
from eventstate.log.following.selection import Selection
from eventstate.stores.base import Store
from eventstate.stores.watching import Watch

WATCHED: Final = 64
"""Heads that are watched: those of the streams that moved last."""
WATCH_SECONDS: Final = 1.0
"""Between two changes of what is watched."""
HEADS: Final = 300
"""Heads looked at together."""
HINT_SECONDS: Final = (0.05, 2.0)
"""Between two looks at the feed: after something new, and at last when nothing happens."""
SWEEP_SECONDS: Final = (1.0, 60.0)
"""Between two sweeps: after one that found what the feed had not shown, and at last when none does."""
SECONDS_PER_HEAD: Final = 0.005
"""A sweep reads every head, so with many of them they come at longer intervals."""
BEHIND_MICROS: Final = 10_000_000
"""How far back the feed is looked at again when it is taken up: a slow commit shows late, at an earlier time."""


class SweptFollower:
    """Reads streams by their versions, in an order that is kept in each stream only."""

    @property
    def order(self) -> Literal["stream"]:
        return "stream"

    def __init__(self, store: Store, selection: Selection, versions: Mapping[Stream, int], hint: int) -> None:
        self.selection = selection
        self._store = store
        self._versions = dict(versions)
        self._moved: dict[Stream, int] = {}
        self._hint = max(hint - BEHIND_MICROS, 0)
        self._checks = ChainChecks(store)
        self._behind: deque[Stream] = deque()
        self._queued: set[Stream] = set()
        self._sweep = Sweep(store, selection)
        self._owed: dict[Stream, int | None] = {}
        """What the first sweep found unread, and up to which version; None where the head does not say."""
        self._suspects: set[Stream] = set()
        """What a later sweep has taken for unread."""
        self._has_missed = False
        """Whether there was anything: a damaged head says so each time."""
        self._has_swept = False
        self._hints_read = False
        self._begin_sweep()
        self._is_sweeps_turn = False
        self._active: OrderedDict[Stream, None] = OrderedDict()
        self._watch: Watch | None = None
        self._watched: frozenset[Stream] = frozenset()
        self._was_woken = False
        self._was_caught_up = False
        self._renewed_at = 0.0
        self._hint_pause = HINT_SECONDS[0]
        self._sweep_pause = SWEEP_SECONDS[0]
        self._sweep_due = 0.0
        self._hint_due = 0.0

    @property
    def place(self) -> Place:
        return Place(None, dict(self._versions), self._hint)

    @property
    def is_caught_up(self) -> bool:
        # Neither that nothing is behind, nor that the feed has ended: with busy writers that may never be.
        self._was_caught_up = self._was_caught_up or (self._has_swept and not self._owed)
        return self._was_caught_up

    def moved(self) -> Place:
        moved, self._moved = self._moved, {}
        return Place(None, moved, self._hint)

    def catch_up_anew(self) -> None:
        self._has_swept = self._hints_read = self._was_caught_up = False
        self._owed = {}
        self._begin_sweep()

    def reached(self, stream: Stream) -> int:
        """The version up to which a stream has been read."""
        return self._versions.get(stream, 0)

    async def read(self, limit: int = PAGE) -> Reading:
        if self._behind:
            return Reading(await self._read_stream(limit), more=True)
        now = self._store.runtime.monotonic()
        sweeps = self._sweep.is_under_way or now >= self._sweep_due
        if sweeps and self._is_sweeps_turn:  # else a feed that never ends would put it off for ever
            self._is_sweeps_turn = False
            return (await self._sweep_on())._replace(more=True)
        self._is_sweeps_turn = True
        if not self._hints_read or now >= self._hint_due or self._was_woken:
            found = await self._read_hint(limit)
            if found or self._behind or not self._hints_read:
                return Reading(found, more=True)
            if self._was_woken:
                self._was_woken = False
                await self._look_at_watched()
                if self._behind:
                    return Reading((), more=True)
        if self._sweep.is_under_way or now >= self._sweep_due:
            return await self._sweep_on()
        return Reading((), more=False)

    # The streams that are behind

    def _queue(self, stream: Stream) -> None:
        if stream not in self._queued:
            self._queued.add(stream)
            self._behind.append(stream)

    async def _read_stream(self, limit: int) -> Sequence[Followed]:
        stream = self._behind[0]
        owner, id = stream
        after = Key(ENTRY, owner, id, self.reached(stream))
        page = await self._store.scan(ENTRY, owner, id=id, after=after, limit=limit)
        taking = Taking(self._versions)
        for document in page.documents:
            taking.add(self._checks.follow(None, document, taking.reached(stream)))
        await self._checks.judged(taking.found)
        found = self._taken(taking)
        owed = self._owed.get(stream)
        if page.next is None or (owed is not None and self.reached(stream) >= owed):
            self._owed.pop(stream, None)
        if page.next is None:
            self._behind.popleft()
            self._queued.discard(stream)
        if page.documents and stream in self._suspects:
            self._has_missed = True
            if not self._sweep.is_under_way:
                self._plan_sweep()
        return found

    def _taken(self, taking: Taking) -> Sequence[Followed]:
        """Note what was read, without a wait in between: a read that is cancelled must not have taken anything."""
        self._versions.update(taking.versions)
        self._moved.update(taking.versions)
        for stream in taking.versions:
            self._active[stream] = None
            self._active.move_to_end(stream)
        while len(self._active) > WATCHED:
            self._active.popitem(last=False)
        return [followed for followed in taking.found if followed.is_wanted(self.selection)]

    # The feed

    async def _read_hint(self, limit: int) -> Sequence[Followed]:
        page = await self._store.feed(self._hint, limit=limit)
        taking = Taking(self._versions)
        for _, document in page.entries:
            key = document.key
            stream = key.owner, key.id
            if not self.selection.takes_stream(key) or key.n <= taking.reached(stream):
                continue
            if stream not in self._queued and _first(document) == taking.reached(stream) + 1:
                taking.add(self._checks.follow(None, document, taking.reached(stream)))
            else:  # entries of it are missing from the feed, or the stream was pruned
                self._queue(stream)
        await self._checks.judged(taking.found)
        found = self._taken(taking)
        self._hint = page.position
        self._hints_read = self._hints_read or not page.entries
        self._hint_pause = HINT_SECONDS[0] if found else min(self._hint_pause * 1.5, HINT_SECONDS[1])
        self._hint_due = self._store.runtime.monotonic() + (0 if page.entries else self._hint_pause)
        return found

    # The heads

    async def _look_at_watched(self) -> None:
        keys = [Key(HEAD, *stream) for stream in self._watched]
        for document in (await self._store.get(keys)).documents.values():
            self._look_at(document)

    def _look_at(self, head: Document) -> bool:
        """Whether the stream of a head has more than was read of it."""
        stream = head.key.owner, head.key.id
        version = said_version(head)
        if version is not None and version <= self.reached(stream):
            return False
        if stream not in self._queued:
            self._queue(stream)
        return True

    def _begin_sweep(self) -> None:
        self._sweep.begin()
        self._suspects = set()
        self._has_missed = False

    def _plan_sweep(self) -> None:
        shortest, longest = SWEEP_SECONDS
        self._sweep_pause = shortest if self._has_missed else min(self._sweep_pause * 2, longest)
        pause = max(self._sweep_pause, self._sweep.heads * SECONDS_PER_HEAD)
        self._sweep_due = self._store.runtime.monotonic() + pause

    async def _sweep_on(self) -> Reading:
        if not self._sweep.is_under_way:
            self._begin_sweep()
        for head in await self._sweep.next_heads():
            if not self._look_at(head):
                continue
            stream = head.key.owner, head.key.id
            if self._has_swept:
                self._suspects.add(stream)
            else:  # the feed may not have been read to its end yet
                self._owed[stream] = said_version(head)
        if not self._sweep.is_under_way:
            self._plan_sweep()
            self._has_swept = True
        return Reading((), more=self._sweep.is_under_way or bool(self._behind))

    # Waiting

    async def wait(self, timeout: float) -> None:
        now = self._store.runtime.monotonic()
        timeout = max(0.0, min(timeout, self._hint_due - now, self._sweep_due - now))
        self._was_woken = await self._renewed_watch().wait(timeout) or self._was_woken

    def _renewed_watch(self) -> Watch:
        """A watch on the heads of the streams that moved last."""
        wanted = frozenset(self._active)
        now = self._store.runtime.monotonic()
        if self._watch is None or (wanted != self._watched and now - self._renewed_at > WATCH_SECONDS):
            self._renewed_at = now
            old, self._watch = self._watch, self._store.watch([Key(HEAD, *stream) for stream in wanted])
            self._watched = wanted
            if old is not None:
                old.close()
            # What changed between the last look at the feed and now has woken nobody.
            self._watch.wake()
        return self._watch

    def wake(self) -> None:
        if self._watch is not None:
            self._watch.wake()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


class Taking:
    """What one read finds, before it is noted."""

    def __init__(self, versions: Mapping[Stream, int]) -> None:
        self._before = versions
        self.versions: dict[Stream, int] = {}
        self.found: list[Followed] = []

    def reached(self, stream: Stream) -> int:
        version = self.versions.get(stream)
        return self._before.get(stream, 0) if version is None else version

    def add(self, followed: Followed) -> None:
        self.versions[followed.stream] = followed.version
        self.found.append(followed)


class Sweep:
    """One look after the other at all heads of the wanted streams."""

    def __init__(self, store: Store, selection: Selection) -> None:
        self._store = store
        self._selection = selection
        self.is_under_way = False
        self.heads = 0
        self._owner = ""
        self._after: Key | None = None

    def begin(self) -> None:
        self.is_under_way = True
        self.heads = 0
        self._owner = self._selection.governor or ""
        self._after = None

    async def next_heads(self) -> Sequence[Document]:
        """Some heads; the sweep is not under way any more after the last ones."""
        selection = self._selection
        owner = self._owner
        if selection.governor is None and self._after is None:
            owners = await self._store.owners(after=owner, limit=1)
            if not owners:
                self.is_under_way = False
                return ()
            owner = owners[0]
        prefix = f"{next(iter(selection.machines))}-" if selection.machines and len(selection.machines) == 1 else ""
        page = await self._store.scan(HEAD, owner, prefix=prefix, after=self._after, limit=HEADS)
        self._owner, self._after = owner, page.next  # not before: a read that failed is made again
        if page.next is None and selection.governor is not None:
            self.is_under_way = False
        self.heads += len(page.documents)
        return [document for document in page.documents if selection.takes_stream(document.key)]


async def current_versions(store: Store, selection: Selection) -> dict[Stream, int]:
    """The version of every wanted stream, as a sweep finds it."""
    sweep = Sweep(store, selection)
    sweep.begin()
    versions: dict[Stream, int] = {}
    while sweep.is_under_way:
        for head in await sweep.next_heads():
            version = said_version(head)
            if version is not None:
                versions[head.key.owner, head.key.id] = version
    return versions


def said_version(head: Document) -> int | None:
    """The version that a head says, unchecked: None where it can't be read, so that one looks at the entries."""
    version = _members(head).get("n")
    return version if isinstance(version, int) else None


def _first(entry: Document) -> int | None:
    events = _members(entry).get("e")
    return entry.key.n - len(cast("list[Any]", events)) + 1 if isinstance(events, list) else None


def _members(document: Document) -> dict[str, Any]:
    try:
        members = orjson.loads(document.body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", members) if isinstance(members, dict) else {}
