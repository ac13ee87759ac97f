"""The power loss simulator tells a writer that syncs from writers that do not: it can fail."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from eventstate.testing.crashstates import CrashState, crash_states
from eventstate.testing.fileoperations import (
    Acknowledge,
    FileOperation,
    Link,
    Recording,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)
from eventstate.testing.filetrace import is_available, record
from tests.crash import raw_writer
from tests.crash.survey import Survey, Verdict, survey

needs_strace = pytest.mark.skipif(not is_available(), reason="strace is not installed")


def raw_check(state: CrashState, folder: Path) -> Verdict:
    if "raw.db" not in state.files:
        return Verdict.LOST if state.acknowledged else Verdict.INTACT
    connection = apsw.Connection(str(folder / "raw.db"))
    try:
        rows = list(connection.execute("SELECT number, payload FROM rows ORDER BY number"))
    except apsw.SQLError:  # the table is not there
        return Verdict.LOST if state.acknowledged else Verdict.INTACT
    except (apsw.Error, UnicodeDecodeError):
        return Verdict.CORRUPT
    finally:
        connection.close()
    if rows != [(number, raw_writer.payload(number)) for number in range(len(rows))]:
        return Verdict.CORRUPT
    return Verdict.INTACT if len(rows) >= len(state.acknowledged) else Verdict.LOST


def raw_survey(folder: Path, synchronous: str, *, inject: str | None = None) -> Survey:
    written = folder / "written"
    written.mkdir()
    command = [sys.executable, raw_writer.__file__, str(written), synchronous, "40"]
    recording = record(command, written, inject=inject)
    assert recording.acknowledged == [str(number) for number in range(40)]
    return survey(crash_states(recording, seed=1, torn=3), folder / "state", raw_check)


@needs_strace
def test_full_synchronisation_loses_nothing(fast_folder: Path) -> None:
    result = raw_survey(fast_folder, "full")
    assert result.states > 500
    assert result.counts[Verdict.INTACT] == result.states, result


@needs_strace
def test_normal_synchronisation_loses_the_last_commits_but_stays_consistent(fast_folder: Path) -> None:
    result = raw_survey(fast_folder, "normal")
    assert result.counts[Verdict.LOST] > 50, result
    assert result.counts[Verdict.CORRUPT] == 0, result


@needs_strace
def test_no_synchronisation_corrupts(fast_folder: Path) -> None:
    result = raw_survey(fast_folder, "off")
    assert result.counts[Verdict.CORRUPT] > 50, result
    assert result.counts[Verdict.LOST] > 50, result


@needs_strace
def test_syncs_that_lie_lose_what_was_acknowledged(fast_folder: Path) -> None:
    result = raw_survey(fast_folder, "full", inject="fdatasync:retval=0:when=12+7")
    assert result.counts[Verdict.LOST] > 50, result


# The model itself, on recordings made by hand


def recording(*operations: FileOperation, initial: dict[str, tuple[int, bytes]] | None = None) -> Recording:
    return Recording(initial=initial or {}, operations=operations)


def contents_at_end(trace: Recording, name: str = "f", torn: int = 300) -> set[bytes | None]:
    """What a file may hold after the last operation; None where it may be missing."""
    states = crash_states(trace, seed=3, torn=torn, first=len(trace.operations))
    return {bytes(state.files[name]) if name in state.files else None for state in states}


FILE = {"f": (0, b"old")}


def test_an_unsynced_write_may_be_there_or_not() -> None:
    assert contents_at_end(recording(Write(0, 0, b"new"), initial=FILE)) >= {b"old", b"new"}


def test_a_synced_write_is_there() -> None:
    assert contents_at_end(recording(Write(0, 0, b"new"), Sync(0, 1), initial=FILE)) == {b"new"}


def test_a_sync_covers_what_was_done_before_it_began() -> None:
    trace = recording(Write(0, 0, b"A"), Write(0, 1, b"B"), Sync(0, 1), initial=FILE)
    assert {b"Ald", b"ABd"} <= contents_at_end(trace)
    assert all(content is not None and content[:1] == b"A" for content in contents_at_end(trace))


def test_unsynced_writes_reach_the_disk_in_any_order() -> None:
    found = contents_at_end(recording(Write(0, 0, b"A"), Write(0, 1, b"B"), initial=FILE))
    assert {b"old", b"Ald", b"oBd", b"ABd"} <= found


def test_a_write_is_torn_at_sectors_and_touches_nothing_else() -> None:
    before = b"a" * 2000
    trace = recording(Write(0, 100, b"b" * 1500), initial={"f": (0, before)})
    found = contents_at_end(trace)
    sectors = (100, 512, 1024, 1536, 1600)
    mixed = 0
    for content in found:
        assert content is not None
        assert content[:100] == before[:100]
        assert content[1600:] == before[1600:]
        parts = [content[start:end] for start, end in pairwise(sectors)]
        whole = [part in (b"a" * len(part), b"b" * len(part)) for part in parts]
        mixed += all(whole) and len({part[:1] for part in parts}) == 2
    assert mixed > 5
    assert any(content and any(byte not in b"ab" for byte in content) for content in found), "never garbage"


def test_a_truncation_may_be_there_or_not() -> None:
    assert contents_at_end(recording(Truncate(0, 1), initial=FILE)) == {b"old", b"o"}
    assert contents_at_end(recording(Truncate(0, 5), Sync(0, 1), initial=FILE)) == {b"old\0\0"}


def test_a_new_name_needs_a_sync_of_the_folder() -> None:
    made = (Link("f", 0), Write(0, 0, b"new"), Sync(0, 2))
    assert contents_at_end(recording(*made)) == {None, b"new"}
    assert contents_at_end(recording(*made, SyncFolder(3))) == {b"new"}


def test_a_removed_name_may_come_back_until_the_folder_is_synced() -> None:
    assert contents_at_end(recording(Unlink("f"), initial=FILE)) == {None, b"old"}
    assert contents_at_end(recording(Unlink("f"), SyncFolder(1), initial=FILE)) == {None}


def test_a_rename_is_done_or_not() -> None:
    trace = recording(Link("t", 1), Write(1, 0, b"new"), Sync(1, 2), Rename("t", "f", 1), initial=FILE)
    assert contents_at_end(trace) == {b"old", b"new"}


def test_a_rename_before_a_sync_of_the_data_may_leave_an_empty_file() -> None:
    trace = recording(Link("t", 1), Write(1, 0, b"new"), Rename("t", "f", 1), SyncFolder(3), initial=FILE)
    assert {b"", b"new"} <= contents_at_end(trace)
    assert b"old" not in contents_at_end(trace)


def test_after_a_failed_sync_no_later_sync_makes_the_write_certain() -> None:
    trace = recording(Write(0, 0, b"A"), Sync(0, 1, failed=True), Write(0, 1, b"B"), Sync(0, 3), initial=FILE)
    assert {b"oBd", b"ABd"} <= contents_at_end(trace)
    assert all(content is not None and content[1:2] == b"B" for content in contents_at_end(trace))


def test_only_what_was_acknowledged_before_the_crash_counts() -> None:
    trace = recording(Acknowledge("one"), Write(0, 0, b"A"), Acknowledge("two"), initial=FILE)
    seen = {(state.operation, state.acknowledged) for state in crash_states(trace, seed=1)}
    assert seen == {(1, ("one",)), (2, ("one",)), (3, ("one", "two"))}


def test_a_seed_gives_the_same_states_again(fast_folder: Path) -> None:
    trace = recording(Write(0, 0, b"A" * 3000), Write(0, 9, b"B" * 3000), initial=FILE)
    states = [dict(state.files) for state in crash_states(trace, seed=5, torn=20)]
    assert states == [dict(state.files) for state in crash_states(trace, seed=5, torn=20)]
    assert states != [dict(state.files) for state in crash_states(trace, seed=6, torn=20)]


def test_a_state_replaces_what_was_in_the_folder(fast_folder: Path) -> None:
    (fast_folder / "stray").write_bytes(b"x")
    (fast_folder / "f").write_bytes(b"longer than it")
    *_, state = crash_states(recording(Write(0, 0, b"new"), Sync(0, 1), initial=FILE), seed=1)
    state.write_to(fast_folder)
    assert {path.name: path.read_bytes() for path in fast_folder.iterdir()} == {"f": b"new"}
