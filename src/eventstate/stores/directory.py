"""An archive in a folder: one file for each blob."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    EventStateError,
    StorageFullError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from eventstate.stores.archive import check_name
from eventstate.stores.folders import fsync_folder

_PARTIAL: Final = ".partial"


class DirectoryArchive:
    """An archive in a folder of this machine. Its files and folders can be read by their owner only.

    A file is written under another name, synced, and then renamed; so what has its name is whole. Safe to use from
    many threads and processes.

    Args:
        path: the folder. It is made when something is written, inside a folder that must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._root = Path(path).absolute()
        self._durable: set[Path] = set()
        """Folders whose names are known to be on disk."""

    def __repr__(self) -> str:
        return f"DirectoryArchive({str(self._root)!r})"

    @property
    def url(self) -> str:
        """``file:///`` and the path."""
        return f"file://{self._root}"

    def put(self, name: str, body: bytes) -> None:
        """Write a blob; see `Archive.put`."""
        path = self._root / check_name(name)
        try:
            if path.exists():
                if path.read_bytes() != body:
                    raise CorruptionError(where=str(path), problem="other bytes are there under this name")
                fsync_folder(path.parent)
                return
            self._make_folder(path.parent)
            _write(path, body)
        except OSError as error:
            raise self._mapped(error) from error

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a blob, or a part of them; see `Archive.get`."""
        path = self._root / check_name(name)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
                if start < 0:
                    start = max(os.fstat(file.fileno()).st_size + start, 0)
                file.seek(start)
                return file.read() if length is None else file.read(length)
        except FileNotFoundError:
            raise CorruptionError(where=str(path), problem="the file is missing from the archive") from None
        except OSError as error:
            raise self._mapped(error) from error

    def names(self, prefix: str = "") -> Sequence[str]:
        """The names of all blobs that begin so, in order."""
        folder, _, _ = prefix.rpartition("/")
        start = self._root / check_name(folder) if folder else self._root
        found: list[str] = []
        try:
            for place, _folders, files in os.walk(start, onerror=_passed_on):
                part = Path(place).relative_to(self._root)
                found.extend((part / file).as_posix() for file in files if not file.endswith(_PARTIAL))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._mapped(error) from error
        return sorted(name for name in found if name.startswith(prefix))

    def _make_folder(self, folder: Path) -> None:
        """Have a folder, and the names of it and of those above it on disk.

        One that is there already may have been made by a process that died before it could sync: so once for each
        folder, and not more than once.
        """
        if folder in self._durable and folder.is_dir():
            return
        if folder != self._root:
            self._make_folder(folder.parent)
        is_new = not folder.is_dir()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            raise ConfigurationError(f"the folder {folder.parent} does not exist; make it first") from None
        try:
            fsync_folder(folder.parent)
        except PermissionError:  # of a folder above the archive, which may be passed through only
            if is_new:
                raise
        self._durable.add(folder)

    def _mapped(self, error: OSError) -> EventStateError:
        text = error.strerror or str(error)
        match error.errno:
            case errno.EACCES | errno.EPERM:
                return StorePermissionError(store=self.url, detail=text)
            case errno.EROFS:
                return StoreReadOnlyError(store=self.url, detail=text)
            case errno.ENOSPC | errno.EDQUOT:
                return StorageFullError(store=self.url, detail=text)
            case errno.ENOTDIR | errno.ENAMETOOLONG | errno.ELOOP | errno.EISDIR | errno.EEXIST:
                return ConfigurationError(f"{self.url} can't be an archive: {error.filename}: {text}")
            case _:
                return StoreUnavailableError(store=self.url, detail=text)


def _passed_on(error: OSError) -> None:
    raise error


def _write(path: Path, body: bytes) -> None:
    """Write a file so that its name appears only once its bytes are on disk."""
    descriptor, partial = tempfile.mkstemp(prefix=".", suffix=_PARTIAL, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 the descriptor's name is text
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108 as above
        raise
    fsync_folder(path.parent)
