"""Which ids can be used, and how a state id names its machine.

Limits come from the narrowest backend (Firestore: 1,500 bytes a document id, encoded), kept the
same everywhere so that data can move between backends.
"""

from __future__ import annotations

from typing import Final

from eventstate.errors import InvalidIdError

MAX_ID_BYTES: Final = 1_400
"""Leaves room for ``:`` and a 12-digit version below 1,500."""

MAX_VERSION: Final = 10**12 - 1

_UNESCAPED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_checked: dict[str, None] = {}


def encoded_length(value: str) -> int:
    """Bytes an id may take once a backend has escaped it: three for each escaped ASCII character."""
    return sum(1 if c in _UNESCAPED else 3 if c < "\x80" else len(c.encode("utf-8")) for c in value)


def check_id(what: str, value: object) -> str:
    """Return ``value``, as plain text, if it can be an id on every backend.

    Any text without control characters will do, also ``a/b``, ``x:1``, ``..`` and ``__x__``.

    Raises:
        InvalidIdError: not text, empty, too long, or with control characters or lone surrogates.
    """
    if type(value) is str and value in _checked:
        return value
    if not isinstance(value, str):
        raise InvalidIdError(what=what, value=value, rule=f"it must be text, not {type(value).__name__}")
    if not value:
        raise InvalidIdError(what=what, value=value, rule="it must not be empty")
    # Most are short and plain: no escape makes more than three bytes of an ASCII character.
    if 3 * len(value) > MAX_ID_BYTES or not value.isascii() or not value.isprintable():
        _check_characters(what, value)
    if len(_checked) < 10_000:
        _checked[value] = None
    # That of an enum: what its own `__str__` says would be another id.
    return str.__str__(value)


def _check_characters(what: str, value: str) -> None:
    try:
        length = encoded_length(value)
    except UnicodeEncodeError:
        raise InvalidIdError(what=what, value=value, rule="it holds a lone surrogate, which is not text") from None
    if length > MAX_ID_BYTES:
        rule = f"it takes {length:,} bytes encoded, the limit is {MAX_ID_BYTES:,}; use a hash of it"
        raise InvalidIdError(what=what, value=value, rule=rule)
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise InvalidIdError(what=what, value=value, rule="control characters are not allowed")


def is_checked(value: str) -> bool:
    """Whether `check_id` has let this pass before."""
    return value in _checked


def check_machine_name(value: object) -> str:
    """Return ``value`` if it can name a machine.

    Raises:
        InvalidIdError: not an id, or with ``-``, which ends the machine's name in a state id.
    """
    name = check_id("machine name", value)
    if "-" in name:
        raise InvalidIdError(what="machine name", value=name, rule="'-' separates the machine from the id; use '_'")
    return name


def machine_of(state_id: str) -> str:
    """The machine's name in a state id: ``order`` of ``order-42``; '' where there is no ``-``."""
    name, separator, _ = state_id.partition("-")
    return name if separator else ""
