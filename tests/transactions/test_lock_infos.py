"""What a list of locks says of a lease near its end."""

from __future__ import annotations

import pytest

from eventstate import LockManager, open_store
from eventstate.runtime.blocking import drive
from eventstate.transactions.locks import Locks

TTL_MICROS = 60_000_000


@pytest.mark.parametrize(("left", "shown"), [(1_499_600, 1.5), (400, 0.001), (0, 0.001), (-1, 0.0), (-10_000, 0.0)])
def test_a_lease_is_listed_as_expired_when_it_can_be_taken_and_not_before(left: int, shown: float) -> None:
    with open_store("memory://") as store:
        LockManager(store).acquire_lock("r", "a", ttl=TTL_MICROS / 1e6)
        locks = Locks(store, "default")
        ((state,), _) = drive(locks.states_page(None))
        assert state.lease is not None
        near = state._replace(read_at=state.lease.written_at + TTL_MICROS - left)
        info = drive(locks.info(near))
    assert info.expires_in == shown
    assert info.is_expired == near.is_expired == (left < 0)
