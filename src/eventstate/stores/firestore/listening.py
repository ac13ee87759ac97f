"""Google's Listen stream: one call that carries many targets, each of them one document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

import grpc

from eventstate.stores.firestore.rpc import (
    LISTEN,
    SERVICE,
    ListenRequest,
    ListenResponse,
    Message,
    Target,
    failure,
    open_blocking_channel,
)

_OWN_CONNECTION: Final = ("grpc.use_local_subchannel_pool", 1)
"""Else channels of one process share connections: a stuck one would be taken again."""


class Answer(NamedTuple):
    """What one message says.

    Attributes:
        targets: the numbers of those it is about; empty for all.
        is_news: a document may have changed.
        is_current: all that was committed before the target was added has been told.
        refusal: why the server gave the target up; empty where it did not.
    """

    targets: frozenset[int]
    is_news: bool = False
    is_current: bool = False
    refusal: str = ""


class ListenStream:
    """One call on a connection of its own. It is opened here and never again: for another, make another.

    Raises:
        StorePermissionError: no usable credentials.
    """

    def __init__(self, target: Target, counts: Counter[str]) -> None:
        self._database = target.database
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._channel = open_blocking_channel(target, _OWN_CONNECTION)
        stub: Any = self._channel.stream_stream(f"/{SERVICE}/{LISTEN}", response_deserializer=ListenResponse.FromString)
        counts[LISTEN] += 1
        # gRPC takes the requests from a thread of its own, which ends with them.
        self._call: Any = stub(iter(self._requests.get, None), metadata=target.metadata(LISTEN))

    def add(self, number: int, name: str) -> None:
        """Listen to a document as well. Numbers are above 0, and none is used twice."""
        self._send(add_target={"documents": {"documents": [name]}, "target_id": number})

    def remove(self, number: int) -> None:
        self._send(remove_target=number)

    def answers(self) -> Iterator[Answer]:
        """What the server says, as it says it, until the stream ends.

        Raises:
            RpcError: it did not end well.
        """
        try:
            for message in self._call:
                yield _answer(message)
        except grpc.RpcError as error:
            raise failure(error) from None

    def close(self) -> None:
        """End the call and whoever reads its answers. From any thread; closing twice is fine."""
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()

    def _send(self, **request: Any) -> None:
        self._requests.put(ListenRequest(database=self._database, **request).SerializeToString())


def _answer(message: Message) -> Answer:
    kind = message.WhichOneof("response_type")
    if kind == "target_change":
        return _target_change(message.target_change)
    if kind == "filter":  # how many documents the server sees: it may differ from what was told
        return Answer(frozenset((message.filter.target_id,)), is_news=True)
    if kind == "document_change":
        change = message.document_change
        return Answer(frozenset((*change.target_ids, *change.removed_target_ids)), is_news=True)
    if kind == "document_delete" or kind == "document_remove":
        return Answer(frozenset(getattr(message, kind).removed_target_ids), is_news=True)
    return Answer(frozenset())


def _target_change(change: Message) -> Answer:
    targets = frozenset(change.target_ids)
    kind = change.target_change_type
    if kind == change.CURRENT:
        return Answer(targets, is_news=True, is_current=True)
    if kind == change.RESET:
        return Answer(targets, is_news=True)
    if kind == change.REMOVE:
        cause = change.cause
        return Answer(targets, is_news=True, refusal=f"{cause.code}: {cause.message}" if cause.code else "no cause")
    return Answer(targets)
