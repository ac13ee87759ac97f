"""Judge a store file after a crash: everything acknowledged is there, and everything there is consistent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import apsw

from eventstate import ANY, StateMachinePersister
from eventstate.core.chain import genesis
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Document, Key
from eventstate.core.format import Entry, Tip, decode_entry, decode_head, decode_snapshot
from eventstate.errors import CorruptionError, EventStateError
from eventstate.testing.crashstates import CrashState
from tests.crash.survey import Verdict
from tests.crash.tally import FILE, GOVERNOR, line_of, noted, open_tallies, persister_on, tallies, text_of

Noted: TypeAlias = "dict[tuple[str, int], tuple[int, str]]"
"""Number and text of each event by stream and version."""


# The same documents come back in thousands of states: each is decoded and checked once.


@lru_cache(maxsize=5000)
def _entry(id: str, version: int, body: bytes, previous: bytes) -> Entry:
    return decode_entry(Document(Key(ENTRY, GOVERNOR, id, version), body, "", 0), previous)


@lru_cache(maxsize=5000)
def _head(id: str, body: bytes) -> Tip:
    return decode_head(Document(Key(HEAD, GOVERNOR, id), body, "", 0))[0].tip


@lru_cache(maxsize=5000)
def _snapshot(id: str, version: int, body: bytes) -> bytes:
    return decode_snapshot(Document(Key(SNAPSHOT, GOVERNOR, id, version), body, "", 0))[0].digest


class Contents(NamedTuple):
    """What a store file holds, as rows."""

    entries: list[tuple[int, str, int, bytes]]
    heads: list[tuple[str, bytes]]
    snapshots: list[tuple[str, int, bytes]]


def contents(path: Path) -> Contents:
    """Let SQLite recover the file, and read all of it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs="unix")
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            return Contents([], [], [])
        return Contents(
            list(
                connection.execute(
                    "SELECT position, id, version, body FROM entries JOIN streams ON number = stream ORDER BY position"
                )
            ),
            list(connection.execute("SELECT id, body FROM heads JOIN streams ON number = stream")),
            list(connection.execute("SELECT id, n, body FROM documents WHERE kind = ?", (SNAPSHOT,))),
        )
    finally:
        connection.close()


def check_contents(found: Contents) -> Noted:
    """The events, once chains, heads, snapshots and positions are known to fit.

    Raises:
        CorruptionError: something does not fit.
    """
    events: Noted = {}
    ends: dict[str, tuple[int, bytes]] = {}
    digests: dict[tuple[str, int], bytes] = {}
    for place, (position, id, version, body) in enumerate(found.entries, 1):
        reached, previous = ends.get(id) or (0, genesis(GOVERNOR, id))
        entry = _entry(id, version, body, previous)
        if position != place or entry.first != reached + 1:
            raise CorruptionError(where=f"{id}:{version}", problem="a gap before it")
        ends[id] = version, entry.digest
        digests[id, version] = entry.digest
        for number, event in enumerate(entry.events, entry.first):
            events[id, number] = event["data"]["number"], event["data"]["text"]
    tips = {id: _head(id, body) for id, body in found.heads}
    if {id: (tip.version, tip.digest) for id, tip in tips.items()} != ends:
        raise CorruptionError(where="heads", problem="they are not those of the entries")
    kept = {(id, version): _snapshot(id, version, body) for id, version, body in found.snapshots}
    listed = {(id, version) for id, tip in tips.items() for version in tip.snapshots}
    if kept.keys() != listed or any(digests[place] != digest for place, digest in kept.items()):
        raise CorruptionError(where="snapshots", problem="they are not those of the heads")
    return events


def judge(events: Noted, acknowledged: Iterable[str]) -> Verdict:
    """Whether every acknowledged event is there, as it was acknowledged."""
    for line in acknowledged:
        id, version, number, size = line.split()
        found = events.get((id, int(version)))
        if found is None:
            return Verdict.LOST
        if found != (int(number), text_of(int(number), int(size))):
            return Verdict.CORRUPT
    return Verdict.INTACT


def check_file(state: CrashState, folder: Path) -> Verdict:
    """Judge by SQLite's recovery and the rows: fast."""
    if FILE not in state.files:
        return Verdict.LOST if state.acknowledged else Verdict.INTACT
    try:
        return judge(check_contents(contents(folder / FILE)), state.acknowledged)
    except (apsw.Error, CorruptionError, UnicodeDecodeError):
        return Verdict.CORRUPT


def check_store(state: CrashState, folder: Path) -> Verdict:
    """Judge by the library: open, verify, read, append, close, and look at the rows again."""
    try:
        with open_tallies(folder) as store:
            persister = persister_on(store)
            verdict = judge(read_events(persister), state.acknowledged)
            line = line_of(persister.append(tallies, "after", noted(1, 50), expected=ANY), 1)
    except EventStateError:
        return Verdict.CORRUPT
    after = check_file(state, folder)
    if after is Verdict.INTACT:
        after = judge(check_contents(contents(folder / FILE)), [line])
    return verdict if verdict is after else Verdict.CORRUPT


def read_events(persister: StateMachinePersister) -> Noted:
    """Every event as the library serves it, with each state checked against a replay.

    Raises:
        EventStateError: something is wrong, and it was noticed.
    """
    report = persister.validate_consistency()
    if not report.is_consistent:
        raise CorruptionError(where=report.findings[0].where, problem=report.findings[0].problem)
    events: Noted = {}
    for item in persister.recover():
        for transition in persister.history(item.id):
            events[item.id, transition.version] = transition.data.number, transition.data.text
        assert (item.data.count, item.data.last) == (item.version, events[item.id, item.version][1])
    return events
