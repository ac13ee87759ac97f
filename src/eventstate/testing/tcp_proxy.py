"""A TCP proxy that cuts connections at a chosen moment: what a crash or a broken network looks like to a client."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Final, Self

_CHUNK: Final = 65536
_CONNECT_SECONDS: Final = 5.0


class TcpProxy:
    """Listens on a free loopback port and forwards bytes to ``target`` (``host:port``).

    Attributes:
        connections: connections accepted so far.
        cuts: connections that were cut.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._needle: bytes | None = None
        self._delay = 0.0
        self._forward = True
        self._is_refusing = False
        self.connections = 0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="tcp-proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        """``host:port`` to connect to."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_after(self, needle: bytes, *, delay: float = 0.0, forward: bool = True) -> None:
        """Cut the next connection that sends ``needle`` in one piece, ``delay`` seconds later. No answer passes then.

        With ``forward`` the piece still reaches the server, without it does not.
        """
        with self._lock:
            self._needle, self._delay, self._forward = needle, delay, forward

    def cut_now(self) -> None:
        """Cut every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._cut(pair)

    def refuse(self, refusing: bool = True) -> None:
        """From now on drop each new connection at once, or with False serve them again."""
        self._is_refusing = refusing

    def close(self) -> None:
        """Stop listening and cut what is connected."""
        # A listener that another thread waits on must be shut down: closing alone would leave that thread asleep.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_now()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            if self._is_refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, _CONNECT_SECONDS)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
            for pump in (self._to_server, self._to_client):
                threading.Thread(target=pump, args=(pair,), name="tcp-proxy", daemon=True).start()

    def _to_server(self, pair: _Pair) -> None:
        while data := pair.receive(pair.client):
            armed = self._take(data)
            if armed is None:
                pair.send(pair.server, data)
                continue
            pair.is_mute = True
            delay, forward = armed
            if forward:
                pair.send(pair.server, data)
            threading.Event().wait(delay)
            break
        self._cut(pair)

    def _to_client(self, pair: _Pair) -> None:
        while data := pair.receive(pair.server):
            if not pair.is_mute:
                pair.send(pair.client, data)
        if not pair.is_mute:
            self._cut(pair)

    def _take(self, data: bytes) -> tuple[float, bool] | None:
        with self._lock:
            if self._needle is None or self._needle not in data:
                return None
            self._needle = None
            return self._delay, self._forward

    def _cut(self, pair: _Pair) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
            self.cuts += 1
        pair.close()


class _Pair:
    """The two sockets of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_mute = False

    @staticmethod
    def receive(source: socket.socket) -> bytes:
        try:
            return source.recv(_CHUNK)
        except OSError:
            return b""

    @staticmethod
    def send(sink: socket.socket, data: bytes) -> None:
        try:
            sink.sendall(data)
        except OSError:
            pass  # the other side is gone; its pump ends the connection

    def close(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        for side in (self.client, self.server):
            try:
                side.shutdown(socket.SHUT_RDWR)  # wakes the pump that reads from it
            except OSError:
                pass
            side.close()
