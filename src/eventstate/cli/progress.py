"""A file that says how far a verification has come, so that it can be gone on with after a kill."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from eventstate.errors import InvalidInputError
from eventstate.stores.own_files import refuse_own

if TYPE_CHECKING:
    from eventstate.log.verify import ConsistencyReport

FORM: Final = "verification 1"


class ProgressFile:
    """Keeps the report of a verification that is under way.

    Args:
        path: the file; it is there while the verification is under way.
        subject: what is verified: only a run over the same may go on from here.
    """

    def __init__(self, path: Path, subject: dict[str, Any]) -> None:
        self._path = path
        self._subject = subject

    def read(self) -> ConsistencyReport | None:
        """The report to go on from; None where there is no file.

        Raises:
            InvalidInputError: the file is another one, or of a run over something else.
        """
        from eventstate.log.verify import ConsistencyReport, Finding

        refuse_own(self._path)
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInputError(f"{self._path} can't be read: {error.strerror}") from None
        try:
            found: Any = orjson.loads(content)
            if found["eventstate"] != FORM:
                raise ValueError(f"its form is {found['eventstate']!r}, not {FORM!r}")
            report = ConsistencyReport(**found["report"])
            report.findings = [Finding(**finding) for finding in found["report"]["findings"]]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{self._path} is no verification to go on with: {error}") from None
        if found["of"] != self._subject:
            raise InvalidInputError(f"{self._path} is of a verification of {found['of']}; take another file")
        return report

    def write(self, report: ConsistencyReport) -> None:
        """Keep a report.

        Raises:
            InvalidInputError: it can't be written there.
        """
        content = orjson.dumps({"eventstate": FORM, "of": self._subject, "report": asdict(report)})
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            part.write_bytes(content)
            part.replace(self._path)
        except OSError as error:
            raise InvalidInputError(f"{self._path} can't be written: {error.strerror}") from None

    def remove(self) -> None:
        """Forget it: the verification has come to its end."""
        self._path.unlink(missing_ok=True)
