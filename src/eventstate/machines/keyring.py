"""The sync face of keyrings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventstate.core.documents import Key
from eventstate.errors import ConfigurationError
from eventstate.log.keyring import FRESH_SECONDS, KeyringCore, SubjectInfo
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class Keyring:
    """The keys of the subjects of one governor: one or more for each person whom events are about.

    Events of machines that declare ``subjects`` are encrypted under them. To destroy the keys of a person makes
    everything about that person unreadable, wherever a copy of it is. Safe to use from many threads.

    Args:
        store: from `open_store`; another one than that of the events, and backed up apart from it.
        governor: the namespace that owns the machines.
        fresh_seconds: how long this process goes on with keys it knows before it asks again whether one was
            erased elsewhere; 0 for each time.
    """

    def __init__(self, store: Store, *, governor: str = "default", fresh_seconds: float = FRESH_SECONDS) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncKeyring with it")
        self.core = KeyringCore(store, governor, fresh_seconds)

    @property
    def governor(self) -> str:
        """The governor it is bound to."""
        return self.core.governor

    def erase(self, subject: str, reason: str) -> SubjectInfo:
        """Destroy all keys of a subject, for good; what is left says when and why.

        Everything encrypted under them is read as `Erased` from now on, in this process at once, in others after
        their ``fresh_seconds``. The name of the subject is forgotten too. Erasing again changes nothing.

        On SQLite the bytes of a key are gone from the keyring's files once `purge` has run.

        Args:
            reason: kept in the keyring and shown with each erased event; not encrypted.

        Raises:
            SubjectNotFoundError: the keyring never had such a subject.
            InvalidInputError: no reason.
        """
        return drive(self.core.erase(subject, reason))

    def rotate(self, subject: str) -> str:
        """Give a subject a new key for what is written from now on; its id. What was written stays as it is.

        Other processes follow within their ``fresh_seconds``.

        Raises:
            SubjectNotFoundError: the keyring has no such subject.
            SubjectErasedError: it was erased.
        """
        return drive(self.core.rotate(subject))

    def info(self, subject: str) -> SubjectInfo:
        """What the keyring says of a subject; also after its erasure.

        Raises:
            SubjectNotFoundError: the keyring never had such a subject.
        """
        return drive(self.core.info(subject))

    def subjects(self) -> Iterator[SubjectInfo]:
        """All subjects, the erased ones included, in no order that means anything."""
        after: Key | None = None
        while True:
            found, after = drive(self.core.subjects(after))
            yield from found
            if after is None:
                return

    def encrypt(self, subject: str, value: Any, *, place: str) -> dict[str, Any]:
        """A value about a subject, encrypted: for documents, payloads of effects, read models of your own.

        Args:
            value: plain JSON data.
            place: where it is going to be, such as ``"letters/42"``; it can't be read anywhere else.

        Returns:
            Plain JSON data again, to be stored as it is.

        Raises:
            SubjectErasedError: the subject was erased.
            EncodingError: the value has no exact JSON form.
            ConfigurationError: the extra ``crypto`` is not installed.
        """
        return drive(self.core.encrypt(subject, value, place))

    def decrypt(self, value: Any, *, place: str) -> Any:
        """What `encrypt` was given; `Erased` if its subject was erased meanwhile.

        Raises:
            DecryptionError: it was not encrypted for this place and with these keys.
            KeyLostError: the keyring does not know its key.
        """
        return drive(self.core.decrypt(value, place))

    def purge(self) -> None:
        """Leave nothing of erased keys in the files of a SQLite keyring: neither in free pages nor in the log.

        Takes time in proportion to the keyring, and keeps others from writing to it meanwhile.

        Raises:
            StoreUnavailableError: somebody reads the file all the time; call again.
        """
        drive(self.core.purge())
