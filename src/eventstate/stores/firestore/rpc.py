"""The one place that knows gRPC and Google's client library: message classes, channels and calls.

Calls are raw stubs on a channel of the client library: its credentials and TLS, none of its retries, which
repeat commits whose answer was lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import quote

import grpc
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore.transports import (
    FirestoreGrpcAsyncIOTransport,
    FirestoreGrpcTransport,
)
from grpc import aio
from grpc.experimental import ChannelOptions  # pyright: ignore[reportMissingTypeStubs]

from eventstate.errors import StorePermissionError
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.firestore.errors import RpcError

Message: TypeAlias = Any
"""A protobuf message: its classes are made at run time and have no static types."""


def _message(proxy: Any) -> Any:
    return proxy.meta.pb  # the protobuf class below the client library's slow wrapper


BatchGetRequest = _message(types.BatchGetDocumentsRequest)
BatchGetResponse = _message(types.BatchGetDocumentsResponse)
CommitRequest = _message(types.CommitRequest)
CommitResponse = _message(types.CommitResponse)
Cursor = _message(types.Cursor)
Document = _message(types.Document)
DocumentMask = _message(types.DocumentMask)
FieldTransform = _message(types.DocumentTransform).FieldTransform
ListenRequest = _message(types.ListenRequest)
ListenResponse = _message(types.ListenResponse)
ListRequest = _message(types.ListDocumentsRequest)
ListResponse = _message(types.ListDocumentsResponse)
Precondition = _message(types.Precondition)
RunQueryRequest = _message(types.RunQueryRequest)
RunQueryResponse = _message(types.RunQueryResponse)
StructuredQuery = _message(types.StructuredQuery)
Value = _message(types.Value)
Write = _message(types.Write)

SERVICE: Final = "google.firestore.v1.Firestore"
HOST: Final = "firestore.googleapis.com"

_UNARY: Final[dict[str, Any]] = {"Commit": CommitResponse, "ListDocuments": ListResponse}
_STREAMS: Final[dict[str, Any]] = {"BatchGetDocuments": BatchGetResponse, "RunQuery": RunQueryResponse}
METHODS: Final = (*_UNARY, *_STREAMS)
LISTEN: Final = "Listen"

_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Back within a second or two once the service is; the defaults wait up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1500),
    # How long one attempt to connect may take, TLS included.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # One copy of a request, ever: neither transparent retries nor a retry policy fetched by DNS.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
]
_SERVICE_OPTIONS: Final = [*_OPTIONS, ("grpc.keepalive_time_ms", 30_000)]
_EMULATOR_OPTIONS: Final = [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
_BLOCKING_OPTION: Final = (ChannelOptions.SingleThreadedUnaryStream, 1)
"""A stream is read by the thread that asks: a quarter faster, and no thread per call."""

_OPEN = cast("Callable[..., Any]", FirestoreGrpcTransport.create_channel)  # pyright: ignore[reportUnknownMemberType]
_OPEN_ASYNC = cast("Callable[..., Any]", FirestoreGrpcAsyncIOTransport.create_channel)  # pyright: ignore[reportUnknownMemberType]
_EOF = cast("object", aio.EOF)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_REASON_SECONDS: Final = 0.2


class Target(NamedTuple):
    """Where the calls go.

    Attributes:
        database: resource name, sent with each call for routing.
        emulator: ``host:port`` of an emulator, or None for the service.
        credentials: the Google credentials object; None for the environment's own.
        store: the store's URL, for messages.
    """

    database: str
    emulator: str | None
    credentials: object
    store: str

    @property
    def host(self) -> str:
        return self.emulator or HOST

    def metadata(self, method: str) -> tuple[tuple[str, str], ...]:
        """Routing headers, as the client library sends them, as far as they are the same for every request."""
        database = (("google-cloud-resource-prefix", self.database),)
        credentials = (("authorization", "Bearer owner"),) if self.emulator else ()
        if method == LISTEN:  # its stream could be about anything: no parameters
            return (*database, *credentials)
        parent = quote(f"{self.database}/documents")
        params = {
            "RunQuery": f"parent={parent}",
            "ListDocuments": f"parent={parent}",
        }.get(method, f"database={quote(self.database)}")
        return (*database, ("x-goog-request-params", params), *credentials)


class Rpc(ABC):
    """Calls with a deadline each; every call is one attempt.

    A request is handed to gRPC only while the channel is connected. So a call that never found a connection
    certainly sent nothing, and says so.

    Raises:
        RpcError: any status but OK.
    """

    def __init__(self, target: Target, runtime: Runtime) -> None:
        self._target = target
        self._runtime = runtime
        self.counts: Counter[str] = Counter()

    async def unary(self, method: str, request: bytes, timeout: float) -> Message:
        """The answer to one request, within ``timeout`` seconds."""
        left = await self._connected(timeout)
        self.counts[method] += 1
        return await self._unary(method, request, left)

    async def stream(self, method: str, request: bytes, timeout: float, take: Callable[[Message], bool]) -> None:
        """Hand each answer to ``take``, within ``timeout`` seconds in all, until it returns False or they end."""
        left = await self._connected(timeout)
        self.counts[method] += 1
        await self._stream(method, request, left, take)

    @abstractmethod
    def _is_connected(self) -> bool:
        """Whether the channel is up; if it is not, have it connect."""

    @abstractmethod
    async def _unary(self, method: str, request: bytes, timeout: float) -> Message: ...

    @abstractmethod
    async def _stream(self, method: str, request: bytes, timeout: float, take: Callable[[Message], bool]) -> None: ...

    @abstractmethod
    async def close(self) -> None:
        """Release the channel; calls still in flight end as cancelled."""

    async def _connected(self, timeout: float) -> float:
        """Wait for the channel; the seconds that are left then."""
        if self._is_connected():
            return timeout
        clock = self._runtime.monotonic
        deadline = clock() + timeout
        pause = _FIRST_PAUSE
        while not self._is_connected():
            left = deadline - clock()
            if left <= 0:
                raise RpcError("UNAVAILABLE", await self._why_not(), unsent=True)
            await self._runtime.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return max(deadline - clock(), _FIRST_PAUSE)

    async def _why_not(self) -> str:
        """What gRPC says about the missing connection, asked with a read of nothing."""
        try:
            await self._stream("BatchGetDocuments", b"", _REASON_SECONDS, lambda _: False)
        except RpcError as error:
            if error.code == "UNAVAILABLE":
                return f"no connection to {self._target.host}: {error.details}"
        return f"no connection to {self._target.host}"


class BlockingRpc(Rpc):
    """Blocks the calling thread; safe to use from many."""

    def __init__(self, target: Target, runtime: Runtime) -> None:
        super().__init__(target, runtime)
        self._channel = channel = open_blocking_channel(target, _BLOCKING_OPTION)
        self._metadata = {method: target.metadata(method) for method in METHODS}
        self._stubs = _stubs(channel)

    def _is_connected(self) -> bool:
        # The public way, `subscribe`, costs a thread that wakes five times a second.
        return bool(self._channel._channel.check_connectivity_state(True) == grpc.ChannelConnectivity.READY.value[0])

    async def _unary(self, method: str, request: bytes, timeout: float) -> Message:
        try:
            return self._stubs[method](request, timeout=timeout, metadata=self._metadata[method])
        except grpc.RpcError as error:
            raise failure(error) from None

    async def _stream(self, method: str, request: bytes, timeout: float, take: Callable[[Message], bool]) -> None:
        call = self._stubs[method](request, timeout=timeout, metadata=self._metadata[method])
        try:
            for response in call:
                if not take(response):
                    return
        except grpc.RpcError as error:
            raise failure(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        self._channel.close()


class AsyncRpc(Rpc):
    """Waits on the loop that is running when it is made."""

    def __init__(self, target: Target, runtime: Runtime) -> None:
        super().__init__(target, runtime)
        if target.emulator:
            channel: Any = aio.insecure_channel(target.emulator, options=_EMULATOR_OPTIONS)
        else:
            channel = _authenticated(_OPEN_ASYNC, target, _SERVICE_OPTIONS)
        self._channel = channel
        self._metadata = {method: aio.Metadata(*target.metadata(method)) for method in METHODS}
        self._stubs = _stubs(channel)

    def _is_connected(self) -> bool:
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def _unary(self, method: str, request: bytes, timeout: float) -> Message:
        try:
            return await self._stubs[method](request, timeout=timeout, metadata=self._metadata[method])
        except grpc.RpcError as error:
            raise failure(error) from None

    async def _stream(self, method: str, request: bytes, timeout: float, take: Callable[[Message], bool]) -> None:
        call = self._stubs[method](request, timeout=timeout, metadata=self._metadata[method])
        try:
            while (response := await call.read()) is not _EOF:
                if not take(response):
                    return
        except grpc.RpcError as error:
            raise failure(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()


def open_rpc(target: Target, runtime: Runtime) -> Rpc:
    """The calls for this runtime's world. For asyncio: inside the running loop.

    Raises:
        StorePermissionError: no usable credentials.
    """
    return BlockingRpc(target, runtime) if isinstance(runtime, BlockingRuntime) else AsyncRpc(target, runtime)


def open_blocking_channel(target: Target, *options: tuple[str, Any]) -> Any:
    """A channel for blocking calls, with options beyond those that all channels here have.

    Raises:
        StorePermissionError: no usable credentials.
    """
    if target.emulator:
        return grpc.insecure_channel(target.emulator, options=[*_EMULATOR_OPTIONS, *options])
    return _authenticated(_OPEN, target, [*_SERVICE_OPTIONS, *options])


def _authenticated(create: Callable[..., Any], target: Target, options: list[tuple[str, Any]]) -> Any:
    try:
        return create(host=target.host, credentials=target.credentials, options=options)
    except GoogleAuthError as error:
        raise StorePermissionError(store=target.store, detail=str(error)) from None


def _stubs(channel: Any) -> dict[str, Any]:
    """Requests go in as bytes: their size is known before they are sent."""
    unary = {
        method: channel.unary_unary(f"/{SERVICE}/{method}", response_deserializer=response.FromString)
        for method, response in _UNARY.items()
    }
    streams = {
        method: channel.unary_stream(f"/{SERVICE}/{method}", response_deserializer=response.FromString)
        for method, response in _STREAMS.items()
    }
    return unary | streams


def failure(error: Any) -> RpcError:
    return RpcError(error.code().name, error.details() or "")
