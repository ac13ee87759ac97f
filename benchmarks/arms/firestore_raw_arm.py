"""The raw limit on Firestore: bare gRPC stubs, raw protobuf, bodies by orjson; an entry and a head per Commit.

The writes are those of eventstate's own Commit: the entry must be absent and has the two fields of the feed, the head
must have the revision it was last given.
"""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any, Final

import grpc
import orjson
from google.cloud.firestore_v1 import types
from grpc import aio

from benchmarks.arms.firestore_place import COLLECTION, place
from benchmarks.arms.session import Shape
from benchmarks.payloads import CHANGED_BY, REASON, State

SERVICE: Final = "/google.firestore.v1.Firestore/"
SHARDS: Final = 8
TIMEOUT: Final = 10.0
Message = Any

CommitRequest: Any = types.CommitRequest.meta.pb
CommitResponse: Any = types.CommitResponse.meta.pb
BatchGetRequest: Any = types.BatchGetDocumentsRequest.meta.pb
BatchGetResponse: Any = types.BatchGetDocumentsResponse.meta.pb
RunQueryRequest: Any = types.RunQueryRequest.meta.pb
RunQueryResponse: Any = types.RunQueryResponse.meta.pb
REQUEST_TIME: Final = types.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME


class Requests:
    """The messages of one project, and the revisions that its heads were last given."""

    def __init__(self, project: str) -> None:
        self.database = f"projects/{project}/databases/(default)"
        self.root = f"{self.database}/documents/{COLLECTION}/one"
        self.metadata = (
            ("google-cloud-resource-prefix", self.database),
            ("x-goog-request-params", f"database={self.database}"),
            ("authorization", "Bearer owner"),
        )
        self._revisions: dict[str, Message] = {}

    def head(self, machine: str) -> str:
        return f"{self.root}/heads/{machine}"

    def commit(self, machine: str, before: int, value: State) -> Message:
        now = time.time_ns() // 1000
        entry = {"type": "Changed", "data": value, "changed_by": CHANGED_BY, "reason": REASON, "at": now}
        request = CommitRequest(database=self.database)
        write = request.writes.add()
        write.update.name = f"{self.root}/entries/{machine}!{before + 1:012}"
        fields = write.update.fields
        fields["body"].string_value = orjson.dumps(entry).decode()
        fields["shard"].string_value = f":{zlib.crc32(machine.encode()) % SHARDS}"
        write.current_document.exists = False
        write.update_transforms.add(field_path="at", set_to_server_value=REQUEST_TIME)
        write = request.writes.add()
        write.update.name = self.head(machine)
        write.update.fields["body"].string_value = orjson.dumps(value).decode()
        revision = self._revisions.get(machine)
        if revision is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(revision)
        return request

    def committed(self, machine: str, response: Message) -> None:
        self._revisions[machine] = response.write_results[1].update_time

    def get(self, machine: str) -> Message:
        return BatchGetRequest(database=self.database, documents=[self.head(machine)])

    def query(self) -> Message:
        request = RunQueryRequest(parent=self.root)
        request.structured_query.from_.add(collection_id="heads")
        request.structured_query.order_by.add().field.field_path = "__name__"
        return request


def n_of(document: Message) -> int:
    return orjson.loads(document.fields["body"].string_value)["n"]


def stubs(channel: Any) -> tuple[Any, Any, Any]:
    """Commit, BatchGetDocuments and RunQuery."""
    return (
        channel.unary_unary(f"{SERVICE}Commit", CommitRequest.SerializeToString, CommitResponse.FromString),
        channel.unary_stream(
            f"{SERVICE}BatchGetDocuments", BatchGetRequest.SerializeToString, BatchGetResponse.FromString
        ),
        channel.unary_stream(f"{SERVICE}RunQuery", RunQueryRequest.SerializeToString, RunQueryResponse.FromString),
    )


class RawSession:
    """Blocking stubs, called on the callers' own threads."""

    def __init__(self, path: Path) -> None:
        host, project = place(path)
        self._requests = Requests(project)
        self._channel: Any = grpc.insecure_channel(host)
        self._commit, self._get, self._query = stubs(self._channel)
        self._options = {"timeout": TIMEOUT, "metadata": self._requests.metadata}

    def append(self, machine: str, before: int, state: State) -> None:
        request = self._requests.commit(machine, before, state)
        self._requests.committed(machine, self._commit(request, **self._options))

    def rebuild(self, machine: str) -> int:
        (n,) = (n_of(response.found) for response in self._get(self._requests.get(machine), **self._options))
        return n

    def recover(self) -> tuple[int, int]:
        answers = self._query(self._requests.query(), **self._options)
        found = [n_of(answer.document) for answer in answers if answer.HasField("document")]
        return len(found), sum(found)

    def facts(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self._channel.close()


class AsyncRawSession:
    """The stubs of grpc.aio."""

    def __init__(self, path: Path) -> None:
        host, project = place(path)
        self._requests = Requests(project)
        self._channel: Any = aio.insecure_channel(host)
        self._commit, self._get, self._query = stubs(self._channel)
        self._options = {"timeout": TIMEOUT, "metadata": self._requests.metadata}

    async def append(self, machine: str, before: int, state: State) -> None:
        request = self._requests.commit(machine, before, state)
        self._requests.committed(machine, await self._commit(request, **self._options))

    async def rebuild(self, machine: str) -> int:
        (n,) = [n_of(response.found) async for response in self._get(self._requests.get(machine), **self._options)]
        return n

    async def recover(self) -> tuple[int, int]:
        answers = self._query(self._requests.query(), **self._options)
        found = [n_of(answer.document) async for answer in answers if answer.HasField("document")]
        return len(found), sum(found)

    async def facts(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        await self._channel.close()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> RawSession:
    return RawSession(path)


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncRawSession:
    return AsyncRawSession(path)
