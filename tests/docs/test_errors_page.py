"""The page of errors names every error as it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from eventstate import errors
from eventstate.core.retrying import FATES, Fate

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
NO_FIELDS = "-"


def rows() -> dict[str, list[str]]:
    """Class name -> the other cells of its row."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and re.fullmatch(r"`\w+Error`", cells[0]):
            name = cells[0].strip("`")
            assert name not in found, f"{name} has two rows"
            found[name] = cells[1:]
    return found


def fields_of(error: type[errors.EventStateError]) -> str:
    """What an instance carries besides its message, as the page writes it."""
    own = [cls for cls in error.__mro__ if "__init__" in vars(cls) and cls.__module__ == errors.__name__]
    sources = "".join(inspect.getsource(cls.__init__) for cls in own)
    names = dict.fromkeys(re.findall(r"self\.(\w+) = ", sources))
    return ", ".join(f"`{name}`" for name in names) or NO_FIELDS


def test_every_error_has_a_row() -> None:
    assert list(rows()) == [name for name in _in_order_of_source() if name in errors.__all__]


def test_rows_say_what_is_true() -> None:
    expected = {}
    for name, cells in rows().items():
        error = getattr(errors, name)
        transient = f"yes, {error.suggested_backoff:g} s" if error.is_transient else "no"
        expected[name] = [error.__base__.__name__, *cells[1:3], transient, fields_of(error)]
    shown = {name: [cells[0].strip("`"), *cells[1:]] for name, cells in rows().items()}
    assert shown == expected


def _in_order_of_source() -> list[str]:
    return re.findall(r"^class (\w+)\(", inspect.getsource(errors), re.MULTILINE)


def test_the_table_of_fates_is_that_of_the_code() -> None:
    shown: dict[str, set[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] in {fate.value for fate in Fate}:
            shown[cells[0]] = set(re.findall(r"`(\w+)`", cells[2]))
    expected: dict[str, set[str]] = {fate.value: set() for fate in Fate}
    for error, fate in FATES.items():
        expected[fate.value].add(error.__name__)
    assert shown == expected
