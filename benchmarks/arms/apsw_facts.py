"""Settings of the apsw connections that a library opens for itself, read without looking into that library."""

from __future__ import annotations

import apsw

from benchmarks.arms.session import durability


class Connections:
    """Remembers every apsw connection opened in this process from now on."""

    def __init__(self) -> None:
        self._opened: list[apsw.Connection] = []
        apsw.connection_hooks.append(self._opened.append)

    def facts(self) -> dict[str, str]:
        """The durability of the writing connection that is still open; none where there is no such connection."""
        for connection in self._opened:
            try:
                if self._writes(connection):
                    return durability(
                        journal_mode=str(connection.pragma("journal_mode")),
                        synchronous=int(str(connection.pragma("synchronous"))),
                        sqlite=apsw.sqlite_lib_version(),
                    )
            except apsw.ConnectionClosedError:
                continue
        return {}

    def _writes(self, connection: apsw.Connection) -> bool:
        return not connection.readonly("main") and int(str(connection.pragma("query_only"))) == 0
