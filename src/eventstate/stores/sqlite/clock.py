"""The store's clock: leases and ages are measured by it, so a changed wall clock must not move it.

It is the time since boot plus an offset that the first process of each boot writes into the file;
all processes of one boot share it. Where the system has no boot id, the wall clock serves.
"""

from __future__ import annotations

import time

import apsw

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str | None:
    """Names this boot of this machine; None where the system does not tell."""
    try:
        with open(_BOOT_ID, encoding="utf-8") as told:
            return told.read().strip() or None
    except OSError:
        return None


def since_boot() -> int:
    """Microseconds since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class StoreClock:
    """Microseconds that look like wall time when the boot's first process opened the file."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def now(self) -> int:
        return time.time_ns() // 1000 if self._offset is None else since_boot() + self._offset


def stored_offset(connection: apsw.Connection) -> int | None:
    """The offset of this boot that the file holds, if any."""
    boot = boot_id()
    return connection.execute("SELECT value FROM meta WHERE name = 'boot ' || ?", (boot,)).get if boot else None


def write_offset(connection: apsw.Connection) -> int | None:
    """Settle this boot's offset inside a write transaction: never behind what was written before."""
    boot = boot_id()
    if boot is None:
        return None
    found = stored_offset(connection)
    if found is not None:
        return found
    latest = connection.execute(
        "SELECT max((SELECT coalesce(max(written_at), 0) FROM documents),"
        " (SELECT coalesce(max(written_at), 0) FROM heads))"
    ).get
    offset = max(time.time_ns() // 1000, latest) - since_boot()
    connection.execute("DELETE FROM meta WHERE name LIKE 'boot %'")
    connection.execute("INSERT INTO meta VALUES ('boot ' || ?, ?)", (boot, offset))
    return offset
