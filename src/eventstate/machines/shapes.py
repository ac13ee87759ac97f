"""Python values to plain JSON data and back: pydantic models, dataclasses, or plain data as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import orjson

from eventstate.errors import ConfigurationError, EncodingError

_PLAIN_TYPES = (dict, list, str, int, float, bool, type(None))


class Shape:
    """How one type is stored. Plain data passes as it is, other types through pydantic."""

    def __init__(self, type_: type[Any] | None) -> None:
        self.type = type_
        self._load: Callable[[bytes], Any] | None = None
        self._dump: Callable[..., Any] | None = None
        if type_ is not None and type_ not in _PLAIN_TYPES:
            adapter = _adapter(type_)
            self._load = adapter.validate_json
            self._dump = adapter.dump_python

    def to_plain(self, value: Any) -> Any:
        """Plain JSON data of a value.

        Raises:
            EncodingError: pydantic can't dump it, or it is None where the type is another.
        """
        if self._dump is None:
            if value is None and self.type not in (None, type(None)):
                problem = f"None instead of a {self.type.__name__}; evolve must return the new state"
                raise EncodingError(path="$", problem=problem)
            return value
        try:
            plain = self._dump(value, mode="json", by_alias=True, round_trip=True, warnings="error")
            whole = self._dump(
                value, mode="json", by_alias=True, round_trip=True, warnings=False, serialize_as_any=True
            )
        except Exception as error:
            raise EncodingError(path="$", problem=f"{type(value).__name__} can't be dumped: {error}") from error
        if whole != plain and orjson.dumps(whole) != orjson.dumps(plain):
            problem = f"{type(value).__name__} holds fields that its declared types would drop; declare them"
            raise EncodingError(path="$", problem=problem)
        return plain

    def from_plain(self, plain: Any) -> Any:
        """The value of plain data. Validation errors are the caller's to name."""
        if self._load is None:
            return plain
        return self._load(orjson.dumps(plain))


def _adapter(type_: type[Any]) -> Any:
    from pydantic import TypeAdapter

    name = type_.__name__
    if not (dataclasses.is_dataclass(type_) or hasattr(type_, "__pydantic_core_schema__")):
        raise ConfigurationError(f"{name} can't be stored: use a pydantic model, a dataclass, or plain dicts and lists")
    adapter: Any = TypeAdapter(type_)
    return adapter
