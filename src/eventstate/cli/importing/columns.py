"""From a file's columns to events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from eventstate.cli.importing.files import EventFile, Record
from eventstate.cli.records import parse_instant
from eventstate.core.ids import machine_of
from eventstate.core.metadata import NO_METADATA, ChangeMetadata
from eventstate.errors import ConfigurationError, InvalidInputError
from eventstate.machines.importing import Row, make_row

ACTION = "action"
"""Where a recorded state keeps its action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns say what; all others are the state, together with the action."""

    state_id: str
    action: str
    time: str | None = None
    changed_by: str | None = None

    def __post_init__(self) -> None:
        named = list(self.options.values())
        if len(set(named)) != len(named):
            raise ConfigurationError("two of --state-id, --action, --time and --changed-by name the same column")

    @property
    def options(self) -> dict[str, str | None]:
        """Those that are given, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in given.items() if column is not None}

    def state(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The state that a row records."""
        named = (self.state_id, self.action, self.time, self.changed_by)
        return {ACTION: values[self.action], **{name: value for name, value in values.items() if name not in named}}


def rows(file: EventFile, columns: Columns, *, skip: int = 0, protected: Collection[str] = ()) -> Iterator[Row]:
    """The rows of a file as events, all but the first ``skip``; none may be of a machine named by ``protected``.

    Raises:
        InvalidInputError: a row that can't be imported; the message names file, line and column.
    """
    named = file.columns()
    if named is not None:  # also of a file without a row
        try:
            _check_columns(named, columns)
        except InvalidInputError as error:
            raise InvalidInputError(f"{file.path}, line 1: {error}") from None
    for index, record in enumerate(file.records()):
        if index < skip:
            continue
        try:
            row = row_of(record, columns)
            _check_plain(row, protected)
            yield row
        except InvalidInputError as error:
            raise InvalidInputError(f"{file.path}, line {record.line}: {error}") from None


def _check_plain(row: Row, protected: Collection[str]) -> None:
    name = machine_of(row.state_id)
    if name in protected:
        raise InvalidInputError(
            f"machine {name!r} declares subjects, and rows are stored as they are: nobody could erase them again;"
            " append its events from Python, with a keyring"
        )


def row_of(record: Record, columns: Columns) -> Row:
    """One row as an event.

    Raises:
        InvalidInputError: a column is missing or can't be used.
    """
    values = record.values
    _check_columns(values, columns)
    state_id = _text(values, columns.state_id)
    action = _text(values, columns.action)
    return make_row(state_id, action, columns.state({**values, columns.action: action}), _metadata(values, columns))


def _check_columns(named: Collection[str], columns: Columns) -> None:
    for option, column in columns.options.items():
        if column not in named:
            known = ", ".join(map(repr, named))
            raise InvalidInputError(f"no column {column!r} for --{option.replace('_', '-')}; there are {known}")
    if columns.action != ACTION and ACTION in named and ACTION not in columns.options.values():
        raise InvalidInputError(
            f"column {ACTION!r} would hide the action, which the state keeps under this name; rename it"
        )


def _metadata(values: Mapping[str, Any], columns: Columns) -> ChangeMetadata:
    if columns.time is None and columns.changed_by is None:
        return NO_METADATA
    occurred_at = _instant(values, columns.time) if columns.time is not None else None
    changed_by = None
    if columns.changed_by is not None and values[columns.changed_by] not in ("", None):
        changed_by = _text(values, columns.changed_by)
    return ChangeMetadata(changed_by=changed_by, occurred_at=occurred_at)


def _instant(values: Mapping[str, Any], column: str) -> datetime:
    text = _text(values, column)
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InvalidInputError(f"column {column!r}: {error}") from None


def _text(values: Mapping[str, Any], column: str) -> str:
    value = values[column]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"column {column!r} holds {type(value).__name__}, not text")
    if not value:
        raise InvalidInputError(f"column {column!r} is empty")
    return value
