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
from eventstate.stores.firestore.paths import GOVERNORS, Paths
from eventstate.stores.firestore.queries import AT, SHARD, SHARDS
from eventstate.stores.firestore.rpc import Message

BODY: Final = "body"

_REVISION: Final = re.compile(r"(\d{1,12})\.(\d{9})", re.ASCII)
_REQUEST_TIME: Final = rpc.FieldTransform.ServerValue.REQUEST_TIME
_NO_FIELDS: Final = rpc.DocumentMask()
_ABSENT: Final = rpc.Precondition(exists=False)
_EXISTS: Final = rpc.Precondition(exists=True)


def commit_request(paths: Paths, batch: Batch) -> bytes:
    """The batch as one request."""
    writes = [write for operation in batch.operations if (write := _write(paths, operation)) is not None]
    return rpc.CommitRequest(database=paths.database, writes=writes).SerializeToString()


def never_holds(batch: Batch) -> frozenset[Key]:
    """Keys whose precondition is a revision that no document of this store can ever have."""
    return frozenset(
        operation.key
        for operation in batch.operations
        if isinstance(operation.when, str) and not _REVISION.fullmatch(operation.when)
    )


def get_request(paths: Paths, names: Iterable[str]) -> bytes:
    return rpc.BatchGetRequest(database=paths.database, documents=names).SerializeToString()


def owners_request(paths: Paths, page_size: int, page_token: str) -> bytes:
    """Names only, and of governors without a document of their own too: none has one."""
    return rpc.ListRequest(
        parent=paths.documents,
        collection_id=GOVERNORS,
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


def _write(paths: Paths, operation: Operation) -> Message | None:
    name = paths.name(operation.key)
    when = _precondition(operation.when)
    if isinstance(operation, Put):
        return _put(paths, name, operation, when)
    # An empty-mask update with exists=false would create a document without fields: absence is checked by a delete.
    if isinstance(operation, Delete) or operation.when is Require.ABSENT:
        return rpc.Write(delete=name, current_document=when)
    if not sends_write(operation):
        return None
    return rpc.Write(update=rpc.Document(name=name), update_mask=_NO_FIELDS, current_document=when)


def _put(paths: Paths, name: str, put: Put, when: Message | None) -> Message:
    write = rpc.Write(update=rpc.Document(name=name, fields={BODY: _text_or_bytes(put.body)}), current_document=when)
    if put.key.kind == ENTRY:
        number = zlib.crc32(f"{put.key.owner}/{put.key.id}".encode()) % SHARDS
        write.update.fields[SHARD].string_value = f"{paths.root}:{number}"
        write.update_transforms.add(field_path=AT, set_to_server_value=_REQUEST_TIME)
    return write


def _text_or_bytes(body: bytes) -> Message:
    try:
        return rpc.Value(string_value=body)
    except UnicodeDecodeError:
        return rpc.Value(bytes_value=body)


def _precondition(when: Precondition) -> Message | None:
    if when is Require.ANY:
        return None
    if when is Require.ABSENT:
        return _ABSENT
    if when is Require.EXISTS:
        return _EXISTS
    found = _REVISION.fullmatch(when)
    assert found is not None, "never_holds was asked first"
    return rpc.Precondition(update_time={"seconds": int(found[1]), "nanos": int(found[2])})
