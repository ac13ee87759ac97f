"""Values to JSON bytes and back, exactly, or a typed error that says where.

JSON text by orjson. orjson writes NaN and infinities as ``null``; an encoding with a ``null`` in it
is therefore looked at again, slowly.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias, cast

import orjson

from eventstate.errors import CorruptionError, EncodingError

JSON: TypeAlias = "dict[str, Any] | list[Any] | str | int | float | bool | None"

MAX_DEPTH: Final = 200
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: object, what: str = "$", *, nulls: int = 0) -> bytes:
    """JSON text of a value made of dicts with text keys, lists, text, numbers, booleans and None.

    Tuples become lists, UUIDs text and enums their values; anything else is refused. ``nulls`` says how often None is
    in it at least, where that is known: so many of them are no reason to look again.

    Raises:
        EncodingError: NaN or infinity, a lone surrogate, an integer beyond 64 bits, more than
            200 levels, a key that is not text, or a type without an exact JSON form.
    """
    try:
        encoded = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, RecursionError) as error:
        check_plain(value, what)
        raise EncodingError(path=what, problem=str(error)) from None
    if (b"null" in encoded and encoded.count(b"null") > nulls) or encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
        check_plain(value, what)
    return encoded


def decode(encoded: bytes, where: str) -> Any:
    """The value of JSON text that was stored at ``where``.

    Raises:
        CorruptionError: not JSON.
    """
    try:
        return orjson.loads(encoded)
    except ValueError as error:
        raise CorruptionError(where=where, problem=f"not JSON ({error})") from None


def check_plain(value: object, path: str, depth: int = 0) -> None:
    """Raise an EncodingError with the path of the first part that has no exact JSON form."""
    if depth > MAX_DEPTH:
        raise EncodingError(path=path[:60], problem=f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            if type(key) is not str:
                raise EncodingError(path=path, problem=f"key {key!r} is not text")
            check_text(key, path)
            check_plain(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("list[Any]", value)):
            check_plain(item, f"{path}[{index}]", depth + 1)
    else:
        _check_scalar(value, path)


def check_finite(value: object, path: str) -> None:
    """Raise an EncodingError with the path of the first NaN or infinity in a value of containers."""
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            check_finite(item, f"{path}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(cast("list[Any]", value)):
            check_finite(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise EncodingError(path=path, problem=f"{value} has no JSON form; use None or text")


def _check_scalar(value: object, path: str) -> None:
    if isinstance(value, str):
        check_text(value, path)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise EncodingError(path=path, problem=f"integer of {value.bit_length()} bits; keep it as text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise EncodingError(path=path, problem=f"{value} has no JSON form; use None or text")
    else:
        try:
            orjson.dumps(value, option=_OPTIONS)
        except TypeError:
            name = type(value).__name__
            raise EncodingError(path=path, problem=f"{name} has no exact JSON form; convert it to plain data") from None


def check_text(value: str, path: str) -> None:
    """Raise an EncodingError if text holds a lone surrogate."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise EncodingError(path=path, problem="text with a lone surrogate, which is not Unicode text") from None
