"""Dataclasses whose fields are plain JSON data: stored and read without pydantic.

A shortcut, never a second opinion: it takes values that are exactly of their declared types, where pydantic
would change nothing. Whatever else comes is left to pydantic.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_PYDANTIC: Final = ("__pydantic_config__", "__get_pydantic_core_schema__", "__pydantic_validator__", "__post_init__")


class Field(NamedTuple):
    """One field: which types its values have, None for any, and what their items are held against."""

    name: str
    types: frozenset[type] | None
    items: Callable[[Any], bool] | None


class Record:
    """How the instances of one dataclass are stored."""

    def __init__(self, type_: type[Any], fields: tuple[Field, ...]) -> None:
        self._type = type_
        self._fields = fields

    def to_plain(self, value: Any) -> dict[str, Any] | None:
        """The fields of an instance; None where pydantic has to look at it."""
        if type(value) is not self._type:
            return None
        plain: dict[str, Any] = {}
        for name, allowed, items in self._fields:
            item = getattr(value, name)
            if (allowed is not None and type(item) not in allowed) or (items is not None and not items(item)):
                return None
            plain[name] = item
        return plain

    def from_plain(self, plain: Any) -> Any | None:
        """A new instance; None where pydantic has to look at it."""
        if not isinstance(plain, dict):
            return None
        members = cast("dict[str, Any]", plain)
        if len(members) != len(self._fields):
            return None
        for name, allowed, items in self._fields:
            if name not in members:
                return None
            item = members[name]
            if (allowed is not None and type(item) not in allowed) or (items is not None and not items(item)):
                return None
        return self._type(**members)


def record_of(type_: type[Any]) -> Record | None:
    """How a dataclass is stored without pydantic; None where that could differ from what pydantic does."""
    if not _is_ordinary(type_):
        return None
    try:
        hints = typing.get_type_hints(type_, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):  # pydantic says what is wrong with them
        return None
    fields: list[Field] = []
    for declared in dataclasses.fields(type_):
        plain_default = declared.default is dataclasses.MISSING or type(declared.default) in _SCALARS
        checks = _checks(hints[declared.name])
        if not (declared.init and plain_default and not declared.metadata) or checks is None:
            return None
        fields.append(Field(declared.name, *checks))
    return Record(type_, tuple(fields))


def _is_ordinary(type_: type[Any]) -> bool:
    """Whether it is a dataclass of its own, made by its generated constructor alone."""
    parameters = type_.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.init or any(hasattr(type_, name) for name in _PYDANTIC):
        return False
    # `@dataclass` leaves a constructor alone that the class has written itself; its own come from no file.
    code = getattr(type_.__init__, "__code__", None)
    if code is None or code.co_filename != "<string>":
        return False
    # Beyond its fields a constructor takes variables for initialisation only.
    takes_fields_only = code.co_argcount + code.co_kwonlyargcount - 1 == len(dataclasses.fields(type_))
    return takes_fields_only and type_.__new__ is object.__new__


_Checks = tuple[frozenset[type] | None, Callable[[Any], bool] | None]


def _checks(hint: Any) -> _Checks | None:
    if hint is Any:
        return None, None
    if isinstance(hint, type) and hint in _SCALARS:
        return frozenset({hint}), None
    if isinstance(hint, type) and hint in (list, dict):
        return frozenset({hint}), None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return _container(list, arguments[0], lambda item: item)
    if origin is dict and arguments[0] is str:
        return _container(dict, arguments[1], dict[Any, Any].values)
    if origin is typing.Literal and _SCALARS.issuperset(map(type, arguments)):
        return frozenset(map(type, arguments)), frozenset(arguments).__contains__
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    return None


def _container(type_: type, item: Any, items_of: Callable[[Any], Any]) -> _Checks | None:
    if item is Any:
        return frozenset({type_}), None
    allowed = _checks(item)
    if allowed is None or allowed[0] is None or allowed[1] is not None or not allowed[0] <= _SCALARS:
        return None
    wanted = allowed[0]
    return frozenset({type_}), lambda value: wanted.issuperset(map(type, items_of(value)))


def _union(arguments: tuple[Any, ...]) -> _Checks | None:
    """Of scalars, or of one other type and None. Between more, pydantic chooses."""
    others = [argument for argument in arguments if argument is not type(None)]
    if all(isinstance(other, type) and other in _SCALARS for other in others):
        return frozenset(arguments), None
    types_, items = (_checks(others[0]) if len(others) == 1 else None) or (None, None)
    if types_ is None:
        return None
    optional = types_.union((type(None),))
    return optional, None if items is None else _or_none(items)


def _or_none(items: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or items(value)
