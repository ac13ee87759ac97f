"""Documents, batches and revisions as Firestore's messages.

A document has one field ``body``: a string, since a body is JSON text, or bytes where it is not. An entry also has
``shard`` and ``at``, which only the feed reads. ``at`` is stamped by the server, so that writers whose clocks differ
still leave a stream's entries in order.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

from eventstate.core.documents import (
    ENTRY,
    Batch,
    Check,
    Delete,
    Document,
    Key,
    Operation,
    Precondition,
    Put,
    Require,
    Revision,
)
from eventstate.errors import CorruptionError
from eventstate.stores.firestore import rpc
from eventstate.stores.firestore.paths import Paths
from eventstate.stores.firestore.queries import AT, SHARD, SHARDS
from eventstate.stores.firestore.rpc import Message

BODY: Final = "body"

_REVISION: Final = re.compile(r"(\d{1,12})\.(\d{9})", re.ASCII)
_REQUEST_TIME: Final = rpc.FieldTransform.ServerValue.REQUEST_TIME
_NO_FIELDS: Final = rpc.DocumentMask()
_STAMP: Final = rpc.FieldTransform(field_path=AT, set_to_server_value=_REQUEST_TIME)


def commit_writes(paths: Paths, operations: Iterable[Operation]) -> bytes:
    """A write for each operation, as the part of a request that follows `commit_database`.

    Messages in their serialized form are merged by being joined, so several such parts can follow one another.
    """
    request = rpc.CommitRequest()
    for operation in operations:
        _fill(request.writes.add(), paths, operation)
    return request.SerializeToString()


def commit_database(paths: Paths) -> bytes:
    """The part of a request that says where it goes."""
    return rpc.CommitRequest(database=paths.database).SerializeToString()


def never_holds(batch: Batch) -> frozenset[Key]:
    """Keys whose precondition is a revision that no document of this store can ever have."""
    return frozenset(
        operation.key
        for operation in batch.operations
        if isinstance(operation.when, str) and not _REVISION.fullmatch(operation.when)
    )


def get_request(paths: Paths, names: Iterable[str]) -> bytes:
    return rpc.BatchGetRequest(database=paths.database, documents=names).SerializeToString()


def owners_request(paths: Paths, collection: str, page_size: int, page_token: str) -> bytes:
    """Names only, and of governors without a document of their own too: none has one."""
    return rpc.ListRequest(
        parent=paths.documents,
        collection_id=collection,
        page_size=page_size,
        page_token=page_token,
        mask=_NO_FIELDS,
        show_missing=True,
    ).SerializeToString()


def shards(root: str) -> list[str]:
    """Shards of one store. They name the root: a query over collections can't be kept below a document."""
    return [f"{root}:{number}" for number in range(SHARDS)]


def document(key: Key, message: Message) -> Document:
    """A stored document.

    Raises:
        CorruptionError: it has no body.
    """
    value = message.fields[BODY] if BODY in message.fields else rpc.Value()
    kind = value.WhichOneof("value_type")
    if kind == "string_value":
        body = value.string_value.encode()
    elif kind == "bytes_value":
        body = value.bytes_value
    else:
        raise CorruptionError(where=str(key), problem=f"its document has no text in the field {BODY!r}")
    return Document(key, body, revision(message.update_time), microseconds(message.update_time))


def revision(update_time: Message) -> Revision:
    return f"{update_time.seconds}.{update_time.nanos:09d}"


def microseconds(timestamp: Message) -> int:
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def feed_time(message: Message) -> int:
    """Position of an entry in the feed."""
    return microseconds(message.fields[AT].timestamp_value)


def sends_write(operation: Operation) -> bool:
    """Whether the request holds a write for this operation: a check of nothing needs none."""
    return not (isinstance(operation, Check) and operation.when is Require.ANY)


# Fields are set one by one: a message made from keyword arguments takes three times as long.


def _fill(write: Message, paths: Paths, operation: Operation) -> None:
    name = paths.name(operation.key)
    _require(write, operation.when)
    if isinstance(operation, Put):
        _put(write, paths, name, operation)
    # An empty-mask update with exists=false would create a document without fields: absence is checked by a delete.
    elif isinstance(operation, Delete) or operation.when is Require.ABSENT:
        write.delete = name
    else:
        write.update.name = name
        write.update_mask.CopyFrom(_NO_FIELDS)


def _put(write: Message, paths: Paths, name: str, put: Put) -> None:
    document = write.update
    document.name = name
    fields = document.fields
    try:
        fields[BODY].string_value = put.body
    except UnicodeDecodeError:
        fields[BODY].bytes_value = put.body
    if put.key.kind == ENTRY:
        number = zlib.crc32(f"{put.key.owner}/{put.key.id}".encode()) % SHARDS
        fields[SHARD].string_value = f"{paths.root}:{number}"
        write.update_transforms.append(_STAMP)


def _require(write: Message, when: Precondition) -> None:
    if when is Require.ANY:
        return
    if when is Require.ABSENT or when is Require.EXISTS:
        write.current_document.exists = when is Require.EXISTS
        return
    found = _REVISION.fullmatch(when)
    assert found is not None, "never_holds was asked first"
    time = write.current_document.update_time
    time.seconds, time.nanos = int(found[1]), int(found[2])
