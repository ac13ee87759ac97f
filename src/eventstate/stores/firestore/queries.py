"""The queries that this backend makes, and the indexes that they need.

Every query is built from one of `SHAPES`, so `firestore.indexes.json` can be compared with what runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from eventstate.core.documents import ENTRY
from eventstate.stores.firestore.paths import COLLECTIONS, Paths, Range
from eventstate.stores.firestore.rpc import Cursor, Message, RunQueryRequest, StructuredQuery, Value

AT: Final = "at"
SHARD: Final = "shard"
NAME: Final = "__name__"
SHARDS: Final = 8
"""Shards of the feed: its index takes about 500 entries per second and shard."""

_LAST_SECOND: Final = 253_402_300_799  # the end of the year 9999, the largest that a timestamp field holds
_MICROSECONDS: Final = 1_000_000
_MAX_LIMIT: Final = 2**31 - 1


class QueryShape(NamedTuple):
    """What decides which index a query needs.

    Attributes:
        collection: id of the collection, or of the collection group.
        is_group: whether it reads the collections of that id below every parent.
        filters: fields and operators, in this order.
        order: the field that results are ordered by, ascending.
    """

    collection: str
    is_group: bool
    filters: tuple[tuple[str, str], ...]
    order: str


FEED: Final = QueryShape(
    collection=COLLECTIONS[ENTRY],
    is_group=True,
    filters=((SHARD, "IN"), (AT, "GREATER_THAN"), (AT, "LESS_THAN_OR_EQUAL")),
    order=AT,
)
SCANS: Final = {
    collection: QueryShape(collection=collection, is_group=False, filters=(), order=NAME)
    for collection in COLLECTIONS.values()
}
SHAPES: Final = (*SCANS.values(), FEED)


def scan_query(paths: Paths, kind: str, owner: str, segments: Range, limit: int) -> bytes:
    """A request for the documents of one kind and owner, by name."""
    collection = COLLECTIONS[kind]
    parent = paths.parent(owner)

    def cursor(segment: str, *, before: bool) -> Message:
        return Cursor(values=[Value(reference_value=f"{parent}/{collection}/{segment}")], before=before)

    query = _query(SCANS[collection], (), limit)
    if segments.start:
        query.start_at.CopyFrom(cursor(segments.start, before=not segments.start_exclusive))
    if segments.end:
        query.end_at.CopyFrom(cursor(segments.end, before=segments.end_exclusive))
    return RunQueryRequest(parent=parent, structured_query=query).SerializeToString()


def feed_query(paths: Paths, shards: list[str], after: int, upto: int | None, limit: int | None) -> bytes:
    """A request for the entries of these shards, by time: later than ``after`` up to ``upto`` (None: to the end)."""
    values = (
        Value(array_value={"values": [Value(string_value=shard) for shard in shards]}),
        _timestamp(after),
        _timestamp(_LAST_SECOND * _MICROSECONDS if upto is None else upto),
    )
    return RunQueryRequest(parent=paths.top, structured_query=_query(FEED, values, limit)).SerializeToString()


def _query(shape: QueryShape, values: tuple[Message, ...], limit: int | None) -> Message:
    query = StructuredQuery(
        from_=[StructuredQuery.CollectionSelector(collection_id=shape.collection, all_descendants=shape.is_group)],
        order_by=[StructuredQuery.Order(field=_field(shape.order), direction="ASCENDING")],
        limit=None if limit is None else {"value": min(limit, _MAX_LIMIT)},
    )
    if shape.filters:
        query.where.composite_filter.op = StructuredQuery.CompositeFilter.AND
    for (name, operator), value in zip(shape.filters, values, strict=True):
        found = StructuredQuery.FieldFilter(field=_field(name), op=operator, value=value)
        query.where.composite_filter.filters.add(field_filter=found)
    return query


def _field(name: str) -> Message:
    return StructuredQuery.FieldReference(field_path=name)


def _timestamp(microseconds: int) -> Message:
    seconds, rest = divmod(min(max(microseconds, 0), _LAST_SECOND * _MICROSECONDS), _MICROSECONDS)
    return Value(timestamp_value={"seconds": seconds, "nanos": rest * 1000})
