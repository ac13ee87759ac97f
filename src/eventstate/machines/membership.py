"""Which parts of a shared subscription this process works on: each part is a lock, and members take equal shares."""

from __future__ import annotations

from binascii import crc32
from contextlib import suppress
from typing import Final

from eventstate.core.documents import LEASE, Document, Key
from eventstate.core.leases import LockState
from eventstate.errors import LockAlreadyHeldError, LockTimeoutError
from eventstate.log.following import Stream
from eventstate.stores.base import Store
from eventstate.transactions.locking import Locking
from eventstate.transactions.locks import DistributedLock
from eventstate.transactions.renewal import Kept

TTL_SECONDS = 10.0
"""How long the parts of a member that died stay without one."""
LOOKS_PER_TTL: Final = 5


class Membership:
    """One member of a shared subscription."""

    def __init__(self, store: Store, home: str, name: str, partitions: int, ttl: float | None = None) -> None:
        self._store = store
        self._home = home
        self._prefix = f"eventstate/subscription/{name}/"
        self._partitions = partitions
        self._ttl = TTL_SECONDS if ttl is None else ttl
        self._client = f"member-{store.runtime.unique()}"
        self._locking = Locking(store, home)
        self._presence: tuple[DistributedLock, Kept] | None = None
        self._held: dict[int, tuple[DistributedLock, Kept]] = {}
        self._due = 0.0

    def partition_of(self, stream: Stream) -> int:
        """The part that a stream belongs to, the same for every member."""
        return crc32(f"{stream[0]}/{stream[1]}".encode()) % self._partitions

    @property
    def seconds_left(self) -> float:
        """Until `look` should be called again."""
        return max(0.0, self._due - self._store.runtime.monotonic())

    def lock_of(self, partition: int) -> DistributedLock | None:
        """The lock of a part that is held; None for a part of others, or one that was lost."""
        held = self._held.get(partition)
        return None if held is None or held[0].is_lost else held[0]

    @property
    def parts(self) -> dict[int, str]:
        """The parts that are held, with the tokens of their locks: one that was lost and taken again is another."""
        return {number: lock.lock_token for number, (lock, _) in self._held.items() if not lock.is_lost}

    async def look(self) -> None:
        """Give back what is more than a fair share, and take what is free up to it."""
        self._due = self._store.runtime.monotonic() + self._ttl / LOOKS_PER_TTL
        await self._be_present()
        for number in [number for number in self._held if self.lock_of(number) is None]:
            self._drop(number)
        leases = [state for state in await self._leases() if not state.is_expired]
        members = sum("/member/" in state.resource for state in leases)
        taken = {state.resource for state in leases}
        fair = -(-self._partitions // max(members, 1))
        for number in sorted(self._held)[fair:]:
            await self._give_back(number)
        # Each begins elsewhere, so that members who come at once do not all ask for the same.
        first = crc32(self._client.encode())
        for offset in range(self._partitions):
            number = (first + offset) % self._partitions
            if len(self._held) >= fair:
                return
            if number not in self._held and self._resource(number) not in taken:
                await self._take(number)

    async def leave(self) -> None:
        """Give everything back."""
        for number in list(self._held):
            await self._give_back(number)
        if self._presence is not None:
            lock, kept = self._presence
            self._presence = None
            self._locking.renewal.drop(kept)
            await self._locking.release_all((lock,))

    def _resource(self, number: int) -> str:
        return f"{self._prefix}{number:02}"

    async def _be_present(self) -> None:
        if self._presence is None or self._presence[0].is_lost:
            if self._presence is not None:
                self._locking.renewal.drop(self._presence[1])
            lock = await self._acquire(f"{self._prefix}member/{self._client}")
            self._presence = None if lock is None else (lock, self._locking.renewal.keep(lock, lock.end))

    async def _take(self, number: int) -> None:
        lock = await self._acquire(self._resource(number))
        if lock is not None:
            self._held[number] = lock, self._locking.renewal.keep(lock, lock.end)

    async def _acquire(self, resource: str) -> DistributedLock | None:
        with suppress(LockTimeoutError, LockAlreadyHeldError):
            return await self._locking.acquire(
                resource, self._client, ttl=self._ttl, wait=0, purpose="a shared subscription", reentrant=False
            )
        return None

    def _drop(self, number: int) -> DistributedLock:
        lock, kept = self._held.pop(number)
        self._locking.renewal.drop(kept)
        return lock

    async def _give_back(self, number: int) -> None:
        await self._locking.release_all((self._drop(number),))

    async def _leases(self) -> list[LockState]:
        states: list[LockState] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(LEASE, self._home, prefix=self._prefix, after=after)
            states += [_state(document, page.read_at) for document in page.documents]
            after = page.next
            if after is None:
                return states


def _state(lease: Document, read_at: int) -> LockState:
    return LockState(resource=lease.key.id, read_at=read_at, counter=None, lease=lease)
