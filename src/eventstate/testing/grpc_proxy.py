"""A gRPC server between a client and the Firestore emulator that loses, delays and replaces answers on command.

It forwards bytes and knows no message. Faults are queued per method and used up one per call; a call that finds no
fault is forwarded faithfully.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias, cast

import grpc

_STREAMING: Final = frozenset({"BatchGetDocuments", "RunQuery", "RunAggregationQuery"})
_WORKERS: Final = 32
_FORWARD_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 60.0
_unary_handler = cast("Callable[[Any], Any]", grpc.unary_unary_rpc_method_handler)
_stream_handler = cast("Callable[[Any], Any]", grpc.unary_stream_rpc_method_handler)
_NO_LIMIT: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer a status; the server never sees the request."""

    code: str
    details: str = "refused by the fault proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """Forward the request, then answer this status instead of what the server said."""

    code: str
    details: str = "answer lost by the fault proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Forward the request (or not) and never answer: the client's deadline ends the call."""

    forward: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Answer this status and keep the request: `GrpcProxy.deliver` forwards it later, as a slow network would."""

    code: str = "UNAVAILABLE"
    details: str = "request held by the fault proxy"


Fault: TypeAlias = Refuse | Lose | Silence | Hold


@dataclass(slots=True, kw_only=True)
class Held:
    """A request that is still under way.

    Attributes:
        method: its method's name.
        request: its bytes.
        outcome: what the server said once it arrived: ``OK`` or the status; None before.
    """

    method: str
    request: bytes
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    outcome: str | None = None


class GrpcProxy:
    """Listens on a free loopback port and forwards to ``target`` (``host:port``).

    Attributes:
        calls: calls received so far, by method.
        requests: the bytes of each call received, in order, with its method.
    """

    def __init__(self, target: str) -> None:
        self._backend: Any = grpc.insecure_channel(target, options=_NO_LIMIT)
        self._lock = threading.Lock()
        self._faults: dict[str, deque[Fault]] = {}
        self._held: list[Held] = []
        self._closed = threading.Event()
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, bytes]] = []
        self._server = grpc.server(ThreadPoolExecutor(_WORKERS, "grpc-proxy"), options=_NO_LIMIT)
        self._server.add_generic_rpc_handlers((_Handler(self._answer, self._answers),))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        """``host:port`` to use as the emulator's."""
        return f"127.0.0.1:{self._port}"

    @property
    def held(self) -> tuple[Held, ...]:
        """Requests kept by `Hold`, oldest first, delivered ones included."""
        with self._lock:
            return tuple(self._held)

    def inject(self, method: str, *faults: Fault) -> None:
        """Have the next calls of ``method`` (``Commit``, ``RunQuery``, ...) meet these faults, one each."""
        with self._lock:
            self._faults.setdefault(method, deque()).extend(faults)

    def deliver(self, index: int = -1) -> str:
        """Let a held request arrive now; ``OK`` or the name of the server's status."""
        held = self.held[index]
        try:
            self._forward(held.method, held.request, held.metadata)
            held.outcome = "OK"
        except grpc.RpcError as error:
            held.outcome = _status(error)[0]
        return held.outcome

    def close(self) -> None:
        """Stop answering; calls in flight end as cancelled."""
        self._closed.set()
        self._server.stop(grace=None).wait(5)
        self._backend.close()

    def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        return self._answers(method, request, context)[-1]

    def _answers(self, method: str, request: bytes, context: Any) -> list[bytes]:
        """The server's answers to one call; where there are none it ends by an exception of `_abort`."""
        metadata = tuple((key, value) for key, value in context.invocation_metadata() if not key.startswith("grpc-"))
        fault = self._next_fault(method, request)
        if isinstance(fault, Hold):
            with self._lock:
                self._held.append(Held(method=method, request=request, metadata=metadata))
        if isinstance(fault, Refuse | Hold):
            _abort(context, fault.code, fault.details)
        answers: list[bytes] = []
        try:
            if not isinstance(fault, Silence) or fault.forward:
                answers = self._forward(method, request, metadata)
        except grpc.RpcError as error:
            if fault is None:
                _abort(context, *_status(error))
        if isinstance(fault, Silence):
            self._wait_for_the_end(context)
        if isinstance(fault, Lose):
            _abort(context, fault.code, fault.details)
        return answers

    def _next_fault(self, method: str, request: bytes) -> Fault | None:
        with self._lock:
            self.calls[method] += 1
            self.requests.append((method, request))
            waiting = self._faults.get(method)
            return waiting.popleft() if waiting else None

    def _forward(self, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> list[bytes]:
        path = f"/google.firestore.v1.Firestore/{method}"
        if method in _STREAMING:
            return list(self._backend.unary_stream(path)(request, timeout=_FORWARD_SECONDS, metadata=metadata))
        return [self._backend.unary_unary(path)(request, timeout=_FORWARD_SECONDS, metadata=metadata)]

    def _wait_for_the_end(self, context: Any) -> None:
        ended = threading.Event()
        if context.add_callback(ended.set):
            for _ in range(int(_SILENCE_SECONDS / 0.05)):
                if self._closed.is_set() or ended.wait(0.05):
                    break
        _abort(context, "CANCELLED", "the call ended in silence")


class _Handler(grpc.GenericRpcHandler):
    """Every method of the service, as bytes in and bytes out."""

    def __init__(
        self, answer: Callable[[str, bytes, Any], bytes], answers: Callable[[str, bytes, Any], list[bytes]]
    ) -> None:
        self._answer = answer
        self._answers = answers

    def service(self, handler_call_details: Any) -> Any:
        method = str(handler_call_details.method).rpartition("/")[2]

        def one(request: bytes, context: Any) -> bytes:
            return self._answer(method, request, context)

        def many(request: bytes, context: Any) -> Iterator[bytes]:
            yield from self._answers(method, request, context)

        return _stream_handler(many) if method in _STREAMING else _unary_handler(one)


def _abort(context: Any, code: str, details: str) -> None:
    """Raises: that is how a gRPC handler ends a call."""
    context.abort(grpc.StatusCode[code], details)


def _status(error: Any) -> tuple[str, str]:
    return error.code().name, error.details() or ""
