"""Who changed a state, why, and in what context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from eventstate.core.codec import encode
from eventstate.core.instants import micros_of, utc_of
from eventstate.errors import EncodingError, InvalidInputError

_SHORT = {
    "changed_by": "by",
    "reason": "why",
    "correlation_id": "corr",
    "causation_id": "cause",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMetadata:
    """Stored with every event, inside the hash chain.

    Attributes:
        changed_by: who, such as a user or a service.
        reason: why, in the caller's words.
        parent_version: the version the change was made from; the version before it unless given.
        context: further facts, plain JSON data.
        correlation_id: what this change belongs to, such as a request.
        causation_id: what directly caused it, such as a message.
        occurred_at: when it happened in the world, where that differs from when it was recorded.
    """

    changed_by: str | None = None
    reason: str | None = None
    parent_version: int | None = None
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    correlation_id: str | None = None
    causation_id: str | None = None
    occurred_at: datetime | None = None


NO_METADATA = ChangeMetadata()
NOTHING: Final[Mapping[str, Any]] = {}


def stored_metadata(
    changed_by: str | None = None,
    reason: str | None = None,
    context: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    occurred_at: datetime | None = None,
) -> Mapping[str, Any]:
    """The stored form of what a caller says of one call, as it will be read back.

    Raises:
        InvalidInputError, EncodingError: a part of the wrong type, or one that has no exact JSON form.
    """
    if correlation_id is None and causation_id is None and context is None and occurred_at is None:
        if changed_by is None and reason is None:
            return NOTHING
        plain = _by_and_why(changed_by, reason)
        if plain is not None:
            return plain
    metadata = ChangeMetadata(
        changed_by=changed_by,
        reason=reason,
        context=context or {},
        correlation_id=correlation_id,
        causation_id=causation_id,
        occurred_at=occurred_at,
    )
    return orjson.loads(encode(metadata_to_plain(metadata), "$.metadata"))


def _by_and_why(changed_by: object, reason: object) -> Mapping[str, Any] | None:
    """Most calls say no more than this. ASCII text is read back as it is; what else there is takes the long way."""
    plain: dict[str, Any] = {}
    if changed_by is not None:
        if type(changed_by) is not str or not changed_by.isascii():
            return None
        plain["by"] = changed_by
    if reason is not None:
        if type(reason) is not str or not reason.isascii():
            return None
        plain["why"] = reason
    return plain


def metadata_to_plain(metadata: ChangeMetadata) -> dict[str, Any]:
    """Its stored form: short names, only what is set.

    Raises:
        InvalidInputError: a part of the wrong type.
    """
    if metadata is NO_METADATA:
        return {}
    plain: dict[str, Any] = {}
    for name, short in _SHORT.items():
        value = getattr(metadata, name)
        if value is not None:
            if not isinstance(value, str):
                raise InvalidInputError(f"{name} must be text, not {type(value).__name__}")
            plain[short] = value
    if metadata.parent_version is not None:
        plain["parent"] = metadata.parent_version
    if metadata.context:
        if not isinstance(metadata.context, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EncodingError(path="$.context", problem="it must be a mapping")
        plain["ctx"] = dict(metadata.context)
    if metadata.occurred_at is not None:
        plain["occ"] = micros_of(metadata.occurred_at, "occurred_at")
    return plain


def metadata_from_plain(plain: Mapping[str, Any], parent_version: int) -> ChangeMetadata:
    """The metadata of a stored event; ``parent_version`` is the version before it."""
    return ChangeMetadata(
        changed_by=plain.get("by"),
        reason=plain.get("why"),
        parent_version=plain.get("parent", parent_version),
        context=plain.get("ctx", {}),
        correlation_id=plain.get("corr"),
        causation_id=plain.get("cause"),
        occurred_at=utc_of(plain["occ"]) if "occ" in plain else None,
    )
