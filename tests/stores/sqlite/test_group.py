"""Leader and followers, without a disk: everyone gets its own outcome, whoever leads, is cancelled or interrupted."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from eventstate.core.documents import Batch, Check, CommitResult, Committed, Key, Require, Unknown
from eventstate.errors import StoreError, StoreUnavailableError
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.sqlite.group import MAX_GROUP, GroupCommit, Member

PATIENCE = 60.0
CHECK = (Check(Key("cursor", "g", "x"), Require.ANY),)


def batch(token: object) -> Batch:
    return Batch(str(token), CHECK)


def committed(member: Member) -> Committed:
    """An outcome that tells whose it is."""
    return Committed({}, 0, hash(member.batch.token))


class Log:
    """A ``run`` that takes a little while, or until it may go on, and remembers what it committed."""

    def __init__(self, wait: Callable[[], float] = lambda: 0.0) -> None:
        self.groups: list[list[str]] = []
        self.running = 0
        self.upkeep = 0
        self.begun = threading.Event()
        self.go: threading.Event | None = None
        self._wait = wait

    def run(self, group: Sequence[Member]) -> None:
        self.running += 1
        assert self.running == 1
        self.groups.append([member.batch.token for member in group])
        if pause := self._wait():
            time.sleep(pause)
        if self.go is not None:
            self.begun.set()
            assert self.go.wait(PATIENCE)
        for member in group:
            if member.batch.token.endswith("!"):
                member.error = StoreUnavailableError(store="log", detail=member.batch.token)
            else:
                member.result = committed(member)
        self.running -= 1

    def after(self) -> None:
        assert self.running == 0
        self.upkeep += 1

    @property
    def tokens(self) -> list[str]:
        return [token for group in self.groups for token in group]


@pytest.fixture
def busy_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def own(result: CommitResult, token: str) -> bool:
    return isinstance(result, Committed) and result.position == hash(token)


def test_a_lone_caller_leads_on_its_own_thread() -> None:
    threads: list[int] = []

    def run(group: Sequence[Member]) -> None:
        threads.append(threading.get_ident())
        group[0].result = Committed({}, 0)

    group = GroupCommit(run, lambda: None)
    for _ in range(3):
        drive(group.submit(batch("x"), BlockingRuntime()))
    assert threads == [threading.get_ident()] * 3


@pytest.mark.usefixtures("busy_switching")
def test_sync_threads_and_loops_share_groups_and_each_gets_its_own_outcome() -> None:
    log = Log(lambda: random.choice([0, 0, 0.0002]))
    group = GroupCommit(log.run, log.after)
    wrong: list[str] = []

    def sync(name: int) -> None:
        runtime = BlockingRuntime()
        for number in range(60):
            token = f"s{name}.{number}"
            if not own(drive(group.submit(batch(token), runtime)), token):
                wrong.append(token)

    def loop(name: int) -> None:
        async def one(runtime: AsyncioRuntime, task: int) -> None:
            for number in range(15):
                token = f"a{name}.{task}.{number}"
                if not own(await group.submit(batch(token), runtime), token):
                    wrong.append(token)

        async def main() -> None:
            runtime = AsyncioRuntime()
            await asyncio.gather(*(one(runtime, task) for task in range(8)))
            runtime.close()

        asyncio.run(main())

    threads = [threading.Thread(target=sync, args=(name,), daemon=True) for name in range(10)]
    threads += [threading.Thread(target=loop, args=(name,), daemon=True) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert len(log.tokens) == len(set(log.tokens)) == 10 * 60 + 2 * 8 * 15
    assert log.upkeep == len(log.groups)
    assert max(len(tokens) for tokens in log.groups) > 1


def test_a_group_is_bounded() -> None:
    log = Log(lambda: 0.2 if len(log.groups) == 1 else 0)
    group = GroupCommit(log.run, log.after)

    async def main() -> None:
        runtime = AsyncioRuntime()
        await asyncio.gather(*(group.submit(batch(n), runtime) for n in range(MAX_GROUP * 2 + 10)))
        runtime.close()

    asyncio.run(main())
    assert sorted(len(tokens) for tokens in log.groups) == [10, MAX_GROUP, MAX_GROUP]
    assert log.tokens == [str(n) for n in range(MAX_GROUP * 2 + 10)]  # first come, first served


def test_one_members_error_is_its_own() -> None:
    log = Log(lambda: 0.05)
    group = GroupCommit(log.run, log.after)

    async def main() -> list[Any]:
        runtime = AsyncioRuntime()
        tokens = ["first", *(f"{n}{'!' if n % 3 == 0 else ''}" for n in range(9))]
        results = await asyncio.gather(*(group.submit(batch(t), runtime) for t in tokens), return_exceptions=True)
        runtime.close()
        return list(zip(tokens, results, strict=True))

    for token, result in asyncio.run(main()):
        if token.endswith("!"):
            assert isinstance(result, StoreError)
            assert token in str(result)
        else:
            assert own(result, token)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupted_leader_resolves_its_followers(raised: type[BaseException]) -> None:
    """Whoever waits with it learns that the outcome is unknown, and the next one leads."""
    begun, go = threading.Event(), threading.Event()
    calls = 0

    def run(group: Sequence[Member]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            begun.set()
            go.wait(PATIENCE)
            for member in group:
                member.result = committed(member)
        elif calls == 2:
            raise raised
        else:
            for member in group:
                member.result = committed(member)

    group = GroupCommit(run, lambda: None)
    outcomes: dict[str, object] = {}

    def work(token: str) -> None:
        try:
            outcomes[token] = drive(group.submit(batch(token), BlockingRuntime()))
        except BaseException as error:
            outcomes[token] = error

    first = threading.Thread(target=work, args=("first",))
    first.start()
    assert begun.wait(PATIENCE)
    followers = [threading.Thread(target=work, args=(f"f{n}",)) for n in range(5)]
    for thread in followers:
        thread.start()
    while len(group._queue) < 5:
        time.sleep(0.001)
    go.set()
    for thread in [first, *followers]:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert own(outcomes["first"], "first")  # type: ignore[arg-type]
    interrupted = [outcomes[f"f{n}"] for n in range(5)]
    assert sum(isinstance(outcome, raised) for outcome in interrupted) == 1
    assert sum(isinstance(outcome, Unknown) for outcome in interrupted) == 4
    assert own(drive(group.submit(batch("after"), BlockingRuntime())), "after")


def test_a_cancelled_task_that_waits_in_line_is_taken_back() -> None:
    log = Log()
    log.go = threading.Event()
    group = GroupCommit(log.run, log.after)

    async def main() -> None:
        runtime = AsyncioRuntime()
        tasks = [asyncio.create_task(group.submit(batch(n), runtime)) for n in range(3)]
        await asyncio.to_thread(log.begun.wait, PATIENCE)  # the first is under way with whoever was there
        late = [asyncio.create_task(group.submit(batch(f"late{n}"), runtime)) for n in range(4)]
        await asyncio.sleep(0.01)
        late[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await late[2]
        assert log.go is not None
        log.go.set()
        await asyncio.gather(*tasks, late[0], late[1], late[3])
        runtime.close()

    asyncio.run(main())
    assert sorted(log.tokens) == ["0", "1", "2", "late0", "late1", "late3"]


def test_a_cancelled_leader_sees_its_group_through() -> None:
    log = Log()
    log.go = threading.Event()
    group = GroupCommit(log.run, log.after)

    async def main() -> None:
        runtime = AsyncioRuntime()
        tasks = [asyncio.create_task(group.submit(batch(n), runtime)) for n in range(5)]
        await asyncio.to_thread(log.begun.wait, PATIENCE)
        tasks[0].cancel()
        await asyncio.sleep(0.02)
        assert not tasks[0].done()  # cancellation waits for the outcome
        assert log.go is not None
        log.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert all(own(result, str(n)) for n, result in enumerate(results) if n > 0)  # type: ignore[arg-type]
        assert own(await group.submit(batch("after"), runtime), "after")
        runtime.close()

    asyncio.run(main())
    assert sorted(log.tokens) == ["0", "1", "2", "3", "4", "after"]


@pytest.mark.usefixtures("busy_switching")
def test_random_cancellations_leave_nobody_waiting() -> None:
    log = Log(lambda: random.choice([0, 0.0005]))
    group = GroupCommit(log.run, log.after)
    seed = random.randrange(10**6)
    chance = random.Random(seed)

    async def main() -> tuple[int, int]:
        runtime = AsyncioRuntime()
        done = cancelled = 0

        async def one(name: int) -> None:
            nonlocal done, cancelled
            for number in range(10):
                task = asyncio.create_task(group.submit(batch(f"{name}.{number}"), runtime))
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() * 0.003)
                    task.cancel()
                try:
                    assert own(await task, f"{name}.{number}")
                    done += 1
                except asyncio.CancelledError:
                    cancelled += 1

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(one(name) for name in range(16)))
        runtime.close()
        return done, cancelled

    done, cancelled = asyncio.run(main())
    assert done + cancelled == 160, seed
    assert done <= len(log.tokens) == len(set(log.tokens)) <= 160, seed


def test_a_sync_caller_on_the_loops_own_thread_does_not_wait_for_the_loop() -> None:
    """A task may be next to lead while this thread, which runs its loop, blocks in a sync call."""
    log = Log()
    group = GroupCommit(log.run, log.after)

    async def main() -> None:
        runtime = AsyncioRuntime()
        task = asyncio.create_task(group.submit(batch("task"), runtime))
        await asyncio.sleep(0)  # it has been asked to lead, by a callback that this loop has not run yet
        worker = threading.Thread(target=lambda: blocked.append(drive(group.submit(batch("sync"), BlockingRuntime()))))
        blocked: list[CommitResult] = []
        worker.start()
        worker.join(PATIENCE)  # the loop stands still meanwhile
        assert not worker.is_alive()
        assert own(blocked[0], "sync")
        assert own(await task, "task")
        runtime.close()

    asyncio.run(main())


def test_draining_waits_for_all_that_was_submitted_before() -> None:
    log = Log(lambda: 0.05)
    group = GroupCommit(log.run, log.after)

    async def main() -> None:
        runtime = AsyncioRuntime()
        tasks = [asyncio.create_task(group.submit(batch(n), runtime)) for n in range(10)]
        await asyncio.sleep(0.01)
        await group.drain(runtime)
        assert len(log.tokens) == 10
        await asyncio.gather(*tasks)
        await group.drain(runtime)
        runtime.close()

    asyncio.run(main())
    assert sorted(log.tokens) == sorted(str(n) for n in range(10))


def test_whoever_holds_the_quiet_keeps_commits_from_running() -> None:
    log = Log()
    group = GroupCommit(log.run, log.after)
    outcome: list[CommitResult] = []
    worker = threading.Thread(target=lambda: outcome.append(drive(group.submit(batch("x"), BlockingRuntime()))))
    with group.quiet:
        worker.start()
        time.sleep(0.05)
        assert log.groups == []
    worker.join(PATIENCE)
    assert own(outcome[0], "x")
