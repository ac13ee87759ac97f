"""Which database a store is: settings and their URL form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from eventstate.errors import ConfigurationError
from eventstate.stores.firestore.paths import check_root

SCHEME: Final = "firestore"
DEFAULT_DATABASE: Final = "(default)"
DEFAULT_TIMEOUT: Final = 10.0

_WHOLE: Final = re.compile(r"\d{1,9}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")
LAST_EPOCH: Final = 900
_FORM: Final = "firestore://project[/database][?root=collection/document&timeout=seconds&epoch=number]"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirestoreSettings:
    """What identifies a store, and how long it waits.

    Attributes:
        project: Google Cloud project id.
        database: database id, ``(default)`` unless named.
        root: path of the document that everything lives below, an even number of segments; empty for none.
        timeout: seconds until a call that gets no answer gives up.
        epoch: 1, and one more each time the database was restored from an export; at most 900.

    Raises:
        ConfigurationError: a part that Firestore does not allow.
    """

    project: str
    database: str = DEFAULT_DATABASE
    root: str = ""
    timeout: float = DEFAULT_TIMEOUT
    epoch: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.project):
            raise ConfigurationError(f"{self.project!r} is not a Google Cloud project id; the form is {_FORM}")
        if self.database != DEFAULT_DATABASE and not _NAME.fullmatch(self.database):
            raise ConfigurationError(f"{self.database!r} is not a Firestore database id; the form is {_FORM}")
        if not 0 < self.timeout <= 3600:
            raise ConfigurationError(f"timeout={self.timeout} must be between 0 and 3,600 seconds")
        if not 1 <= self.epoch <= LAST_EPOCH:
            raise ConfigurationError(f"epoch={self.epoch} must be a whole number from 1 to {LAST_EPOCH}")
        check_root(self.root)

    @property
    def url(self) -> str:
        """The shortest URL that names the same store."""
        database = "" if self.database == DEFAULT_DATABASE else f"/{self.database}"
        root = f"?root={quote(self.root)}" if self.root else ""
        return f"{SCHEME}://{self.project}{database}{root}"


def parse_url(url: str) -> FirestoreSettings:
    """The settings in a ``firestore://project[/database][?root=a/b&timeout=5&epoch=2]`` URL.

    Raises:
        ConfigurationError: another form, an unknown or repeated option, or a part that Firestore does not allow.
    """
    parts = urlsplit(url)
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != SCHEME or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(f"{url!r} is not of the form {_FORM}")
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in ("root", "timeout", "epoch") or name in options:
            raise ConfigurationError(f"{url!r}: option {name!r} is unknown or repeated; the form is {_FORM}")
        options[name] = value
    return FirestoreSettings(
        project=parts.netloc,
        database=database or DEFAULT_DATABASE,
        root=options.get("root", "").strip("/"),
        timeout=_seconds(url, options.get("timeout")),
        epoch=_epoch(url, options.get("epoch", "1")),
    )


def _seconds(url: str, text: str | None) -> float:
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{url!r}: timeout={text!r} is not a number of seconds") from None


def _epoch(url: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ConfigurationError(f"{url!r}: epoch={text!r} is not a whole number")
    return int(text)
