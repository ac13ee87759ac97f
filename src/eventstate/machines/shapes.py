"""Python values to JSON text and back: pydantic models, dataclasses, or plain data as it is."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import orjson

from eventstate.core.codec import check_finite, encode
from eventstate.errors import ConfigurationError, EncodingError
from eventstate.machines.records import record_of

_PLAIN_TYPES = (dict, list, str, int, float, bool, type(None))


class Shape:
    """How one type is stored. Plain data passes as it is, other types through pydantic.

    Args:
        what: how errors call it.
    """

    def __init__(self, type_: type[Any] | None, what: str) -> None:
        self.type = type_
        self._what = what
        self.is_plain = type_ is None or type_ in _PLAIN_TYPES
        """Its values are JSON data themselves."""
        self._record = None
        self._adapter: Any = None
        if type_ is not None and not self.is_plain:
            _check_storable(type_)
            self._record = record_of(type_)
            if self._record is None:  # what pydantic can't take is refused when it is declared
                self._adapter = _adapter(type_)

    def encoded(self, value: Any) -> bytes:
        """JSON text of a value.

        Raises:
            EncodingError: it has no exact JSON form, or it is None where the type is another.
        """
        if self._record is not None:
            plain = self._record.to_plain(value)
            if plain is not None:
                try:
                    return encode(plain, self._what, nulls=_nulls_in(plain))
                except EncodingError:  # values of any type, which pydantic may know a form of
                    pass
        text = encode(self._to_plain(value), self._what)
        if not self.is_plain and b"null" in text:
            self._check_finite(value)
        return text

    def _check_finite(self, value: Any) -> None:
        """Refuse NaN and infinities, which pydantic writes as null where the declared type is Any."""
        try:
            parts = self._pydantic().dump_python(value, warnings=False, serialize_as_any=True)
        except Exception:  # noqa: BLE001 - a serializer of the caller's own that is for JSON only
            return
        check_finite(parts, self._what)

    def _to_plain(self, value: Any) -> Any:
        if self.is_plain:
            if value is None and self.type not in (None, type(None)):
                problem = f"None instead of a {self.type.__name__}; evolve must return the new state"
                raise EncodingError(path="$", problem=problem)
            return value
        dump = self._pydantic().dump_python
        try:
            plain = dump(value, mode="json", by_alias=True, round_trip=True, warnings="error")
            whole = dump(value, mode="json", by_alias=True, round_trip=True, warnings=False, serialize_as_any=True)
        except Exception as error:
            raise EncodingError(path="$", problem=f"{type(value).__name__} can't be dumped: {error}") from error
        if whole != plain and orjson.dumps(whole) != orjson.dumps(plain):
            problem = f"{type(value).__name__} holds fields that its declared types would drop; declare them"
            raise EncodingError(path="$", problem=problem)
        return plain

    def from_plain(self, plain: Any) -> Any:
        """The value of plain data, which may go on to live in it. Validation errors are the caller's to name."""
        if self.is_plain:
            return plain
        if self._record is not None:
            value = self._record.from_plain(plain)
            if value is not None:
                return value
        return self._pydantic().validate_json(orjson.dumps(plain))

    def _pydantic(self) -> Any:
        """The adapter; of a record it is made once a value needs it."""
        if self._adapter is None:
            assert self.type is not None
            self._adapter = _adapter(self.type)
        return self._adapter


def _nulls_in(plain: dict[str, Any]) -> int:
    """How often None is in a record, and in the objects that are its fields."""
    values = list(plain.values())
    nulls = values.count(None)
    for value in values:
        if type(value) is dict:
            nulls += list(cast("dict[Any, Any]", value).values()).count(None)
    return nulls


def _adapter(type_: type[Any]) -> Any:
    from pydantic import TypeAdapter

    adapter: Any = TypeAdapter(type_)
    return adapter


def _check_storable(type_: type[Any]) -> None:
    name = type_.__name__
    if not (dataclasses.is_dataclass(type_) or hasattr(type_, "__pydantic_core_schema__")):
        raise ConfigurationError(f"{name} can't be stored: use a pydantic model, a dataclass, or plain dicts and lists")
