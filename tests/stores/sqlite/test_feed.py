"""A feed of rows says what a feed of documents said: the join of entries with the names of their streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from eventstate import ANY, Event, StateMachinePersister, open_store
from eventstate.core.documents import ENTRY, Document, Key, rows_of
from eventstate.runtime.blocking import drive
from eventstate.stores.sqlite import reading

_JOINED = (
    "SELECT e.position, s.owner, s.id, e.version, e.written_at, e.body FROM entries e"
    " JOIN streams s ON s.number = e.stream WHERE e.position > ? ORDER BY e.position LIMIT ?"
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    with open_store(f"sqlite:///{tmp_path}/log.db?durability=off") as store:
        for number in range(30):
            persister = StateMachinePersister(store, governor=f"g{number % 2}")
            persister.append(f"m-{number % 4}", Event("x", state=number), expected=ANY)
    connection = apsw.Connection(str(tmp_path / "log.db"))
    yield connection
    connection.close()


def joined(connection: apsw.Connection, after: int, limit: int) -> list[tuple[int, Document]]:
    return [
        (position, Document(Key(ENTRY, owner, id, version), body, str(position), written_at))
        for position, owner, id, version, written_at, body in connection.execute(_JOINED, (after, limit))
    ]


def check(connection: apsw.Connection) -> None:
    names: reading.StreamNames = {}
    for after in range(32):
        for limit in (1, 7, 100):
            page = reading.feed(connection, after, limit, names)
            expected = joined(connection, after, limit)
            assert list(page.entries) == expected
            assert [page.entries[n] for n in range(len(page.entries))] == expected
            assert list(page.entries[1:3]) == expected[1:3]
            assert page.position == (expected[-1][0] if expected else after)


def test_the_entries_with_the_names_of_their_streams(connection: apsw.Connection) -> None:
    check(connection)


def test_what_belongs_to_no_stream_is_left_out(connection: apsw.Connection) -> None:
    for position in (1, 2, 3, 14, 30):
        connection.execute("UPDATE entries SET stream = 0, version = ? WHERE position = ?", (position, position))
    check(connection)


def test_rows_are_made_of_documents_too(connection: apsw.Connection) -> None:
    documents = joined(connection, 0, 100)
    assert list(rows_of(documents)) == documents
    rows = reading.feed(connection, 0, 100, {}).entries
    assert rows_of(rows) is rows


def test_a_store_gives_the_same_again(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/one.db?durability=off") as store:
        StateMachinePersister(store).append("m-1", Event("x", state=1), expected=0)
        first, second = (drive(store.feed(0)).entries for _ in range(2))
        assert list(first) == list(second)
        assert len(first) == 1


@pytest.mark.parametrize("limit", [1, 16, 17, 100])
@pytest.mark.parametrize("most", [1, 2000, 2001, 5000, 1_000_000])
def test_a_page_ends_with_the_row_that_fills_it(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch, most: int, limit: int
) -> None:
    monkeypatch.setattr(reading, "PAGE_BYTES", most)
    expected: list[tuple[int, Document]] = []
    for entry in joined(connection, 0, limit):
        expected.append(entry)
        if sum(len(document.body) for _, document in expected) >= most:
            break
    assert list(reading.feed(connection, 0, limit, {}).entries) == expected
