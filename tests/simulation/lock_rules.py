"""What must hold of locks after every single commit, and what their clients may believe at any moment."""

from __future__ import annotations

from collections.abc import Sequence

from eventstate.core.documents import FENCE, LEASE, LOCK, WAIT, Batch, Key, Put
from eventstate.core.leases import Lease, decode_counter, decode_lease
from eventstate.core.waits import Wait, decode_wait
from eventstate.errors import LeaseLostError
from eventstate.transactions.locks import DistributedLock
from tests.simulation.world import World

_OF_LOCKS = (LOCK, LEASE, FENCE)
HANDOVER = 100_000
"""Microseconds."""


class LockRules:
    """Looks at every commit that touches a lock or a wait.

    Attributes:
        last: the highest number given out, by resource.
        victims: the clients that were told to give way, in order.
    """

    def __init__(self, world: World, governor: str) -> None:
        self.last: dict[str, int] = {}
        self.victims: list[str] = []
        self._world = world
        self._disk = world.disk
        self._governor = governor
        self._wanted_since: dict[str, int | None] = {}
        self._told: set[Key] = set()
        self._ended: set[Key] = set()
        self._fences: dict[str, int] = {}
        self._believers: dict[str, list[DistributedLock]] = {}
        world.disk.rules.append(self._look)

    def _look(self, batch: Batch) -> None:
        for resource in {op.key.id for op in batch.operations if op.key.kind in _OF_LOCKS}:
            self._look_at_lock(resource)
        for operation in batch.operations:
            if operation.key.kind == WAIT:
                if isinstance(operation, Put):
                    self._look_at_wait(operation.key)
                else:
                    self._told.discard(operation.key)
                    self._ended.add(operation.key)

    # Locks

    def _look_at_lock(self, resource: str) -> None:
        fences = [key.n for key in self._disk.keys(FENCE, self._governor) if key.id == resource]
        assert len(fences) <= 1, f"{resource} has two fences: {fences}"
        counter = self._disk.document(Key(LOCK, self._governor, resource))
        assert counter is not None, f"{resource} has lost its counter"
        last, before = decode_counter(counter).last, self.last.get(resource, 0)
        assert last >= before, f"{resource} counts back from {before} to {last}"
        if fences and last != fences[0]:
            raise AssertionError(f"{resource} has fence {fences[0]} and counted to {last}")
        if fences and fences[0] != self._fences.get(resource):
            assert fences[0] > before, f"{resource} gives out number {fences[0]} after {before}"
        self._look_at_handover(resource, is_held=bool(fences))
        self.last[resource] = last
        self._fences[resource] = fences[0] if fences else 0
        lease = self.lease(resource)
        assert (lease.number if lease else None) == (fences[0] if fences else None), f"{resource}: {lease}, {fences}"

    def _look_at_handover(self, resource: str, *, is_held: bool) -> None:
        """Where nothing goes wrong, a lock that is given back goes to one who waits for it, and at once."""
        now = self._disk.now()
        if not is_held:
            is_wanted = any(wait.resource == resource for waits in self._waits().values() for wait in waits)
            self._wanted_since[resource] = now if is_wanted else None
        elif (since := self._wanted_since.pop(resource, None)) is not None and self._world.weather.is_fair:
            assert now - since <= HANDOVER, f"{resource} was free for {(now - since) / 1e6} s while somebody waited"

    def lease(self, resource: str) -> Lease | None:
        """The lease on disk, expired or not."""
        document = self._disk.document(Key(LEASE, self._governor, resource))
        return decode_lease(document) if document is not None else None

    def believed(self, lock: DistributedLock) -> None:
        """A client was just given a lock: nobody else may still take it for its own."""
        others = self._believers.setdefault(lock.resource, [])
        for other in others:
            assert other.is_lost, f"{other} and {lock} are both taken for held"
            assert other.fence.number < lock.fence.number, f"{lock} was given out after {other}"
        others.append(lock)

    def must_be_lost(self, error: LeaseLostError, lock: DistributedLock) -> None:
        """A client was told that its lock is lost: it must be."""
        assert error.resource == lock.resource
        assert self._disk.document(lock.fence.key) is None, f"{lock} is held, and was said to be lost"

    # Waits and victims

    def _look_at_wait(self, key: Key) -> None:
        document = self._disk.document(key)
        assert document is not None
        wait = decode_wait(document).wait
        if not wait.cycle:
            lease = self.lease(wait.resource)
            is_own = lease is not None and lease.client_id == wait.client_id and key not in self._ended
            assert not is_own or not self._world.weather.only_answers_are_lost, f"{lease} waits for its own lock"
            return
        assert wait.client_id == wait.cycle[0], f"{wait.client_id} gives way in {wait.cycle}"
        waits = self._waits()
        for client, following in zip(wait.cycle, (*wait.cycle[1:], *wait.cycle[:1]), strict=True):
            held = {lease.client_id for wait in waits.get(client, ()) if (lease := self.lease(wait.resource))}
            assert following in held, f"{wait.client_id} gives way: {client} does not wait for {following}"
            is_told = any(wait.cycle for wait in waits[client])
            assert not is_told or client == wait.client_id, f"{client} gives way already, now {wait.client_id} too"
        assert key not in self._told, f"{wait.client_id} is told twice to give way"
        self._told.add(key)
        # A copy of a wait that comes late, after its end, may be told too: nobody listens, and soon it is stale.
        if wait.client_id not in self.victims:
            self.victims.append(wait.client_id)

    def _waits(self) -> dict[str, list[Wait]]:
        found: dict[str, list[Wait]] = {}
        for key in self._disk.keys(WAIT, self._governor):
            document = self._disk.document(key)
            assert document is not None
            wait = decode_wait(document).wait
            found.setdefault(wait.client_id, []).append(wait)
        return found

    def does_not_wait(self, client_id: str) -> None:
        """A client's wait has ended: nothing may say that it goes on."""
        assert client_id not in self._waits(), f"{client_id} does not wait any more, and is said to"

    def has_nothing(self, client_id: str, resources: Sequence[str]) -> None:
        """A client was interrupted before it had its locks: it holds none, and waits for none."""
        self.does_not_wait(client_id)
        for resource in resources:
            lease = self.lease(resource)
            assert lease is None or lease.client_id != client_id, f"{client_id} was interrupted, and holds {resource}"
