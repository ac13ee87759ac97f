"""The emulator enforces no index: the file is compared with the queries that the code makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventstate.core.documents import ENTRY, HEAD, KINDS, NUMBERED, Key, Put, Require
from eventstate.stores.firestore import rpc
from eventstate.stores.firestore.messages import BODY
from eventstate.stores.firestore.paths import COLLECTIONS
from eventstate.stores.firestore.queries import AT, FEED, NAME, SCANS, SHAPES, SHARD, QueryShape
from eventstate.testing.grpc_proxy import GrpcProxy
from tests.stores.firestore.world import Client, World

FILE = Path(__file__).parents[3] / "firestore.indexes.json"


def declared() -> dict[str, list[dict[str, object]]]:
    return json.loads(FILE.read_text())


def needed_index(shape: QueryShape) -> dict[str, object] | None:
    """The composite index of a query, by Firestore's rules: equalities first, then the order; none for names alone."""
    equal = [name for name, operator in shape.filters if operator in ("EQUAL", "IN")]
    unequal = {name for name, operator in shape.filters} - set(equal)
    assert unequal <= {shape.order}, "Firestore orders by the field of an inequality first"
    fields = [*dict.fromkeys(equal), *([] if shape.order == NAME else [shape.order])]
    if not fields:
        return None
    return {
        "collectionGroup": shape.collection,
        "queryScope": "COLLECTION_GROUP" if shape.is_group else "COLLECTION",
        "fields": [{"fieldPath": name, "order": "ASCENDING"} for name in fields],
    }


def test_every_query_has_its_index_and_every_index_its_query() -> None:
    needed = [index for shape in SHAPES if (index := needed_index(shape)) is not None]
    assert declared()["indexes"] == needed


def test_no_field_costs_an_index_of_its_own() -> None:
    collections = set(COLLECTIONS.values())
    written = {(collection, BODY) for collection in collections} | {(FEED.collection, AT), (FEED.collection, SHARD)}
    overrides = declared()["fieldOverrides"]
    assert {(item["collectionGroup"], item["fieldPath"]) for item in overrides} == written
    assert len(overrides) == len(written)
    assert all(item["indexes"] == [] for item in overrides)


@pytest.mark.backend("firestore")
def test_the_queries_that_are_sent_are_the_ones_that_are_listed(
    world: World, emulator_host: str, project_id: str
) -> None:
    with GrpcProxy(emulator_host) as proxy:
        client = Client(world, world.open(proxy.host, project_id))
        for kind in KINDS:
            first = Key(kind, "g", "a", 1 if kind in NUMBERED else 0)
            client.put(first)
            client.run(client.store.scan(kind, "g"))
            client.run(client.store.scan(kind, "g", id="a"))
            client.run(client.store.scan(kind, "g", prefix="a", after=first))
        client.commit(*(Put(Key(ENTRY, "g", f"s{n}", 1), b"{}", Require.ABSENT) for n in range(3)))
        client.run(client.store.feed(0))
        client.run(client.store.feed(0, limit=1))
        sent = {shape_of(request) for method, request in proxy.requests if method == "RunQuery"}
        assert {method for method, _ in proxy.requests} == {"Commit", "RunQuery"}
    assert sent == set(SHAPES)
    assert FEED in sent
    assert SCANS[COLLECTIONS[HEAD]] in sent


def shape_of(request: bytes) -> QueryShape:
    query = rpc.RunQueryRequest.FromString(request).structured_query
    operators = rpc.StructuredQuery.FieldFilter.Operator
    [source] = query.from_
    [order] = query.order_by
    assert order.direction == rpc.StructuredQuery.Direction.ASCENDING
    filters = [item.field_filter for item in query.where.composite_filter.filters]
    return QueryShape(
        collection=source.collection_id,
        is_group=source.all_descendants,
        filters=tuple((item.field.field_path, operators.Name(item.op)) for item in filters),
        order=order.field.field_path,
    )
