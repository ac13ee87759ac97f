"""A program that damages a SQLite store by its rows, one fault at a time, and mends it again.

    python -m tests.crash.damager FILE SEED

For each line on stdin: ``damage KIND`` does one fault and prints what it was as a line of JSON; ``mend`` puts all back.
It is another process on purpose: whoever edits a store does so behind its back.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import apsw
import orjson

from eventstate.core.chain import genesis, key_context, seal, stored_digest, unseal
from eventstate.core.documents import Key
from eventstate.core.format import Image, Tip, encode_head, encode_snapshot
from tests.crash.sealed_store import GOVERNOR, LISTED, SEALED, VERSIONS, image_at

TABLES = ("streams", "heads", "entries", "documents")
Row = tuple[Any, ...]


class Damager:
    """Faults in the rows of one file."""

    def __init__(self, file: str, seed: int) -> None:
        self._db = apsw.Connection(file)
        self._db.set_busy_timeout(10_000)
        self._choose = random.Random(seed)
        self._good = {table: self._rows(table) for table in TABLES}
        self._ids: dict[int, str] = dict(
            self._db.execute("SELECT number, id FROM streams WHERE owner = ?", (GOVERNOR,))
        )
        self.kinds: dict[str, Callable[[], Any]] = {
            "flip": self.flip,
            "flip of a key": self.flip_key,
            "row deleted": self.delete_row,
            "stream row deleted": self.delete_stream_row,
            "bodies swapped": self.swap_bodies,
            "entries swapped": self.swap_entries,
            "streams swapped": self.swap_streams,
            "tail cut, head left": self.cut_head_left,
            "tail cut, head rewritten": self.cut_head_rewritten,
            "stream taken away": self.take_away,
            "history rewritten": self.rewrite,
            "pruned beyond the seal": self.prune_beyond,
        }

    def damage(self, kind: str) -> Any:
        with self._db:
            return self.kinds[kind]()

    def mend(self) -> None:
        with self._db:
            for table in reversed(TABLES):
                self._db.execute(f"DELETE FROM {table}")
            for table in TABLES:
                rows = self._good[table]
                marks = ", ".join("?" * len(rows[0]))
                self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def _rows(self, table: str) -> list[Row]:
        return list(self._db.execute(f"SELECT * FROM {table}"))

    def _pick_stream(self) -> int:
        return self._choose.choice(sorted(self._ids))

    def _bodies(self) -> list[tuple[str, int, bytes, str]]:
        """Table, row id, body and what it is, of everything that is sealed or a seal."""
        return [
            *(("entries", row, body, self._ids[n]) for row, n, body in self._db.execute(
                "SELECT position, stream, body FROM entries WHERE stream > 0")),
            *(("heads", row, body, self._ids[row]) for row, body in self._db.execute("SELECT stream, body FROM heads")),
            *(("documents", row, body, f"{kind} {id}") for row, kind, id, body in self._db.execute(
                "SELECT rowid, kind, id, body FROM documents WHERE kind IN ('snapshot', 'seal')")),
        ]  # fmt: skip

    def _put(self, table: str, row: int, body: bytes) -> None:
        name = {"entries": "position", "heads": "stream", "documents": "rowid"}[table]
        self._db.execute(f"UPDATE {table} SET body = ? WHERE {name} = ?", (body, row))
        assert self._db.changes() == 1

    # Accidents

    def flip(self) -> Any:
        table, row, body, what = self._choose.choice(self._bodies())
        bit = self._choose.randrange(len(body) * 8)
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        self._put(table, row, bytes(damaged))
        return [table, what, bit]

    def flip_key(self) -> Any:
        """A bit of a number that says which entry a row is."""
        while True:
            position, stream, version = self._choose.choice(
                list(self._db.execute("SELECT position, stream, version FROM entries WHERE stream > 0"))
            )
            column = self._choose.choice(["stream", "version"])
            new = (stream if column == "stream" else version) ^ 1 << self._choose.randrange(12)
            if new <= 0 or (column == "stream" and new not in self._ids):
                continue
            try:
                self._db.execute(f"UPDATE entries SET {column} = ? WHERE position = ?", (new, position))
            except apsw.ConstraintError:
                continue
            return [column, self._ids[stream], version, new]

    def delete_row(self) -> Any:
        table, row, _, what = self._choose.choice(self._bodies())
        name = {"entries": "position", "heads": "stream", "documents": "rowid"}[table]
        self._db.execute(f"DELETE FROM {table} WHERE {name} = ?", (row,))
        return [table, what, row]

    def delete_stream_row(self) -> Any:
        number = self._pick_stream()
        self._db.execute("DELETE FROM streams WHERE number = ?", (number,))
        return self._ids[number]

    def swap_bodies(self) -> Any:
        while True:
            first, second = self._choose.sample(self._bodies(), 2)
            if first[0] == second[0] and first[2] != second[2]:
                break
        self._put(first[0], first[1], second[2])
        self._put(second[0], second[1], first[2])
        return [first[0], first[3], second[3]]

    def swap_entries(self) -> Any:
        number = self._pick_stream()
        first, second = self._choose.sample(range(1, VERSIONS + 1), 2)
        moved = "UPDATE entries SET version = ? WHERE stream = ? AND version = ?"
        for new, old in ((-1, first), (first, second), (second, -1)):
            self._db.execute(moved, (new, number, old))
        return [self._ids[number], first, second]

    def swap_streams(self) -> Any:
        first, second = self._choose.sample(sorted(self._ids), 2)
        renamed = "UPDATE streams SET id = ? WHERE number = ?"
        for new, number in (("?", first), (self._ids[first], second), (self._ids[second], first)):
            self._db.execute(renamed, (new, number))
        return [self._ids[first], self._ids[second]]

    def cut_head_left(self) -> Any:
        number, last = self._pick_stream(), self._choose.randrange(VERSIONS)
        self._db.execute("DELETE FROM entries WHERE stream = ? AND version > ?", (number, last))
        return [self._ids[number], last]

    # Forgeries, with digests that are right

    def take_away(self) -> Any:
        number = self._pick_stream()
        self._db.execute("DELETE FROM entries WHERE stream = ?", (number,))
        self._db.execute("DELETE FROM heads WHERE stream = ?", (number,))
        self._db.execute("DELETE FROM documents WHERE kind = 'snapshot' AND id = ?", (self._ids[number],))
        return self._ids[number]

    def cut_head_rewritten(self) -> Any:
        number, last = self._pick_stream(), self._choose.randint(1, SEALED - 1)
        self._db.execute("DELETE FROM entries WHERE stream = ? AND version > ?", (number, last))
        body = self._db.execute("SELECT body FROM entries WHERE stream = ? AND version = ?", (number, last)).get
        self._forge_head(number, last, stored_digest(body), orjson.loads(body))
        return [self._ids[number], last]

    def rewrite(self) -> Any:
        """Change one entry that was sealed, and seal all that follows it anew."""
        number, changed = self._pick_stream(), self._choose.randint(1, SEALED)
        id = self._ids[number]
        own = genesis(GOVERNOR, id)
        rows = list(
            self._db.execute("SELECT position, version, body FROM entries WHERE stream = ? ORDER BY 2", (number,))
        )
        members: Any = {}
        for position, version, body in rows:
            previous, own = own, stored_digest(body)
            rest = unseal(previous, body, id)[0] if version < changed else b"{" + body[51:]
            if version == changed:
                rest = rest.replace(b'"at":', b'"at": ', 1) if self._choose.random() < 0.5 else _other(rest)
            if version >= changed:
                body, own = seal(previous, rest)
                self._put("entries", position, body)
            members = orjson.loads(body)
        self._forge_head(number, VERSIONS, own, members)
        return [id, changed]

    def prune_beyond(self) -> Any:
        """Have the stream begin after all that was sealed."""
        number, base = self._pick_stream(), self._choose.randint(SEALED + 1, VERSIONS - 1)
        at = "SELECT body FROM entries WHERE stream = ? AND version = ?"
        digest = stored_digest(self._db.execute(at, (number, base)).get)
        body = self._db.execute(at, (number, VERSIONS)).get
        self._db.execute("DELETE FROM entries WHERE stream = ? AND version <= ?", (number, base))
        self._forge_head(number, VERSIONS, stored_digest(body), orjson.loads(body), base=(base, digest))
        return [self._ids[number], base]

    def _forge_head(
        self, number: int, version: int, digest: bytes, entry: Any, base: tuple[int, bytes] | None = None
    ) -> None:
        """A head as the library would have written it after this entry, and snapshots that fit."""
        id = self._ids[number]
        kept = tuple(n for n in range(5, version + 1, 5) if n in LISTED and (base is None or n > base[0]))
        tip = Tip(
            owner=GOVERNOR, id=id, revision="", version=version, digest=digest, at=entry["at"], clock=entry["c"],
            snapshots=kept, last=version,
        )  # fmt: skip
        if base is not None:
            head = orjson.loads(encode_head(tip, image_at(id, version), token="forged", action="set", metadata={}))
            head["base"] = {"n": base[0], "chain": base[1].decode()}
            del head["h"]
            body = seal(key_context(Key("head", GOVERNOR, id)), orjson.dumps(head))[0]
        else:
            body = encode_head(tip, image_at(id, version), token="forged", action="set", metadata={})
        self._put("heads", number, body)
        self._db.execute("DELETE FROM documents WHERE kind = 'snapshot' AND id = ?", (id,))
        for n in kept:
            row = self._db.execute("SELECT body FROM entries WHERE stream = ? AND version = ?", (number, n)).get
            snapshot = tip._replace(version=n, digest=stored_digest(row), at=orjson.loads(row)["at"])
            image: Image = image_at(id, n)
            self._db.execute(
                "INSERT INTO documents VALUES ('snapshot', ?, ?, ?, 'forged', 0, ?)",
                (GOVERNOR, id, n, encode_snapshot(snapshot, image, token="forged")),
            )


def _other(rest: bytes) -> bytes:
    """The entry with another author."""
    assert b'"by":"kim"' in rest
    return rest.replace(b'"by":"kim"', b'"by":"eve"', 1)


def main() -> None:
    damager = Damager(sys.argv[1], int(sys.argv[2]))
    print(json.dumps(list(damager.kinds)), flush=True)
    for line in sys.stdin:
        word, _, kind = line.strip().partition(" ")
        if word == "damage":
            print(json.dumps(damager.damage(kind)), flush=True)
        else:
            damager.mend()
            print("null", flush=True)


if __name__ == "__main__":
    main()
