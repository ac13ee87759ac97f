"""Commits made under a lock: refused once it has moved on, and told so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from eventstate.core.documents import Refused
from eventstate.core.leases import Fence
from eventstate.errors import ConfigurationError, InvalidInputError, LeaseLostError
from eventstate.stores.base import Store

if TYPE_CHECKING:
    from eventstate.transactions.locks import DistributedLock

Fences: TypeAlias = "DistributedLock | Fence | Sequence[DistributedLock | Fence] | None"
"""What callers pass as ``fence=``: a lock that they hold, the fence of one, or several."""


def fences_of(given: Fences, governor: str, epoch: int = 0) -> Sequence[Fence]:
    """The fences that a caller names, for a store of this epoch.

    Raises:
        InvalidInputError: something else.
        ConfigurationError: a lock of another governor; a commit is of one.
        LeaseLostError: it was given out before the store's data was restored from a copy, which may still hold it.
    """
    if given is None:
        return ()
    items = given if isinstance(given, list | tuple) and not isinstance(given, Fence) else [given]
    fences: list[Fence] = [cast("Fence", getattr(item, "fence", item)) for item in items]
    for fence in fences:
        if not isinstance(fence, Fence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"fence={fence!r}: pass a lock that was acquired, or its fence")
        if fence.governor != governor:
            raise ConfigurationError(f"fence= is a lock of governor {fence.governor!r}; this commit is {governor!r}'s")
        if fence.epoch < epoch:
            raise LeaseLostError(resource=fence.resource, token=fence.token)
    return list(dict.fromkeys(fences))


async def check_fences(store: Store, refused: Refused, fences: Sequence[Fence]) -> None:
    """Raise where a commit was refused because of a fence.

    Raises:
        LeaseLostError: a fence is gone.
    """
    if not fences:
        return
    gone = refused.keys
    if gone is None:  # the store can't tell which precondition failed
        keys = [fence.key for fence in fences]
        gone = set(keys) - (await store.get(keys)).documents.keys()
    for fence in fences:
        if fence.key in gone:
            raise LeaseLostError(resource=fence.resource, token=fence.token)
