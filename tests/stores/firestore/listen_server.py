"""A server that knows the Listen method only, and answers it as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Self

import grpc

from eventstate.stores.firestore.rpc import ListenRequest, ListenResponse

Script = Callable[["Conversation"], None]


class Conversation:
    """One call, from the server's side."""

    def __init__(self, requests: Iterator[bytes], context: Any) -> None:
        self.context = context
        self.requests: SimpleQueue[Any] = SimpleQueue()
        self.answers: SimpleQueue[bytes | None] = SimpleQueue()
        self._incoming = requests
        threading.Thread(target=self._receive, daemon=True).start()

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.context.invocation_metadata())

    def added(self) -> int:
        """The number of the next target that the client adds."""
        while True:
            request = self.requests.get(timeout=10)
            if request.HasField("add_target"):
                return request.add_target.target_id

    def say(self, **response: Any) -> None:
        self.answers.put(ListenResponse(**response).SerializeToString())

    def current(self, *targets: int) -> None:
        self.say(target_change={"target_change_type": "CURRENT", "target_ids": targets})

    def refuse(self, target: int, message: str) -> None:
        cause = {"code": 7, "message": message}
        self.say(target_change={"target_change_type": "REMOVE", "target_ids": [target], "cause": cause})

    def changed(self, *targets: int) -> None:
        self.say(document_change={"target_ids": targets})

    def follow(self) -> None:
        """Answer whatever is added, until the client ends the call."""
        while self.context.is_active():
            try:
                request = self.requests.get(timeout=0.05)
            except Empty:
                continue
            if request.HasField("add_target"):
                self.current(request.add_target.target_id)

    def _receive(self) -> None:
        try:
            for request in self._incoming:
                self.requests.put(ListenRequest.FromString(request))
        except grpc.RpcError:
            pass


class ListenServer(grpc.GenericRpcHandler):
    """Plays one script for each call, in order, and the last one again for all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.calls = 0
        self._server: Any = grpc.server(ThreadPoolExecutor(16))
        self._server.add_generic_rpc_handlers((self,))
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait(5)

    def service(self, handler_call_details: Any) -> Any:
        if not handler_call_details.method.endswith("/Listen"):
            return None
        return grpc.stream_stream_rpc_method_handler(self._listen)

    def _listen(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        script = self._scripts[min(self.calls, len(self._scripts) - 1)]
        self.calls += 1
        conversation = Conversation(requests, context)

        def play() -> None:
            try:
                script(conversation)
            finally:
                conversation.answers.put(None)

        threading.Thread(target=play, daemon=True).start()
        while (answer := conversation.answers.get()) is not None:
            yield answer


def denied(conversation: Conversation) -> None:
    conversation.context.set_code(grpc.StatusCode.PERMISSION_DENIED)
    conversation.context.set_details("no right to listen")
