"""What each error means for whoever might try again: the one table of it.

The drivers' own errors are mapped to these classes in their backends (docs/reference/errors.md has both parts).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eventstate import errors
from eventstate.errors import ConfigurationError


class Fate(enum.Enum):
    """What is known after an error, and so what may be done."""

    TRANSIENT = "transient"
    """Nothing was written; the same call may succeed later."""
    CONFLICT = "conflict"
    """Nothing was written, since others were faster; read again and decide anew."""
    PERMANENT = "permanent"
    """Nothing was written, and the same call will fail again."""
    UNKNOWN = "unknown"
    """It may be written: settle it by its token or key, never repeat it as a new one."""


FATES: Final[Mapping[type[errors.EventStateError], Fate]] = {
    errors.InvalidInputError: Fate.PERMANENT,
    errors.IllegalTransitionError: Fate.PERMANENT,
    errors.NotFoundError: Fate.PERMANENT,
    errors.VersionConflictError: Fate.CONFLICT,
    errors.TransactionConflictError: Fate.CONFLICT,
    errors.DeadlockDetectedError: Fate.CONFLICT,
    errors.IdempotencyMismatchError: Fate.PERMANENT,
    errors.HistoryConflictError: Fate.PERMANENT,
    errors.AlreadyExistsError: Fate.PERMANENT,
    errors.JobClosedError: Fate.PERMANENT,
    errors.JobFinishedError: Fate.PERMANENT,
    errors.LockTimeoutError: Fate.TRANSIENT,
    errors.LockAlreadyHeldError: Fate.PERMANENT,
    errors.LeaseLostError: Fate.PERMANENT,
    errors.NotRepeatableError: Fate.PERMANENT,
    errors.KeyringError: Fate.PERMANENT,
    errors.CommitUnknownError: Fate.UNKNOWN,
    errors.TokenExpiredError: Fate.PERMANENT,
    errors.StoreUnavailableError: Fate.TRANSIENT,
    errors.StorageFullError: Fate.PERMANENT,
    errors.StoreReadOnlyError: Fate.PERMANENT,
    errors.StorePermissionError: Fate.PERMANENT,
    errors.StoreClosedError: Fate.PERMANENT,
    errors.StoreForkedError: Fate.PERMANENT,
    errors.NotADatabaseError: Fate.PERMANENT,
    errors.FormatError: Fate.PERMANENT,
    errors.NotSupportedError: Fate.PERMANENT,
    errors.CorruptionError: Fate.PERMANENT,
    errors.SchemaError: Fate.PERMANENT,
    errors.ProgramError: Fate.PERMANENT,
}
"""An error has the fate of its nearest class here."""

RETRIED: Final = frozenset({Fate.TRANSIENT, Fate.CONFLICT})


def fate_of(error: BaseException) -> Fate:
    """The fate of an error; those that are not this library's are permanent: they are the caller's own."""
    for cls in type(error).__mro__:
        if cls in FATES:
            return FATES[cls]
    return Fate.PERMANENT


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a transaction is tried. Always bounded.

    Attributes:
        attempts: in all, the first one included.
        initial: seconds that the first pause is at most; each further one may be twice as long.
        cap: seconds that no pause exceeds.
        timeout: seconds after which no further attempt begins.
    """

    attempts: int = 5
    initial: float = 0.01
    cap: float = 1.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(f"attempts={self.attempts}: at least 1")
        if not 0 <= self.initial <= self.cap <= 3600:
            raise ConfigurationError(f"initial={self.initial}, cap={self.cap}: seconds, the first not above the second")
        if not 0 < self.timeout <= 86_400:
            raise ConfigurationError(f"timeout={self.timeout}: seconds above 0, up to a day")
