"""Judges what subscribers were told against what was committed: the seven properties of a watch.

*Ordered*: those of a stream by version, those of a store that has an order by position. *Unique*: nothing twice in one
session, nothing at or below the place it began at. *Atomic*: the events of one commit in a stream come together and
whole. *Reliable*: what comes before and what comes after mean that all between has come. *Resumable*: a session begins
right after its place. *Bookmarkable*: a place that was saved, or a caught-up mark, means that everything up to it has
been delivered. *Filtered*: what is not wanted does not come, and what comes is what was committed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from eventstate.core.documents import ENTRY, Key
from eventstate.core.format import load_members
from eventstate.log.following import Place, Selection, Stream
from eventstate.stores.base import Store

Property = Literal["ordered", "unique", "atomic", "reliable", "resumable", "bookmarkable", "filtered"]
PROPERTIES: Final[tuple[Property, ...]] = (
    "ordered",
    "unique",
    "atomic",
    "reliable",
    "resumable",
    "bookmarkable",
    "filtered",
)


class Got(NamedTuple):
    """An event that was delivered."""

    stream: Stream
    version: int
    position: int | None
    action: str


class Saved(NamedTuple):
    """A place that was saved."""

    place: Place


class Marked(NamedTuple):
    """The caught-up mark. ``floor``: versions that were certainly committed before the session began."""

    floor: Mapping[Stream, int]


Note: TypeAlias = Got | Saved | Marked


class Session(NamedTuple):
    """What one run of a subscriber was told, from the place it began at."""

    began: Place
    notes: Sequence[Note]
    was_killed: bool = False


class Violation(NamedTuple):
    """A property that did not hold, and where."""

    property: Property
    detail: str


class CommittedEntry(NamedTuple):
    """One entry: the versions of its events, their types, its position where the store has an order."""

    stream: Stream
    first: int
    actions: Sequence[str]
    position: int | None

    @property
    def last(self) -> int:
        return self.first + len(self.actions) - 1


class Truth:
    """What was committed, as the store has it at the end, as far as it is wanted."""

    def __init__(self, entries: Iterable[CommittedEntry], selection: Selection) -> None:
        self.wanted: dict[Stream, list[int]] = {}
        self.actions: dict[tuple[Stream, int], str] = {}
        self.group: dict[tuple[Stream, int], tuple[int, ...]] = {}
        self.positions: list[int] = []
        self._ends: dict[Stream, list[tuple[int, int]]] = {}
        self.last: dict[Stream, int] = {}
        for entry in entries:
            self._add(entry, selection)
        for versions in self.wanted.values():
            versions.sort()
        self.positions.sort()

    def _add(self, entry: CommittedEntry, selection: Selection) -> None:
        stream = entry.stream
        if not selection.takes_stream(Key(ENTRY, *stream)):
            return
        self.last[stream] = max(self.last.get(stream, 0), entry.last)
        if entry.position is not None:
            self._ends.setdefault(stream, []).append((entry.position, entry.last))
        versions = tuple(
            version
            for version, action in enumerate(entry.actions, entry.first)
            if selection.takes_event({"type": action})
        )
        for version in versions:
            self.actions[stream, version] = entry.actions[version - entry.first]
            self.group[stream, version] = versions
        if versions:
            self.wanted.setdefault(stream, []).extend(versions)
            if entry.position is not None:
                self.positions.append(entry.position)

    def reached(self, place: Place, stream: Stream) -> int:
        """The version of a stream at a place."""
        if place.position is None:
            return place.versions.get(stream, 0)
        ends = self._ends.get(stream, [])
        number = bisect_right(ends, (place.position, 1 << 62))
        return ends[number - 1][1] if number else 0


async def committed_entries(store: Store, selection: Selection) -> list[CommittedEntry]:
    """Everything that a store holds of some streams, entry by entry."""
    governors = [selection.governor] if selection.governor else list(await store.owners())
    positions = await _positions(store)
    found: list[CommittedEntry] = []
    for governor in governors:
        after: Key | None = None
        while True:
            page = await store.scan(ENTRY, governor, after=after)
            for document in page.documents:
                key = document.key
                actions = [event["type"] for event in load_members(document.body, key)["e"]]
                first = key.n - len(actions) + 1
                found.append(CommittedEntry((governor, key.id), first, actions, positions.get(key)))
            after = page.next
            if after is None:
                break
    return found


async def _positions(store: Store) -> dict[Key, int]:
    positions: dict[Key, int] = {}
    if store.capabilities.feed_order == "store":
        page = await store.feed(0)
        while page.entries:
            positions.update((document.key, position) for position, document in page.entries)
            page = await store.feed(page.position)
    return positions


class _Subscriber:
    """One subscriber, over its sessions."""

    def __init__(self, truth: Truth, began: Place) -> None:
        self._truth = truth
        self.delivered: dict[Stream, int] = {stream: truth.reached(began, stream) for stream in truth.last}
        """Up to which version everything wanted has been delivered, in some session."""
        self.violations: list[Violation] = []

    def fail(self, property: Property, detail: str) -> None:
        self.violations.append(Violation(property, detail))

    def session(self, session: Session, number: int) -> None:
        self._began = session.began
        self._where = f"session {number}"
        self._reached: dict[Stream, int] = {}
        self._seen: set[tuple[Stream, int]] = set()
        self._position = -1
        self._open: tuple[Stream, tuple[int, ...]] | None = None
        for note in session.notes:
            match note:
                case Got():
                    self._got(note)
                case Saved():
                    self._saved(note)
                case Marked():
                    self._marked(note)
        if self._open is not None and not session.was_killed:
            self.fail("atomic", f"{self._where} ends in the middle of a commit: {self._open}")

    def _got(self, got: Got) -> None:
        truth, stream, version = self._truth, got.stream, got.version
        event = stream, version
        where = f"{self._where}: {stream[0]}/{stream[1]} version {version}"
        if truth.actions.get(event) != got.action:
            self.fail("filtered", f"{where} is not wanted, or not what was committed")
            return
        self._check_whole(event, where)
        began = truth.reached(self._began, stream)
        last = self._reached.get(stream, began)
        if event in self._seen or version <= began:
            self.fail("unique", f"{where} came before, or is at or below the place the session began at")
        elif version <= last:
            self.fail("ordered", f"{where} comes after version {last}")
        else:
            wanted = truth.wanted[stream]
            following = wanted[bisect_right(wanted, last)]
            if following != version:
                kind: Property = "reliable" if stream in self._reached else "resumable"
                self.fail(kind, f"{where} comes though version {following} did not")
        self._check_position(got, where)
        self._seen.add(event)
        self._reached[stream] = max(last, version)
        self.delivered[stream] = max(self.delivered.get(stream, 0), version)

    def _check_whole(self, event: tuple[Stream, int], where: str) -> None:
        stream, version = event
        if self._open is not None:
            expected_stream, versions = self._open
            if stream != expected_stream or version != versions[0]:
                self.fail("atomic", f"{where} comes in the middle of a commit of {expected_stream[1]}")
                self._open = None
            else:
                self._open = (stream, versions[1:]) if len(versions) > 1 else None
                return
        group = self._truth.group[event]
        if len(group) > 1:
            rest = tuple(other for other in group if other > version)
            if version != group[0] and (stream, group[0]) not in self._seen:
                self.fail("atomic", f"{where} comes without those committed with it")
            self._open = (stream, rest) if rest else None

    def _check_position(self, got: Got, where: str) -> None:
        if got.position is None:
            return
        if got.position < self._position:
            self.fail("ordered", f"{where} at position {got.position} comes after position {self._position}")
            return
        positions = self._truth.positions
        before = self._position if self._position >= 0 else (self._began.position or 0)
        skipped = bisect_right(positions, got.position - 1) - bisect_right(positions, before)
        if skipped > 0:
            kind: Property = "reliable" if self._position >= 0 else "resumable"
            self.fail(kind, f"{where} comes though {skipped} commits before it did not")
        self._position = got.position

    def _saved(self, saved: Saved) -> None:
        for stream in self._truth.wanted:
            self._check_delivered(stream, self._truth.reached(saved.place, stream), "a place was saved")

    def _marked(self, marked: Marked) -> None:
        for stream, version in marked.floor.items():
            if stream in self._truth.wanted:
                self._check_delivered(stream, version, "the mark came")

    def _check_delivered(self, stream: Stream, version: int, what: str) -> None:
        wanted = self._truth.wanted[stream]
        number = bisect_right(wanted, version)
        if number and wanted[number - 1] > self.delivered.get(stream, 0):
            self.fail(
                "bookmarkable", f"{self._where}: {what}, but {stream[1]} version {wanted[number - 1]} had not come"
            )


def check_deliveries(truth: Truth, sessions: Sequence[Session], *, is_complete: bool = True) -> list[Violation]:
    """What was wrong in the sessions of one subscriber, in their order.

    ``is_complete``: the last session went on until everything had been delivered.
    """
    if not sessions:
        return []
    subscriber = _Subscriber(truth, sessions[0].began)
    for number, session in enumerate(sessions, 1):
        subscriber.session(session, number)
    if is_complete:
        for stream, wanted in truth.wanted.items():
            if wanted[-1] > subscriber.delivered.get(stream, 0):
                subscriber.fail("reliable", f"{stream[0]}/{stream[1]} version {wanted[-1]} never came")
    return subscriber.violations


def note_of(plain: Mapping[str, Any]) -> Note | Place:
    """What a subscriber wrote into its log, one JSON object a line: the inverse of `plain_of`."""
    if "got" in plain:
        governor, id, version, position, action = plain["got"]
        return Got((governor, id), version, position, action)
    if "floor" in plain:
        return Marked({(governor, id): version for governor, id, version in plain["floor"]})
    place = _place(plain["place"])
    return Saved(place) if plain["what"] == "saved" else place


def plain_of(note: Note | Place) -> dict[str, Any]:
    """A line of a subscriber's log; a `Place` is where a session begins."""
    match note:
        case Got():
            return {"got": [*note.stream, note.version, note.position, note.action]}
        case Marked():
            return {"floor": [[*stream, version] for stream, version in note.floor.items()]}
        case Saved():
            return {"what": "saved", "place": _plain_place(note.place)}
        case Place():
            return {"what": "began", "place": _plain_place(note)}


def _plain_place(place: Place) -> list[Any]:
    return [place.position, [[*stream, version] for stream, version in place.versions.items()]]


def _place(plain: Sequence[Any]) -> Place:
    return Place(plain[0], {(governor, id): version for governor, id, version in plain[1]})


def sessions_of(lines: Iterable[Mapping[str, Any]], *, last_was_killed: bool = False) -> list[Session]:
    """The sessions in a log. All but the last are taken to have been killed."""
    sessions: list[tuple[Place, list[Note]]] = []
    for line in lines:
        note = note_of(line)
        if isinstance(note, Place):
            sessions.append((note, []))
        else:
            sessions[-1][1].append(note)
    last = len(sessions) - 1
    return [Session(began, notes, number != last or last_was_killed) for number, (began, notes) in enumerate(sessions)]
