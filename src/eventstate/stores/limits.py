"""Checks that every backend makes before it sends a batch."""

from __future__ import annotations

from collections.abc import Mapping

from eventstate.core.documents import Batch, Key, Precondition, Put, Require
from eventstate.errors import DocumentTooLargeError, InvalidInputError
from eventstate.stores.base import Capabilities


def check_batch(batch: Batch, capabilities: Capabilities) -> None:
    """Refuse what no backend could take.

    Raises:
        InvalidInputError: no operations, too many, or two on one key.
        DocumentTooLargeError: a body or the batch is above the limit.
    """
    operations = batch.operations
    if not operations:
        raise InvalidInputError("an empty batch: nothing to commit")
    if len(operations) == 2:
        repeats = operations[0].key == operations[1].key
    else:
        repeats = len({operation.key for operation in operations}) != len(operations)
    if repeats:
        raise InvalidInputError("a batch may hold one operation per key")
    if len(operations) > capabilities.max_batch_operations:
        limit = capabilities.max_batch_operations
        raise InvalidInputError(f"a batch of {len(operations)} operations; the limit is {limit}: split it")
    total = 0
    largest = capabilities.max_body_bytes
    for operation in operations:
        if isinstance(operation, Put):
            key, body, _ = operation
            total += len(body)
            if len(body) > largest:
                raise DocumentTooLargeError(what=f"the {key.kind} of {key.id!r}", size=len(body), limit=largest)
    if total > capabilities.max_batch_bytes:
        raise DocumentTooLargeError(what="the batch", size=total, limit=capabilities.max_batch_bytes)


def holds(when: Precondition, revision: str | None) -> bool:
    """Whether a precondition holds for a document at ``revision`` (None: absent)."""
    if when is Require.ANY:
        return True
    if when is Require.ABSENT:
        return revision is None
    if when is Require.EXISTS:
        return revision is not None
    return when == revision


def refused_keys(batch: Batch, revisions: Mapping[Key, str | None]) -> frozenset[Key]:
    """The keys whose preconditions do not hold."""
    return frozenset(op.key for op in batch.operations if not holds(op.when, revisions[op.key]))
