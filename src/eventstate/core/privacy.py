"""Encrypted values: their form, what binds each to its place, and what is left of one whose key is gone.

    {"$encrypted": {"keys": ["<key id>", ...], "n": 7, "data": "<base64 of nonce, ciphertext and tag>"}}

The cipher is AES-256-GCM. Its secret is made from the keys of all the subjects that the value is about, so that
to destroy one of them is to destroy the value.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.urlsafe import urlsafe_bytes, urlsafe_text
from eventstate.errors import ConfigurationError, DecryptionError

ENCRYPTED: Final = "$encrypted"
"""The one member of an encrypted value."""

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_CONTEXT: Final = b"eventstate encryption 1"
_MEMBER: Final = b'"$encrypted"'
_NAMED: Final = re.compile(rb'"\$encrypted":\{"keys":\[([^\]]{0,65536})\]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Stands where an event was whose subject has been erased.

    Attributes:
        action: the type of the event.
        erased_at: when the key was destroyed, aware UTC.
        reason: as it was given to `erase`.
    """

    action: str
    erased_at: datetime
    reason: str


class Envelope(NamedTuple):
    """An encrypted value: the ids of its keys, the version it was made for, and nonce with ciphertext."""

    keys: tuple[str, ...]
    version: int
    data: bytes


def is_encrypted(plain: object) -> bool:
    """Whether decoded JSON is an encrypted value."""
    return isinstance(plain, dict) and ENCRYPTED in plain


def envelope_of(plain: Any, where: str) -> Envelope:
    """The parts of an encrypted value.

    Raises:
        DecryptionError: it is not one.
    """
    try:
        members = plain[ENCRYPTED]
        return Envelope(tuple(members["keys"]), int(members["n"]), urlsafe_bytes(members["data"]))
    except (KeyError, TypeError, ValueError):
        raise DecryptionError(where=where, problem="what should be an encrypted value has another form") from None


def encode_envelope(envelope: Envelope) -> bytes:
    """JSON text of an encrypted value."""
    keys, version, data = envelope
    # The keys come first: `named_keys` looks for them there.
    return orjson.dumps({ENCRYPTED: {"keys": keys, "n": version, "data": urlsafe_text(data)}})


def named_keys(body: bytes) -> set[str]:
    """The ids of all keys that a stored body asks for, found without decoding it."""
    if _MEMBER not in body:
        return set()
    return {id.strip(b'"').decode("ascii", "replace") for ids in _NAMED.findall(body) for id in ids.split(b",") if id}


class Place(NamedTuple):
    """Where an encrypted value belongs; it can't be read anywhere else."""

    what: str
    governor: str
    stream: str
    version: int
    action: str = ""
    schema: int = 1

    def bound(self, keys: Iterable[str]) -> bytes:
        """The bytes that are authenticated with the value."""
        return orjson.dumps([*self, list(keys)])


def secret_of(keys: Sequence[bytes]) -> bytes:
    """The secret for a value about the subjects of these keys; every one of them is needed for it."""
    return hmac.digest(_CONTEXT, b"".join(keys), "sha256")


def encrypt(text: bytes, secret: bytes, nonce: bytes, bound: bytes) -> bytes:
    """Nonce, ciphertext and tag."""
    return nonce + _cipher(secret).encrypt(nonce, text, bound)


def decrypt(data: bytes, secret: bytes, bound: bytes, where: str) -> bytes:
    """The text that was encrypted.

    Raises:
        DecryptionError: another key, or a value that was changed or moved.
    """
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(secret).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        problem = "its key does not open it: the keyring holds another key, or the value was changed or moved"
        raise DecryptionError(where=where, problem=problem) from None


def require_cipher() -> None:
    """Load what encrypts.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        _cipher(bytes(KEY_BYTES))
    except ImportError:
        raise ConfigurationError("encryption needs a package: pip install 'eventstate[crypto]'") from None


def _cipher(secret: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)
