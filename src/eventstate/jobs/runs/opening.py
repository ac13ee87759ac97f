"""Which file a store of jobs is in, and opening it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from eventstate.errors import ConfigurationError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Store
from eventstate.stores.url import make_store

VARIABLES: Final = ("PIPELINE_DB_PATH", "ERROR_PIPELINE_DB")
DEFAULT_PATH: Final = "state/pipeline_state.db"


def path_of(db_path: str | os.PathLike[str] | None) -> Path:
    """The file: as given, or as an environment variable says, or the usual one.

    Raises:
        ConfigurationError: it is no path, or what other libraries take for something else than a file.
    """
    if db_path is not None:
        return _checked(db_path, "db_path")
    variable = next((name for name in VARIABLES if os.environ.get(name)), None)
    return Path(DEFAULT_PATH) if variable is None else _checked(os.environ[variable], variable)


def _checked(path: object, where: str) -> Path:
    """A path; what would quietly become a file of an odd name, while something else is meant, is refused."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigurationError(f"{where}={path!r}: pass the path of a file")
    text = os.fsdecode(cast("os.PathLike[str]", path))
    if "://" in text or text.startswith(":memory:"):
        raise ConfigurationError(f"{where}={text!r} is no file: pass store=open_store(url), such as 'memory://'")
    return Path(text)


def open_file(db_path: str | os.PathLike[str] | None, runtime: Runtime) -> Store:
    """The SQLite store of jobs, made with its folders where it is not there.

    Raises:
        ConfigurationError: it is no path of a file, or its folder can't be made.
        StoreError: it can't be opened.
    """
    path = path_of(db_path).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder of {path} can't be made: {error.strerror or error}") from error
    return make_store(f"sqlite:///{quote(str(path))}", runtime)
