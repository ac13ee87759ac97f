"""Digests over stored bytes: what makes bit rot, edits and swapped documents show.

A sealed body is one JSON object whose first member is its own digest at a fixed place::

    {"h":"<43 characters>",<rest>

The digest is SHA-256 over a context and the bytes of the rest. The context of an entry is the
digest of the entry before it (the genesis digest of its stream for the first), which makes a chain
that is bound to one stream of one governor; the context of any other document is its key.
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256
from typing import Final

from eventstate.core.documents import HEAD, Key
from eventstate.errors import CorruptionError

_HEAD: Final = b'{"h":"'
_DIGEST_END: Final = len(_HEAD) + 43
REST: Final = _DIGEST_END + 2
"""Where the members after the digest begin."""
_MARK: Final = b'",'


def digest(context: bytes, rest: bytes) -> bytes:
    """43 base64 characters of SHA-256 over context and rest."""
    return b2a_base64(sha256(context + rest).digest())[:43]


def genesis(owner: str, stream: str) -> bytes:
    """The digest before the first entry of a stream."""
    return digest(b"eventstate stream 1\0", f"{owner}\0{stream}".encode())


def key_context(key: Key) -> bytes:
    """The context of a document that is no entry."""
    kind, owner, id, n = key
    return f"{kind}\0{owner}\0{id}\0{n}\0".encode()


def head_context(owner: str, id: str) -> bytes:
    """`key_context` of the head of a stream."""
    return f"{HEAD}\0{owner}\0{id}\0{0}\0".encode()


def seal(context: bytes, members: bytes) -> tuple[bytes, bytes]:
    """The sealed body of a non-empty JSON object, and its digest."""
    rest = members[1:]
    own = digest(context, rest)
    return b"".join((_HEAD, own, _MARK, rest)), own


def sealed_start(digest: bytes) -> bytes:
    """How a body with this digest begins, up to `REST`."""
    return _HEAD + digest + _MARK


def verified(context: bytes, body: bytes, where: Key | str) -> bytes:
    """The digest of a sealed body, after checking it.

    Raises:
        CorruptionError: the bytes do not match their digest in this context.
    """
    try:
        own = digest(context, body[REST:])
    except TypeError:  # a hand that edited the store left text where bytes belong
        problem = f"it is stored as {type(body).__name__}, not as bytes"
        raise CorruptionError(where=str(where), problem=problem) from None
    if not body.startswith(_HEAD + own + _MARK):
        raise CorruptionError(where=str(where), problem="its bytes do not match their digest")
    return own


def linked(context: bytes, body: bytes) -> bytes | None:
    """The digest of a sealed body, where it matches its bytes in this context; None where `verified` would raise."""
    try:
        own = b2a_base64(sha256(context + body[REST:]).digest())[:43]
    except TypeError:
        return None
    return own if body.startswith(_HEAD + own + _MARK) else None


def unseal(context: bytes, body: bytes, where: Key | str) -> tuple[bytes, bytes]:
    """The object's bytes without the digest, and the digest, after checking it.

    Raises:
        CorruptionError: the bytes do not match their digest in this context.
    """
    own = verified(context, body, where)
    return b"{" + body[REST:], own


def stored_digest(body: bytes) -> bytes:
    """The digest that a body claims, unchecked."""
    return body[6:49]
