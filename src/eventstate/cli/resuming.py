"""A file that says how far a long check has come, so that one that was stopped goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from eventstate.errors import InvalidInputError
from eventstate.stores.own_files import refuse_own

Report = TypeVar("Report")


class ResumeFile(Generic[Report]):
    """Keeps the report of a check that is under way, readable by its owner only: it shows parts of states.

    Args:
        path: the file; it is there while the check is under way.
        what: the kind of check, in words.
        subject: what is checked, as JSON data: only a check of the same goes on from here.
        restore: makes a report of what it was stored as.

    All methods raise InvalidInputError where the file can't be used.
    """

    def __init__(self, path: Path, what: str, subject: Any, restore: Callable[[dict[str, Any]], Report]) -> None:
        self._path = path
        self._what = what
        self._form = f"{what} 1"
        self._subject = subject
        self._restore = restore

    def read(self) -> Report | None:
        """The report to go on from; None where there is no file."""
        refuse_own(self._path)
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInputError(f"{self._path} can't be read: {error.strerror}") from None
        try:
            found: Any = orjson.loads(content)
            if found["eventstate"] != self._form:
                raise ValueError(f"its form is {found['eventstate']!r}, not {self._form!r}")
            subject, report = found["of"], self._restore(found["report"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{self._path} is no {self._what} to go on with: {error}") from None
        if subject != self._subject:
            raise InvalidInputError(f"{self._path} is of another {self._what}, of {subject}; take another file")
        return report

    def write(self, report: Report) -> None:
        """Replace the report as a whole, so that a kill leaves the one before it."""
        content = orjson.dumps({"eventstate": self._form, "of": self._subject, "report": report}, default=list)
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            part.touch(mode=0o600)
            part.write_bytes(content)
            part.replace(self._path)
        except OSError as error:
            raise InvalidInputError(f"{self._path} can't be written: {error.strerror}") from None

    def remove(self) -> None:
        """Forget it: a check that has come to its end begins anew when it is run again."""
        self._path.unlink(missing_ok=True)
