"""What a failed call to Firestore means for the caller."""

from __future__ import annotations

from typing import Final

from eventstate.errors import (
    ConfigurationError,
    EventStateError,
    InvalidInputError,
    StorePermissionError,
    StoreUnavailableError,
)

REFUSED: Final = frozenset({"ALREADY_EXISTS", "NOT_FOUND", "FAILED_PRECONDITION"})
"""A commit's answer that a precondition did not hold: nothing was written."""

_RETRIED: Final = frozenset(
    {"ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"}
)
_DENIED: Final = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})
_MISCONFIGURED: Final = frozenset({"NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"})
_INVALID: Final = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE"})
MAX_DETAILS: Final = 500


class RpcError(Exception):
    """A call ended without a result. Never leaves this package.

    Attributes:
        code: name of the gRPC status.
        details: the server's or the channel's own words.
        unsent: True where the request was certainly never handed to the network.
    """

    def __init__(self, code: str, details: str, *, unsent: bool = False) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details[:MAX_DETAILS]
        self.unsent = unsent

    def __str__(self) -> str:
        return f"{self.code}: {self.details}"


def is_retried(error: RpcError) -> bool:
    """Whether a read may find an answer when it is tried again."""
    return error.code in _RETRIED


def is_refusal(error: RpcError) -> bool:
    """Whether this answer to a commit proves that it wrote nothing."""
    return error.code in REFUSED | _DENIED | _MISCONFIGURED | _INVALID


def final_error(error: RpcError, *, store: str) -> EventStateError | None:
    """The typed error of a call that was certainly refused, or None where the status proves nothing.

    The statuses in `REFUSED` are answers to a commit: for one, look at them first.
    """
    if error.code in _DENIED:
        return StorePermissionError(store=store, detail=str(error))
    if error.code in _MISCONFIGURED:
        return ConfigurationError(
            f"{store}: no such Firestore database, or it lacks an index that firestore.indexes.json declares."
            f" Correct the project and database, or create what is missing ({error})"
        )
    if error.code in _INVALID:
        return InvalidInputError(f"{store} can't take this request ({error})")
    return None


def unavailable(error: RpcError, *, store: str, seconds: float, attempts: int) -> StoreUnavailableError:
    """The error of a call that got no answer in time."""
    tried = f"{attempts} attempt{'s' if attempts != 1 else ''} in {seconds:.1f} s"
    return StoreUnavailableError(store=store, detail=f"no answer after {tried}; last was {error}")
