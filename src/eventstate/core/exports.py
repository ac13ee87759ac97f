"""The lines of an export file: format 1, described in docs/reference/storage-format.md.

Bodies stand in their lines byte for byte, so that digests over them hold in the file too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import orjson

from eventstate.errors import CorruptionError, FormatError

EXPORT_FORMAT: Final = 1

Part = Literal["entry", "snapshot"]
Loose = Literal["command", "document"]
"""What belongs to no stream: idempotency keys and users' documents."""

LOOSE: Final[tuple[Loose, ...]] = get_args(Loose)

_LINE: Final = re.compile(
    rb'\{"(stream|command|document)":("(?:[^"\\]|\\.)*"),"(head|entry|snapshot|body)":(\{.*\})\}\n', re.DOTALL
)
_HEADER: Final = b'{"eventstate":"export",'
_END: Final = b'{"end":'


class Header(NamedTuple):
    """The first line: what the file holds."""

    governor: str
    prefix: str = ""
    state_ids: Sequence[str] = ()
    includes: Sequence[Loose] = ()
    decrypted: bool = False
    """Encrypted values are in the clear: the file is to be read, and is no original to be imported."""


class Counts(NamedTuple):
    """How much there is of everything."""

    streams: int = 0
    entries: int = 0
    events: int = 0
    snapshots: int = 0
    commands: int = 0
    documents: int = 0


class Line(NamedTuple):
    """A line between the first and the last: ``name`` is that of its member besides the id."""

    kind: str
    id: str
    name: str
    body: bytes


class End(NamedTuple):
    """The last line: how much there is before it, and the SHA-256 of all bytes before it, in hexadecimal."""

    counts: Counts
    digest: str


def header_line(header: Header) -> bytes:
    members: dict[str, Any] = {"eventstate": "export", "format": EXPORT_FORMAT, "governor": header.governor}
    if header.prefix:
        members["prefix"] = header.prefix
    if header.state_ids:
        members["state_ids"] = list(header.state_ids)
    if header.includes:
        members["includes"] = list(header.includes)
    if header.decrypted:
        members["decrypted"] = True
    return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)


def head_line(id: str, members: Mapping[str, Any]) -> bytes:
    """The line that a stream begins with."""
    return orjson.dumps({"stream": id, "head": members}, option=orjson.OPT_APPEND_NEWLINE)


def part_line(id: str, name: Part, body: bytes) -> bytes:
    """An entry or a snapshot of the stream that was begun.

    Raises:
        CorruptionError: the body would not stay on one line; this library writes none that does not.
    """
    return _line("stream", id, name, body)


def loose_line(kind: Loose, id: str, body: bytes) -> bytes:
    """A document that belongs to no stream; raises like `part_line`."""
    return _line(kind, id, "body", body)


def _line(kind: str, id: str, name: str, body: bytes) -> bytes:
    if b"\n" in body or body[:1] != b"{":
        raise CorruptionError(where=f"{name} of {id!r}", problem="it is no JSON object on one line")
    return b'{"%s":%s,"%s":%s}\n' % (kind.encode(), orjson.dumps(id), name.encode(), body)


def end_line(end: End) -> bytes:
    return orjson.dumps({"end": {**end.counts._asdict(), "sha256": end.digest}}, option=orjson.OPT_APPEND_NEWLINE)


def parse_header(line: bytes, where: str) -> Header:
    """The first line of a file.

    Raises:
        ValueError: it is no export; the text says why.
        FormatError: a newer version of this library wrote it.
    """
    if not line.startswith(_HEADER) or not line.endswith(b"\n"):
        raise ValueError("this is no file that 'eventstate export' wrote")
    members = _object(line)
    format = members.get("format")
    if not isinstance(format, int):
        raise ValueError("it does not say its format")
    if format > EXPORT_FORMAT:
        raise FormatError(store=where, found=format, supported=EXPORT_FORMAT)
    governor, prefix = members.get("governor"), members.get("prefix", "")
    state_ids, includes = members.get("state_ids", []), members.get("includes", [])
    if not isinstance(governor, str) or not isinstance(prefix, str) or not _are_texts(state_ids):
        raise ValueError("its first line is incomplete")
    if not _are_texts(includes) or not set(includes) <= set(LOOSE):
        raise ValueError("it includes what this version does not know")
    chosen = tuple(cast("Sequence[Loose]", includes))
    return Header(governor, prefix, tuple(state_ids), chosen, members.get("decrypted", False) is not False)


def parse_line(line: bytes) -> Line | End:
    """Any other line.

    Raises:
        ValueError: it is none of an export; the text says why.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the file is cut here: fetch or export it again")
    if line.startswith(_END):
        return _parse_end(line)
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("not a line of an export, or changed since it was written")
    kind, id, name, body = match.groups()
    found = Line(kind.decode(), orjson.loads(id), name.decode(), body)
    if (found.kind == "stream") == (found.name == "body"):
        raise ValueError(f"a {found.kind} can't have a {found.name}")
    return found


def _parse_end(line: bytes) -> End:
    members = _object(line).get("end")
    if not isinstance(members, dict):
        raise ValueError("the last line is incomplete")
    known = cast("dict[str, Any]", members)
    counts = [known.get(name) for name in Counts._fields]
    digest = known.get("sha256")
    if not all(isinstance(count, int) for count in counts) or not isinstance(digest, str):
        raise ValueError("the last line is incomplete")
    return End(Counts(*cast("list[int]", counts)), digest)


def _object(line: bytes) -> dict[str, Any]:
    value: object = orjson.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, Any]", value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))
