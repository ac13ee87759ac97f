"""Where documents live: keys to Firestore document names and back, and key ranges for scans.

A document's last segment is its id, for numbered kinds followed by ``!`` and twelve digits. Ids are
escaped so that the order of segments, which Firestore compares by their UTF-8 bytes, is the order of
``(id, n)``:

* bytes up to ``%`` become ``%XX`` and ``.`` and ``/`` become ``.2E`` and ``.2F``. Each escape begins with
  a character that sorts where the escaped bytes did, so no two ids change places;
* ``!`` therefore never occurs in an escaped id and sorts below everything that does: ``a!000000000007``
  comes before ``a-1!000000000001``, which a ``:`` would turn round;
* a segment of the reserved form ``__x__`` gets a trailing ``!``, the smallest change that is allowed.

A governor is a document of the collection ``governors``, but one of the form ``jobs/{job}`` is a document of ``jobs``:
so the statuses of a job's tasks stand where people look for them, at ``jobs/{job}/states/{tag}:{task}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from eventstate.core import documents
from eventstate.core.documents import NUMBERED, Key
from eventstate.errors import ConfigurationError, InvalidIdError, InvalidInputError

GOVERNORS: Final = "governors"
JOBS: Final = "jobs"
OWNERS: Final = (GOVERNORS, JOBS)
"""The collections of owners."""
JOB_GOVERNOR: Final = "jobs/"
"""What the governors in the collection `JOBS` begin with; more must follow."""

COLLECTIONS: Final[Mapping[str, str]] = {
    documents.HEAD: "states",
    documents.ENTRY: "events",
    documents.SNAPSHOT: "snapshots",
    documents.COMMAND: "commands",
    documents.OUTCOME: "outcomes",
    documents.TRANSACTION: "transactions",
    documents.LOCK: "locks",
    documents.LEASE: "leases",
    documents.FENCE: "fences",
    documents.WAIT: "waits",
    documents.CURSOR: "cursors",
    documents.PROJECTION: "projections",
    documents.PIN: "pins",
    documents.SEAL: "seals",
    documents.DOCUMENT: "documents",
    documents.GUARD: "guards",
    documents.OUTBOX: "outbox",
    documents.KEYRING: "keyrings",
    documents.SUBJECT: "subjects",
    documents.SECRET: "secrets",
}
"""Kind -> collection of its documents below an owner."""

MAX_SEGMENT_BYTES: Final = 1500
MAX_ROOT_BYTES: Final = 1000
MAX_NUMBER: Final = 10**12 - 1
MARK: Final = "!"
"""Ends an id: sorts below every character of an escaped id."""

_ESCAPES: Final = {code: f"%{code:02X}" for code in range(ord("%") + 1)} | {ord("."): ".2E", ord("/"): ".2F"}
_ESCAPED: Final = re.compile(r"[%.]([0-9A-F]{2})")
_NUMBERED_SEGMENT: Final = re.compile(r"(.+)!([0-9]{12})", re.DOTALL)


class Range(NamedTuple):
    """Segments from ``start`` to ``end``; an empty bound is open."""

    start: str = ""
    start_exclusive: bool = False
    end: str = ""
    end_exclusive: bool = False


class Paths:
    """Document names of one store: a project, a database and a root below its documents.

    Attributes:
        database: resource name of the database.
        documents: what every document name begins with, root included, without a trailing slash.
        top: the same without the root: collection-group queries are only allowed there.
    """

    __slots__ = ("database", "documents", "root", "top")

    def __init__(self, *, project: str, database: str, root: str = "") -> None:
        self.root = root
        self.database = f"projects/{project}/databases/{database}"
        self.top = f"{self.database}/documents"
        self.documents = f"{self.top}/{root}" if root else self.top

    def name(self, key: Key) -> str:
        """The full document name.

        Raises:
            InvalidIdError: owner or id is empty, not Unicode text or longer than 1,500 bytes once escaped.
            InvalidInputError: an unknown kind or a number that this kind does not have.
        """
        return f"{self.parent(key.owner)}/{_collection(key.kind)}/{segment(key)}"

    def parent(self, owner: str) -> str:
        """The document that an owner's documents live below."""
        job = _job_of(owner)
        if job:
            return f"{self.documents}/{JOBS}/{plain_segment('owner', job)}"
        return f"{self.documents}/{GOVERNORS}/{plain_segment('owner', owner)}"

    def owner(self, name: str) -> str | None:
        """The governor that a document name stands for, or None if it is none of ours."""
        own = f"{self.documents}/"
        parts = name[len(own) :].split("/") if name.startswith(own) else []
        return _owner_of(*parts) if len(parts) == 2 else None

    def entry_key(self, name: str) -> Key | None:
        """The key of an entry's document name, or None if the document is not an entry of this store."""
        own = f"{self.documents}/"
        parts = name[len(own) :].split("/") if name.startswith(own) else []
        if len(parts) != 4 or parts[2] != COLLECTIONS[documents.ENTRY]:
            return None
        owner = _owner_of(parts[0], parts[1])
        return None if owner is None else parse_segment(documents.ENTRY, owner, parts[3])


def check_root(root: str) -> None:
    """A root must name a document, so that collections can follow.

    Raises:
        ConfigurationError: an odd number of segments, or one that Firestore does not allow.
    """
    if not root:
        return
    segments = root.split("/")
    if len(segments) % 2:
        raise ConfigurationError(
            f"root {root!r} has {len(segments)} segments: it needs an even number, as in 'tenants/a'"
        )
    for part in segments:
        if part in ("", ".", "..") or _is_reserved(part):
            raise ConfigurationError(f"root {root!r} has the segment {part!r}, which Firestore does not allow")
    try:
        size = len(root.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"root {root!r} is not Unicode text") from None
    if size > MAX_ROOT_BYTES:
        raise ConfigurationError(f"root has {size} bytes, the limit is {MAX_ROOT_BYTES}")


def encode(text: str) -> str:
    """Escaped so that prefixes stay prefixes and order stays order."""
    return text.translate(_ESCAPES)


def decode(segment: str) -> str | None:
    """The text that `plain_segment` was given, or None if it never made this segment."""
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), segment.removesuffix(MARK))
    return text if text and _finish(encode(text)) == segment else None


def plain_segment(what: str, text: str) -> str:
    """One segment for a text that carries no number."""
    if not text:
        raise InvalidIdError(what=what, value=text, rule="it must not be empty")
    return _within_limit(what, text, _finish(encode(text)))


def segment(key: Key) -> str:
    """The last segment of a key's document name."""
    if key.kind not in NUMBERED:
        if key.n:
            raise InvalidInputError(f"kind {key.kind!r} has no numbers, got n={key.n}")
        return plain_segment("id", key.id)
    if not 0 <= key.n <= MAX_NUMBER:
        raise InvalidInputError(f"the number of {key} must be between 0 and {MAX_NUMBER}")
    if not key.id:
        raise InvalidIdError(what="id", value=key.id, rule="it must not be empty")
    return _within_limit("id", key.id, f"{encode(key.id)}{MARK}{key.n:012d}")


def parse_segment(kind: str, owner: str, segment: str) -> Key | None:
    """The key of a last segment, or None if it is none that this module makes."""
    if kind not in NUMBERED:
        text = decode(segment)
        return None if text is None else Key(kind, owner, text)
    found = _NUMBERED_SEGMENT.fullmatch(segment)
    if found is None:
        return None
    text = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), found[1])
    return Key(kind, owner, text, int(found[2])) if encode(text) == found[1] else None


def key_range(kind: str, *, id: str | None, prefix: str, after: Key | None) -> Range | None:
    """The segments that a scan covers, or None where nothing can match."""
    if id is not None:
        if not id.startswith(prefix):
            return None
        numbers = (0, MAX_NUMBER) if kind in NUMBERED else (0, 0)
        found = Range(start=segment(Key(kind, "", id, numbers[0])), end=segment(Key(kind, "", id, numbers[1])))
    else:
        found = _prefix_range(prefix)
    if after is not None and after.id:
        # The key need not exist, nor be one that could: numbers beyond either end are moved to it.
        start = segment(after._replace(n=min(max(after.n, 0), MAX_NUMBER if kind in NUMBERED else 0)))
        if start >= found.start:
            found = found._replace(start=start, start_exclusive=after.n >= 0)
    # str compares by code point, which is the order of the UTF-8 bytes.
    if found.end and (found.start > found.end or (found.start == found.end and found.start_exclusive)):
        return None
    return found


def _prefix_range(prefix: str) -> Range:
    if not prefix:
        return Range()
    successor = _successor(prefix)
    return Range(
        start=_within_limit("prefix", prefix, _finish(encode(prefix))),
        end=_finish(encode(successor)) if successor else "",
        end_exclusive=True,
    )


def _successor(text: str) -> str:
    """The smallest text above every text that begins so, or '' where there is none."""
    last = text.rstrip("\U0010ffff")
    if not last:
        return ""
    code = ord(last[-1]) + 1
    return last[:-1] + chr(0xE000 if code == 0xD800 else code)


def _job_of(owner: str) -> str:
    """The job of a governor that stands in the collection of jobs; empty for all others."""
    return owner[len(JOB_GOVERNOR) :] if owner.startswith(JOB_GOVERNOR) else ""


def _owner_of(collection: str, segment: str) -> str | None:
    """The governor of a document in one of the collections of owners, or None if it is none of ours."""
    text = decode(segment)
    if text is None or collection not in OWNERS:
        return None
    if collection == JOBS:
        return JOB_GOVERNOR + text
    return None if _job_of(text) else text


def _collection(kind: str) -> str:
    try:
        return COLLECTIONS[kind]
    except KeyError:
        raise InvalidInputError(f"unknown kind {kind!r}; known are {', '.join(sorted(COLLECTIONS))}") from None


def _finish(segment: str) -> str:
    return segment + MARK if _is_reserved(segment) else segment


def _is_reserved(segment: str) -> bool:
    return segment.startswith("__") and segment.endswith("__")


def _within_limit(what: str, text: str, segment: str) -> str:
    try:
        size = len(segment.encode())
    except UnicodeEncodeError:
        raise InvalidIdError(what=what, value=text, rule="it must be Unicode text without lone surrogates") from None
    if size > MAX_SEGMENT_BYTES:
        rule = f"it has {size} bytes once escaped, the limit is {MAX_SEGMENT_BYTES}"
        raise InvalidIdError(what=what, value=text, rule=rule)
    return segment
