"""Seals as files, to be kept where whoever can write to the store can't."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from eventstate.core.seals import Seal, SealedTip, seal_members, seal_of_members
from eventstate.errors import InvalidInputError
from eventstate.stores.folders import fsync_folder
from eventstate.stores.own_files import refuse_own

FORM: Final = "seal 1"
MAX_FIRST_LINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFile:
    """A seal that was exported.

    Attributes:
        path: the file.
        seal: what it says.
        is_full: whether the list of streams is in it, so that nothing in the store is needed to hold it against.
        begin: where in the file that list begins.
    """

    path: Path
    seal: Seal
    is_full: bool
    begin: int

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> SealFile:
        """Read the first line of a file; the list, if there is one, is read when it is needed.

        Raises:
            InvalidInputError: there is no such file, or it is no seal, or not as it was exported, or a store's own.
        """
        file = Path(path)
        refuse_own(file)
        try:
            with file.open("rb") as lines:
                first = lines.readline(MAX_FIRST_LINE)
        except OSError as error:
            raise InvalidInputError(f"{file} can't be read: {error.strerror}") from None
        try:
            members: Any = orjson.loads(first)
            form, governor, own, is_full = (members[name] for name in ("eventstate", "governor", "digest", "full"))
            if form != FORM or type(governor) is not str or type(is_full) is not bool:
                raise ValueError(f"its form is {form!r}, not {FORM!r}")
            sealed = seal_of_members(governor, members)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{file} is no seal that this version can read: {error}") from None
        if sealed.digest != own:
            raise InvalidInputError(f"{file} is not as it was exported: its digest does not match; use another copy")
        return cls(path=file, seal=sealed, is_full=is_full, begin=len(first))


def first_line(sealed: Seal, *, full: bool) -> bytes:
    """What a file begins with; without the list it is all of it."""
    members = {"eventstate": FORM, "governor": sealed.governor, "digest": sealed.digest, "full": full}
    return orjson.dumps({**members, **seal_members(sealed)}) + b"\n"


def lines_of(tips: Iterable[SealedTip]) -> bytes:
    """Streams, one a line."""
    return b"".join(tip.line() + b"\n" for tip in tips)


class NewFile:
    """A file that is there whole, or not at all; an older one of its name stays until then.

    Raises:
        InvalidInputError: it is the file of a store that this process has open.
    """

    def __init__(self, path: Path, unique: str) -> None:
        refuse_own(path)
        self._path = path
        self._part = path.with_name(f".{path.name}.{unique}")

    def add(self, content: bytes) -> None:
        """Write more of it.

        Raises:
            InvalidInputError: it can't be written there.
        """
        try:
            with self._part.open("ab") as file:
                file.write(content)
        except OSError as error:
            raise self._unwritable(error) from None

    def finish(self) -> None:
        """Put it in its place, safe from power loss."""
        try:
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self._path)
            fsync_folder(self._path.parent)
        except OSError as error:
            raise self._unwritable(error) from None

    def drop(self) -> None:
        """Leave nothing behind."""
        self._part.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(f"{self._path} can't be written: {error.strerror}")
