"""Retention beside everything else that goes on: pins, keys, seals, subscriptions and new rules, at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    ANY,
    DirectoryArchive,
    Machine,
    RetentionManager,
    RetentionPolicy,
    SealManager,
    StateMachinePersister,
    Store,
    Subscription,
    TokenExpiredError,
    TransactionManager,
    open_store,
    timed_key,
)
from eventstate.core.documents import ENTRY, PIN, SNAPSHOT, FeedPage
from eventstate.log import pruning
from eventstate.log.commands import Commands
from eventstate.log.forgetting import forget_keys
from eventstate.runtime.blocking import drive
from eventstate.transactions.commit import Committer

pytestmark = pytest.mark.backend("memory")


@dataclass(frozen=True)
class Meter:
    total: int = 0


@dataclass(frozen=True)
class Read:
    amount: int


def evolve(meter: Meter, event: Read) -> Meter:
    return replace(meter, total=meter.total + event.amount)


def doubled(meter: Meter, event: Read) -> Meter:
    return replace(meter, total=meter.total + 2 * event.amount)


METERS = Machine("meter", Meter(), evolve)
LAST = RetentionPolicy(keep_last=1)


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


def read(store: Store, id: str, times: int) -> StateMachinePersister:
    persister = StateMachinePersister(store, machines=[METERS])
    for _ in range(times):
        persister.append(METERS, id, Read(1), expected=ANY)
    return persister


def retention(store: Store, **options: Any) -> RetentionManager:
    return RetentionManager(store, machines=[METERS], **options)


def before(store: Store, method: str, act: Callable[[Any], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``act`` happen once, after the first call of a method that it says yes to."""
    call: Callable[..., Awaitable[Any]] = getattr(store, method)
    done: list[bool] = []

    async def called(*args: Any, **options: Any) -> Any:
        result = await call(*args, **options)
        if not done:
            done.append(True)
            if not act(args[0]):
                done.clear()
        return result

    monkeypatch.setattr(store, method, called)


def test_a_hold_of_the_same_name_that_is_made_meanwhile_is_not_released(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in "ab":
        read(store, id, 3)
    kim, lee = retention(store), retention(store)
    kim.hold("case", "meter-a")

    def renew(keys: Any) -> bool:
        if keys[0].kind != PIN:
            return False
        lee.release("case")
        lee.hold("case", "meter-b", reason="the court")
        return True

    before(store, "get", renew, monkeypatch)
    kim.release("case")
    assert [pin.state_id for pin in lee.pins()] == ["meter-b"]
    assert lee.prune(LAST).held_by == {"hold:case": 1}


@pytest.mark.parametrize("way", ["append", "transaction"])
def test_a_repeat_whose_record_is_forgotten_before_its_commit_has_no_second_effect(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    persister = read(store, "a", 0)
    manager = TransactionManager(store, machines=[METERS])
    key = timed_key("reading", datetime.now(UTC) - timedelta(days=40))

    def run() -> None:
        if way == "append":
            persister.append(METERS, "a", Read(1), idempotency_key=key, expected=ANY)
        else:
            manager.execute_transaction(lambda t: t.append(METERS, "a", Read(1)), idempotency_key=key)

    run()
    check = Commands.check_fresh

    async def then_forgotten(self: Commands, asked: str | None) -> Any:
        found = await check(self, asked)
        await forget_keys(store, "default", Committer(store, "default"), timedelta(days=30))
        return found

    monkeypatch.setattr(Commands, "check_fresh", then_forgotten)
    with pytest.raises(TokenExpiredError):
        run()
    assert persister.load(METERS, "a").version == 1


@pytest.mark.parametrize("archived", [False, True])
def test_pruned_streams_are_read_under_new_rules(store: Store, tmp_path: Path, archived: bool) -> None:
    archive = DirectoryArchive(tmp_path / "archive") if archived else None
    read(store, "a", 30)
    retention(store, archive=archive).prune(RetentionPolicy(keep_last=20))
    raised = Machine("meter", Meter(), doubled, fold_version=2)
    persister = StateMachinePersister(store, machines=[raised], archive=archive)
    # With the archive all of it is folded anew; without it, what is left, on top of the state that was kept.
    total = 60 if archived else 10 + 40
    assert persister.load(raised, "a").data.total == total
    assert persister.load(raised, "a", at_version=12).data.total == (24 if archived else 14)
    assert persister.append(raised, "a", Read(1), expected=30).data.total == total + 2
    assert persister.validate_consistency().is_consistent


def test_what_is_pruned_while_the_first_seal_is_taken_waits(store: Store) -> None:
    persister = read(store, "a", 10)
    seals = SealManager(store)
    pruned: list[int] = []

    def progress(_done: int) -> None:
        if not pruned:
            read(store, "a", 10)
            pruned.append(retention(store).prune(RetentionPolicy(keep_last=2)).total.pruned_events)

    seals.seal(progress=progress)
    assert pruned == [0]
    assert retention(store).pins() == []
    assert seals.seal().number == 2, "what the first one saw can still be held against it"
    assert retention(store).prune(RetentionPolicy(keep_last=2)).total.pruned_events == 18
    assert persister.validate_consistency().is_consistent


class TestArchives:
    """What is in an archive besides what it should hold, or not any more."""

    @pytest.fixture
    def archive(self, tmp_path: Path) -> DirectoryArchive:
        return DirectoryArchive(tmp_path / "archive")

    @pytest.fixture
    def packs(self, store: Store, archive: DirectoryArchive, tmp_path: Path) -> list[Path]:
        """Two packs: one with the beginning of a stream, and one with what came next."""
        found: list[Path] = []
        read(store, "a", 30)
        for kept in (20, 10):
            retention(store, archive=archive).prune(RetentionPolicy(keep_last=kept))
            new = set((tmp_path / "archive").rglob("*.pack")) - set(found)
            found.extend(new)
        assert len(found) == 2
        return found

    def at(self, store: Store, archive: DirectoryArchive, version: int) -> int:
        persister = StateMachinePersister(store, machines=[METERS], archive=archive)
        return persister.load(METERS, "a", at_version=version).data.total

    def test_a_lost_pack_makes_it_incomplete(self, store: Store, archive: DirectoryArchive, packs: list[Path]) -> None:
        assert retention(store, archive=archive).check_archive().is_complete
        packs[0].unlink()
        checked = retention(store, archive=archive).check_archive()
        assert (checked.is_complete, checked.partial_streams) == (False, 1)
        assert self.at(store, archive, 15) == 15

    def test_what_does_not_belong_there_is_passed_over(
        self, store: Store, archive: DirectoryArchive, packs: list[Path]
    ) -> None:
        for name in ("README.txt", ".DS_Store"):
            (packs[0].parent / name).write_text("put here by somebody")
        checked = retention(store, archive=archive).check_archive()
        assert (checked.is_complete, checked.packs) == (True, 2)
        assert self.at(store, archive, 3) == 3

    def test_a_bad_pack_is_in_the_way_of_its_own_streams_only(
        self, store: Store, archive: DirectoryArchive, packs: list[Path]
    ) -> None:
        read(store, "b", 30)
        there = set(packs[0].parent.glob("*.pack"))
        retention(store, archive=archive).prune(RetentionPolicy(keep_last=20))
        (new,) = set(packs[0].parent.glob("*.pack")) - there
        new.write_bytes(new.read_bytes()[:-5])
        assert self.at(store, archive, 3) == 3
        assert not retention(store, archive=archive).check_archive().is_complete


def test_a_prune_reads_the_feed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "HEADS", 10)
    persister = read(store, "00", 1)
    for number in range(1, 100):
        persister.append(METERS, f"{number:02}", Read(1), expected=0)
    with Subscription(persister, "slow", save_every=1) as subscription:
        subscription.ack(next(iter(subscription.deliveries(until_caught_up=True))))
    feed = store.feed
    entries: list[int] = []

    async def counted(after: int, **options: Any) -> FeedPage:
        page = await feed(after, **options)
        entries.append(len(page.entries))
        return page

    monkeypatch.setattr(store, "feed", counted)
    retention(store).prune(LAST)
    assert sum(entries) == 99


def test_what_is_written_while_pages_are_pruned_is_kept_for_who_has_not_read_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "HEADS", 1)
    persister = read(store, "a", 3)
    read(store, "b", 3)
    with Subscription(persister, "all", save_every=1) as subscription:
        for delivery in subscription.deliveries(until_caught_up=True):
            subscription.ack(delivery)
    feed = store.feed

    async def written_after(after: int, **options: Any) -> FeedPage:
        page = await feed(after, **options)
        monkeypatch.setattr(store, "feed", feed)
        read(store, "b", 3)
        return page

    monkeypatch.setattr(store, "feed", written_after)
    retention(store).prune(LAST)
    with Subscription(persister, "all") as subscription:
        found = [(d.state_id, d.version) for d in subscription.deliveries(until_caught_up=True)]
    assert found == [("meter-b", 4), ("meter-b", 5), ("meter-b", 6)]


def test_a_subscription_that_is_made_between_two_pages_holds_back_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "HEADS", 1)
    persister = read(store, "a", 3)
    read(store, "b", 3)
    scans: list[str] = []
    scan = store.scan

    async def subscribed(kind: str, owner: str, **options: Any) -> Any:
        if kind == "head":
            scans.append(kind)
            if len(scans) == 2:
                with Subscription(persister, "new", save_every=1) as subscription:
                    subscription.ack(next(iter(subscription.deliveries(until_caught_up=True))))
        return await scan(kind, owner, **options)

    monkeypatch.setattr(store, "scan", subscribed)
    retention(store).prune(LAST)
    assert len(drive(scan(ENTRY, "default", id="meter-a")).documents) == 1
    assert len(drive(scan(ENTRY, "default", id="meter-b")).documents) == 3
    assert drive(scan(SNAPSHOT, "default", id="meter-b")).documents == []
