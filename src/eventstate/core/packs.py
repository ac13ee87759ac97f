"""Packs: the archived entries of many streams in one blob of JSON lines, byte for byte as they were stored.

::

    {"format":1,"governor":"shop"}
    {"stream":"order-42","after":0,"chain":"<digest>"}
    <body of an entry>
    ...
    {"stream":"order-43","after":100,"chain":"<digest>","snapshot":true}
    <body of the snapshot at version 100>
    <body of an entry>
    ...
    {"first":"order-42","last":"order-43","streams":[["order-42",0,"<digest>",7,"<digest>",32,1480],...]}
    {"index":"000000004711"}

A section names the version and the digest that it follows. The index gives, for each section, its stream, the version
and digest it follows, its last version and digest, and where its bytes are: offset and length. The last line has a
fixed length and says where the index begins. A pack is named by the SHA-256 of its bytes.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import Document, made
from eventstate.core.format import Base, Entry, entry_key, snapshot_key, unborn
from eventstate.errors import CorruptionError, FormatError

FORMAT: Final = 1
SUFFIX: Final = ".pack"
TAIL_BYTES: Final = len('{"index":"000000000000"}\n')


class Section(NamedTuple):
    """Consecutive entries of one stream in a pack: those after version ``after`` up to ``last``."""

    pack: str
    stream: str
    after: int
    after_chain: str
    last: int
    last_chain: str
    offset: int
    length: int


class Contents(NamedTuple):
    """A section read back; ``snapshot`` is the one at the version it follows, if it is there."""

    snapshot: Document | None
    entries: Sequence[Document]


def folder_of(owner: str) -> str:
    """Where the packs of a governor are: its name where that is a plain one, else a digest of it."""
    plain = owner.isascii() and owner.replace("-", "").replace("_", "").isalnum() and len(owner) <= 100
    return f"{owner}/" if plain else f"~{hashlib.sha256(owner.encode()).hexdigest()[:32]}/"


class PackWriter:
    """Puts a pack together in memory. Streams come in the order of their ids.

    Attributes:
        size: bytes so far.
        last: where the section that is open has come to.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lines: list[bytes] = []
        self._sections: list[tuple[str, int, str, int, str, int, int]] = []
        self._open: tuple[str, Base, int] | None = None
        self.last = Base(0, b"")
        self.size = 0
        self._write(orjson.dumps({"format": FORMAT, "governor": owner}))

    @property
    def is_empty(self) -> bool:
        return not self._sections and not self._has_entries

    @property
    def _has_entries(self) -> bool:
        """Whether the section that is open holds anything."""
        return self._open is not None and self._open[1] != self.last

    def begin(self, id: str, before: Base, snapshot: bytes | None = None) -> None:
        """Begin the section of a stream that follows ``before``, with the snapshot there if there is one."""
        self.end()
        self._open = (id, before, self.size)
        self.last = before
        members: dict[str, Any] = {"stream": id, "after": before.version, "chain": before.digest.decode("ascii")}
        if snapshot is not None:
            members["snapshot"] = True
        self._write(orjson.dumps(members))
        if snapshot is not None:
            self._write(snapshot)

    def add(self, entry: Entry, document: Document) -> None:
        """Add the next entry of the section, checked before."""
        if b"\n" in document.body:
            raise CorruptionError(where=str(document.key), problem="it is not on one line, as this library writes it")
        self._write(document.body)
        self.last = Base(entry.version, entry.digest)

    def end(self) -> None:
        """End the section that is open; one without entries is not listed."""
        if self._open is not None and self._has_entries:
            id, before, offset = self._open
            chains = before.digest.decode("ascii"), self.last.digest.decode("ascii")
            place = (offset, self.size - offset)
            self._sections.append((id, before.version, chains[0], self.last.version, chains[1], *place))
        self._open = None

    def finish(self) -> tuple[str, bytes]:
        """The name of the pack, and its bytes."""
        self.end()
        ids = [section[0] for section in self._sections]
        index = self.size
        self._write(orjson.dumps({"first": ids[0], "last": ids[-1], "streams": self._sections}))
        self._write(b'{"index":"%012d"}' % index)
        body = b"".join(self._lines)
        return pack_name(self._owner, body), body

    def _write(self, line: bytes) -> None:
        self._lines.append(line)
        self._lines.append(b"\n")
        self.size += len(line) + 1


def pack_name(owner: str, body: bytes) -> str:
    """The name of a pack with these bytes."""
    return f"{folder_of(owner)}{hashlib.sha256(body).hexdigest()}{SUFFIX}"


def is_pack(name: str, body: bytes) -> bool:
    """Whether these bytes are those that the name promises."""
    return name.rpartition("/")[2] == hashlib.sha256(body).hexdigest() + SUFFIX


def index_offset(name: str, tail: bytes) -> int:
    """Where the index of a pack begins, from its last `TAIL_BYTES`.

    Raises:
        CorruptionError: the pack is cut short or is none.
    """
    try:
        return int(orjson.loads(tail)["index"])
    except (ValueError, KeyError, TypeError):
        raise CorruptionError(where=name, problem="its end is not that of a pack") from None


def read_index(name: str, body: bytes) -> tuple[str, str, list[Section]]:
    """The first and the last stream of a pack, and its sections, from the bytes of its index.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members = orjson.loads(body)
        sections = [Section(name, *section) for section in members["streams"]]
        return members["first"], members["last"], sections
    except (ValueError, KeyError, TypeError):
        raise CorruptionError(where=name, problem="its index can't be read") from None


def read_section(owner: str, section: Section, body: bytes) -> Contents:
    """The documents of a section, from its bytes. The entries are not checked against each other yet.

    Raises:
        CorruptionError: it is not the section that the index names.
        FormatError: a newer version of this library wrote it.
    """
    where = f"{section.pack} ({section.stream})"
    lines = body.split(b"\n")[:-1]
    tip = unborn(owner, section.stream)
    try:
        members = orjson.loads(lines[0])
        if "f" in members:
            raise FormatError(store=where, found=members["f"], supported=FORMAT)
        if (members["stream"], members["after"]) != (section.stream, section.after):
            raise CorruptionError(where=where, problem="it is of another stream or version")
        snapshot = None
        rest = lines[1:]
        if members.get("snapshot"):
            key = snapshot_key(owner, section.stream, section.after)
            snapshot, rest = made(Document, (key, rest[0], "", 0)), rest[1:]
        entries = [made(Document, (entry_key(tip, orjson.loads(line)["n"]), line, "", 0)) for line in rest]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CorruptionError(where=where, problem=f"it can't be read ({error})") from None
    return Contents(snapshot, entries)
