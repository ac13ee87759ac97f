"""The two lock managers are one; what their ``with`` holds is renewed, told when lost, and given back at the end."""

# ruff: noqa: PT012 - the end of a block is what is tested here, and a block is more than one statement

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from eventstate import (
    ANY,
    AsyncLockManager,
    AsyncStateMachinePersister,
    ConfigurationError,
    DeadlockDetectedError,
    Event,
    LeaseLostError,
    LockAlreadyHeldError,
    LockInfo,
    LockManager,
    LockTimeoutError,
    StateMachinePersister,
    StoreUnavailableError,
    open_async_store,
    open_store,
)
from eventstate.core.documents import Batch, CommitResult, Key, Refused
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.transactions.locks import DistributedLock

SYNC, ASYNC = LockManager, AsyncLockManager
PATIENCE = 60.0
TTL = 1.5
"""Short enough to be waited for, and long enough for a renewal to come in time on a machine that is busy."""


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}?durability=off"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def services() -> int:
    """Threads that renew locks now; those of other managers among them, which end within seconds."""
    return sum(thread.name == "eventstate-locks" for thread in threading.enumerate())


def until(happened: Callable[[], object], what: str) -> None:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < PATIENCE, what
        time.sleep(0.005)


# One and the same


def members(manager: type) -> dict[str, Any]:
    return {name: member for name, member in vars(manager).items() if not name.startswith("_") or name == "__init__"}


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default, str(p.annotation)) for p in signature.parameters.values()]


def test_both_have_the_same_members_in_the_same_order() -> None:
    assert list(members(SYNC)) == list(members(ASYNC))
    assert len(members(SYNC)) == 10


@pytest.mark.parametrize("name", members(SYNC))
def test_a_member_is_the_same_on_both(name: str) -> None:
    one, other = members(SYNC)[name], members(ASYNC)[name]
    assert parameters(one) == parameters(other)
    assert (one.__doc__ is None) == (other.__doc__ is None)
    given, awaited = (str(inspect.signature(member).return_annotation) for member in (one, other))
    for word in ("Iterator", "Generator"):
        given = given.replace(word, f"Async{word}")
    assert given == awaited


@pytest.mark.parametrize("name", [name for name in members(SYNC) if name not in ("__init__", "lock")])
def test_what_returns_at_once_is_awaited_on_the_other(name: str) -> None:
    one, other = members(SYNC)[name], members(ASYNC)[name]
    if inspect.isgeneratorfunction(one):
        assert inspect.isasyncgenfunction(other)
    else:
        assert inspect.iscoroutinefunction(other)
        assert not inspect.iscoroutinefunction(one)


def test_stores_and_managers_must_fit() -> None:
    with open_store("memory://") as opened, pytest.raises(ConfigurationError, match="use LockManager"):
        AsyncLockManager(opened)

    async def other_way() -> None:
        async with open_async_store("memory://") as opened:
            with pytest.raises(ConfigurationError, match="use AsyncLockManager"):
                LockManager(opened)

    asyncio.run(other_way())


# with, in threads


def fenced(store: Store, lock: DistributedLock) -> int:
    return StateMachinePersister(store).append("doc", Event("noted", state=1), expected=ANY, fence=lock).version


def test_it_is_renewed_while_the_block_runs(store: Store) -> None:
    """Longer than it would last."""
    manager, other = LockManager(store), LockManager(store)
    with manager.lock("r", "a", ttl=TTL) as lock:
        end, renewals = time.monotonic() + 1.5 * TTL, 0
        while time.monotonic() < end or renewals < 4:
            assert not lock.is_lost
            lock.check()
            with pytest.raises(LockTimeoutError):
                other.acquire_lock("r", "b", wait=0)
            fenced(store, lock)
            (info,) = manager.list_locks()
            assert info.lock_token == lock.lock_token
            renewals = info.renewals
            time.sleep(0.05)
    assert lock.is_lost
    with pytest.raises(LeaseLostError):
        lock.check()
    assert list(manager.list_locks()) == []
    other.acquire_lock("r", "b", wait=0)


def test_many_are_renewed_at_once(store: Store) -> None:
    manager = LockManager(store)
    lost: list[str] = []
    before = services()

    def hold(name: str) -> None:
        with manager.lock(name, "a", ttl=TTL) as lock:
            time.sleep(2 * TTL)
            if lock.is_lost:
                lost.append(name)

    threads = [threading.Thread(target=hold, args=(f"r{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert services() <= before + 1, "one thread for all locks of a manager"
        time.sleep(0.05)
    assert lost == []


def test_a_loss_is_flagged_and_told_at_the_end(store: Store) -> None:
    manager = LockManager(store)
    with pytest.raises(LeaseLostError) as caught, manager.lock("r", "a", ttl=0.6) as lock:
        assert LockManager(store).break_lock("r") is not None
        until(lambda: lock.is_lost, "the loss is noticed")
        with pytest.raises(LeaseLostError):
            lock.check()
        with pytest.raises(LeaseLostError):
            fenced(store, lock)
    assert (caught.value.resource, caught.value.token) == ("r", lock.lock_token)


def test_a_loss_that_nobody_noticed_is_told_at_the_end(store: Store) -> None:
    manager = LockManager(store)
    with pytest.raises(LeaseLostError), manager.lock("r", "a", ttl=60):
        LockManager(store).break_lock("r")


def test_an_exception_passes_and_the_lock_is_free(store: Store) -> None:
    manager = LockManager(store)
    for is_broken in (False, True):
        with pytest.raises(ZeroDivisionError), manager.lock("r", "a"):
            if is_broken:  # what the caller raised is told, not what became of the lock
                LockManager(store).break_lock("r")
            raise ZeroDivisionError
        assert list(manager.list_locks()) == []
    manager.release_lock(manager.acquire_lock("r", "a", wait=0))


def test_nested_blocks_of_one_client(store: Store) -> None:
    manager = LockManager(store)
    with manager.lock("r", "a", ttl=TTL) as outer:
        with pytest.raises(LockAlreadyHeldError), manager.lock("r", "a"):
            pass
        with manager.lock("r", "a", reentrant=True) as inner:
            assert inner is outer
            assert inner.depth == 2
            with manager.lock("r", "a", reentrant=True):
                assert inner.depth == 3
            time.sleep(1.2 * TTL)
            inner.check()
        assert outer.depth == 1
        time.sleep(1.2 * TTL)
        outer.check()
        fenced(store, outer)
    assert list(manager.list_locks()) == []


def test_a_block_renews_a_lock_that_was_acquired_before_it(store: Store) -> None:
    """Held by acquire_lock, which renews nothing, it lasts as long as the block inside."""
    manager = LockManager(store)
    held = manager.acquire_lock("r", "a", ttl=TTL)
    time.sleep(0.3)
    with manager.lock("r", "a", reentrant=True) as lock:
        end = time.monotonic() + 1.5 * TTL
        while time.monotonic() < end:
            lock.check()
            time.sleep(0.02)
    assert not held.is_lost
    manager.release_lock(held)
    assert list(manager.list_locks()) == []


def test_a_renewal_without_an_answer_is_made_again(store: Store) -> None:
    """Each second one is lost on its way, and the lock is held all the time."""
    sent: list[int] = []

    def script(batch: Batch) -> Fault:
        if not any(operation.key.kind == "lease" for operation in batch.operations):
            return Fault.NONE
        sent.append(1)
        return (Fault.NONE, Fault.LOST_REQUEST, Fault.LOST_ANSWER, Fault.UNAVAILABLE)[len(sent) % 4]

    lossy = LockManager(FaultyStore(store, script))
    lock = None
    while lock is None:
        try:
            lock = lossy.acquire_lock("r", "a", ttl=2 * TTL)
        except StoreUnavailableError:
            continue
    with lossy.lock("r", "a", reentrant=True):
        end = time.monotonic() + 3 * TTL
        while time.monotonic() < end or len(sent) < 6:
            lock.check()
            time.sleep(0.02)


def test_a_store_that_is_gone_loses_the_lock_when_its_time_is_over(store: Store) -> None:
    faulty = FaultyStore(store)
    manager = LockManager(faulty)
    with pytest.raises(StoreUnavailableError), manager.lock("r", "a", ttl=TTL) as lock:
        faulty.then(*[Fault.UNAVAILABLE] * 10_000)
        began = time.monotonic()
        until(lambda: lock.is_lost, "it is over")
        assert time.monotonic() - began > 0.1
    LockManager(store).acquire_lock("r", "b", wait=PATIENCE)


def test_the_service_ends_and_begins_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstate.transactions.renewal.IDLE_SECONDS", 0.1)

    manager = LockManager(store)
    before = services()
    for _ in range(3):
        with manager.lock("r", "a", ttl=TTL) as lock:
            until(lambda: all(info.renewals for info in manager.list_locks()), "it is renewed")
            lock.check()
            assert services() <= before + 1
        until(lambda: services() <= before, "the thread ends when there is nothing to renew")


# with, in tasks


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    async with open_async_store(url) as store:
        yield store


def test_tasks_renew_too(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            manager, other = AsyncLockManager(store), AsyncLockManager(store)
            persister = AsyncStateMachinePersister(store)
            async with manager.lock("r", "a", ttl=TTL) as lock:
                end = time.monotonic() + 1.5 * TTL
                while time.monotonic() < end:
                    lock.check()
                    with pytest.raises(LockTimeoutError):
                        await other.acquire_lock("r", "b", wait=0)
                    await persister.append("doc", Event("noted", state=1), expected=ANY, fence=lock)
                    await asyncio.sleep(0.05)
            assert [info async for info in manager.list_locks()] == []
            await other.acquire_lock("r", "b", wait=0)

    asyncio.run(body())


def test_a_loss_cancels_the_block(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            manager, steps = AsyncLockManager(store), []
            with pytest.raises(LeaseLostError) as caught:
                async with manager.lock("r", "a", ttl=0.6) as lock:
                    try:
                        await AsyncLockManager(store).break_lock("r")
                        await asyncio.sleep(PATIENCE)
                    except asyncio.CancelledError:
                        steps.append("cancelled")
                        assert lock.is_lost
                        raise
            assert steps == ["cancelled"]
            assert caught.value.token == lock.lock_token
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0, "the task is no more cancelled than it was"
            await asyncio.sleep(0.01)

    asyncio.run(body())


def test_a_loss_cancels_nested_blocks_once(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            manager = AsyncLockManager(store)
            held = await manager.acquire_lock("r", "a", ttl=TTL)
            with pytest.raises(LeaseLostError):
                async with manager.lock("r", "a", reentrant=True), manager.lock("r", "a", reentrant=True):
                    await AsyncLockManager(store).break_lock("r")
                    await asyncio.sleep(PATIENCE)
            await asyncio.sleep(TTL / 2)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert held.is_lost

    asyncio.run(body())


def test_a_block_that_hides_its_cancellation_is_told_all_the_same(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            manager = AsyncLockManager(store)
            with pytest.raises(LeaseLostError):
                async with manager.lock("r", "a", ttl=0.6):
                    try:
                        await AsyncLockManager(store).break_lock("r")
                        await asyncio.sleep(PATIENCE)
                    except asyncio.CancelledError:
                        pass
            with pytest.raises(ZeroDivisionError):
                async with manager.lock("r", "a", ttl=0.6):
                    try:
                        await AsyncLockManager(store).break_lock("r")
                        await asyncio.sleep(PATIENCE)
                    except asyncio.CancelledError:
                        raise ZeroDivisionError from None
            await asyncio.sleep(0.05)

    asyncio.run(body())


def test_a_cancellation_from_outside_goes_on_and_frees_the_lock(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            manager = AsyncLockManager(store)
            inside = asyncio.Event()

            async def hold(is_broken: bool) -> None:
                async with manager.lock("r", "a", ttl=60):  # nothing is renewed meanwhile
                    if is_broken:
                        await AsyncLockManager(store).break_lock("r")
                    inside.set()
                    await asyncio.sleep(PATIENCE)

            for is_broken in (False, True):
                task = asyncio.ensure_future(hold(is_broken))
                await inside.wait()
                inside.clear()
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                assert [info async for info in manager.list_locks()] == []

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await hold(False)
            assert [info async for info in manager.list_locks()] == []
            with pytest.raises(ZeroDivisionError):
                async with manager.lock("r", "a"):
                    raise ZeroDivisionError
            assert [info async for info in manager.list_locks()] == []

    asyncio.run(body())


def test_a_store_that_is_gone_cancels_the_block(url: str) -> None:
    async def body() -> None:
        async with opened(url) as store:
            faulty = FaultyStore(store)
            manager = AsyncLockManager(faulty)
            with pytest.raises(LeaseLostError):
                async with manager.lock("r", "a", ttl=0.6):
                    faulty.then(*[Fault.LOST_REQUEST] * 50)  # few, so that giving it back ends in time
                    await asyncio.sleep(PATIENCE)

    asyncio.run(body())


# The other members


class Called:
    """A manager of either kind, called like the sync one."""

    def __init__(self, manager: LockManager | AsyncLockManager, runner: asyncio.Runner) -> None:
        self._manager = manager
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            result = getattr(self._manager, name)(*args, **options)
            if inspect.isasyncgen(result):
                return self._runner.run(_listed(result))
            return self._runner.run(result) if inspect.iscoroutine(result) else result

        return call


async def _listed(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.fixture(params=["sync", "async"])
def managers(request: pytest.FixtureRequest, url: str) -> Iterator[Callable[[], Any]]:
    """Makes managers of one kind, all on one store."""
    face: Literal["sync", "async"] = request.param
    with asyncio.Runner() as runner:

        async def open_it() -> Store:
            return open_async_store(url)

        store = open_store(url) if face == "sync" else runner.run(open_it())
        kind = LockManager if isinstance(store.runtime, BlockingRuntime) else AsyncLockManager
        yield lambda **options: Called(kind(store, **options), runner)
        runner.run(store.aclose())


def test_locks_by_resource_and_token(managers: Callable[[], Any]) -> None:
    one, other = managers(), managers()
    lock = one.acquire_lock("r", "a", ttl=5)
    extended = other.extend_lock("r", lock.lock_token)
    assert extended.lock_token == lock.lock_token
    assert one.extend_lock(lock) is lock
    other.release_lock("r", lock.lock_token)
    for call in (other.release_lock, other.extend_lock, one.release_lock, one.extend_lock):
        with pytest.raises(LeaseLostError):
            call("r", lock.lock_token)
    with pytest.raises(LeaseLostError):
        one.release_lock(lock)


def test_what_is_listed(managers: Callable[..., Any]) -> None:
    manager = managers()
    assert list(manager.list_locks()) == []
    assert manager.break_lock("r") is None
    locks = {n: manager.acquire_lock(f"r{n:03d}", "a", purpose=f"p{n}", ttl=60) for n in range(120)}
    infos = list(manager.list_locks())
    assert [info.resource for info in infos] == [f"r{n:03d}" for n in range(120)]
    assert all(isinstance(info, LockInfo) for info in infos)
    assert [info.lock_token for info in infos] == [lock.lock_token for lock in locks.values()]
    assert [info.purpose for info in infos] == [f"p{n}" for n in range(120)]
    assert not any(info.is_expired for info in infos)
    assert list(managers(governor="other").list_locks()) == []
    broken = manager.break_lock("r007")
    assert (broken.client_id, broken.purpose) == ("a", "p7")
    assert len(list(manager.list_locks())) == 119


def test_what_is_cleaned_up(managers: Callable[[], Any]) -> None:
    manager = managers()
    kept = manager.acquire_lock("kept", "a", ttl=60)
    for n in range(3):
        manager.acquire_lock(f"r{n}", "a", ttl=0.05)
    until(lambda: sum(info.is_expired for info in manager.list_locks()) == 3, "they expire")
    assert manager.cleanup_expired_locks() == 3
    assert manager.cleanup_expired_locks() == 0
    assert [info.resource for info in manager.list_locks()] == ["kept"]
    manager.release_lock(kept)
    assert manager.detect_deadlocks() == []


def test_several_at_once(managers: Callable[[], Any]) -> None:
    one, other = managers(), managers()
    locks = one.acquire_locks(["b", "a"], "x")
    assert [lock.resource for lock in locks] == ["b", "a"]
    with pytest.raises(LockTimeoutError):
        other.acquire_locks(["c", "b"], "y", wait=0.1)
    assert {info.resource for info in one.list_locks()} == {"a", "b"}
    for lock in locks:
        one.release_lock(lock)
    assert len(other.acquire_locks(["c", "b"], "y", wait=0)) == 2


def test_a_deadlock_in_blocks_ends(store: Store) -> None:
    """As callers write it: nested blocks in two orders, the victim begins anew."""
    manager = LockManager(store)
    gave_way: list[str] = []
    done: list[str] = []
    start = threading.Barrier(2)

    def work(client: str, first: str, second: str) -> None:
        start.wait()
        while True:
            try:
                with manager.lock(first, client, ttl=5), manager.lock(second, client, ttl=5):
                    time.sleep(0.01)
                    done.append(client)
                    return
            except DeadlockDetectedError as error:
                gave_way.append(error.client_id)

    for turn in range(5):
        threads = [
            threading.Thread(target=work, args=(f"x{turn}", "a", "b")),
            threading.Thread(target=work, args=(f"y{turn}", "b", "a")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(gave_way) <= 10 * turn + 10
    assert sorted(done) == sorted(f"{c}{turn}" for c in "xy" for turn in range(5))
    assert list(manager.list_locks()) == []


# What is written under it


class Taciturn(FaultyStore):
    """A store that does not say which precondition failed, as Firestore."""

    async def commit(self, batch: Batch) -> CommitResult:
        result = await super().commit(batch)
        return Refused(None) if isinstance(result, Refused) else result


def test_a_loss_between_two_looks_is_a_loss(store: Store) -> None:
    """Refused since another was faster; and while the appender looks why, the lock is lost as well."""
    manager, taciturn = LockManager(store), Taciturn(store)
    persister, other = StateMachinePersister(taciturn), StateMachinePersister(store)
    lock = manager.acquire_lock("r", "a")
    persister.append("doc", Event("noted", state=1), expected=0, fence=lock)
    other.append("doc", Event("noted", state=2), expected=1)
    looks: list[Sequence[Key]] = []

    async def lose_it(keys: Sequence[Key]) -> None:
        if lock.fence.key in keys:
            looks.append(keys)
            if len(looks) == 2:
                LockManager(store).break_lock("r")

    taciturn.before_get = lose_it
    try:
        persister.append("doc", Event("noted", state=3), expected=ANY, fence=lock)
    except LeaseLostError:
        assert other.load("doc").version == 2
    else:
        assert len(looks) < 2, "written though the lock was lost"
