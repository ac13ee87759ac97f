"""What retention promises: what stays is as it was, at whatever moment a prune ends, and pins come first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

from eventstate.core.chain import stored_digest
from eventstate.core.documents import ENTRY, Batch, Delete
from eventstate.core.expected import ANY
from eventstate.core.format import decode_head
from eventstate.core.idempotency import timed_key
from eventstate.core.instants import utc_of
from eventstate.core.retention import RetentionPolicy
from eventstate.core.settlement import TokenRef
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    StoreUnavailableError,
    TokenExpiredError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.log import pruning
from eventstate.machines.async_retention_manager import AsyncRetentionManager
from eventstate.machines.async_subscription import AsyncSubscription
from eventstate.machines.async_time_travel import AsyncTimeTravel
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.retention_manager import RetentionManager
from eventstate.machines.subscription import Subscription
from eventstate.machines.time_travel import TimeTravel
from eventstate.machines.transaction_manager import TransactionManager
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store
from eventstate.testing.archives import MemoryArchive
from eventstate.testing.conformance.persisters import (
    DOORS,
    GOVERNOR,
    TALLIES,
    Added,
    Face,
    PersisterSuite,
    alter,
    entry_key,
    head_key,
    replace,
    snapshot_key,
    stored,
)
from eventstate.testing.conformance.rebuilding import filled
from eventstate.testing.conformance.suite import case, raises, remove
from eventstate.testing.faults import Fault, FaultyStore, on_call

TWO: Final = RetentionPolicy(keep_last=2)
OLD: Final = RetentionPolicy(max_age=timedelta(microseconds=1))
"""Lets everything go but the last entry."""

Shown = dict[tuple[str, int], Any]


class RetentionCases(PersisterSuite):
    """Prunes, alone and disturbed."""

    def manager(self, store: Store, archive: Archive | None = None, **options: Any) -> Face:
        """A retention manager of this world."""
        options.setdefault("machines", [TALLIES, DOORS])
        face = RetentionManager if self.world.name == "sync" else AsyncRetentionManager
        return Face(face(store, governor=GOVERNOR, archive=archive, **options))

    async def _log(self, store: Store) -> Face:
        """Streams of every sort: typed, plain, short, long, deleted, reopened, with states too large for a head."""
        persister = self.persister(store, snapshot_every=4, keep_snapshots=2)
        await filled(persister, "1")
        await filled(persister, "2")
        await persister.append(TALLIES, "short", Added("a"), expected=0)
        for n in range(6):
            data = {"items": list(range(n)), "text": "x" * (70_000 if n > 3 else 10)}
            await persister.save_state("note", data, expected=n, changed_by="kim", reason=f"for {n}")
        for n in range(3):
            await persister.append(TALLIES, "gone", Added(f"{n}"), expected=n)
        await persister.delete_state(TALLIES, "gone", expected=3)
        for n in range(3):
            await persister.append(TALLIES, "again", Added(f"{n}"), expected=n)
        await persister.delete_state(TALLIES, "again", expected=3)
        await persister.append(TALLIES, "again", Added("x"), Added("y"), expected=4, reopen=True)
        await persister.append(TALLIES, "again", Added("z"), expected=7)
        return persister

    async def _shown(self, persister: Face) -> Shown:
        """Everything that can be loaded: each version of each stream, and the current ones as version 0."""
        shown: Shown = {}
        for id in ("tally-1", "tally-2", "tally-short", "note", "tally-gone", "tally-again"):
            try:
                now = await persister.load(id)
                shown[id, 0] = (now.data, now.version, now.action, now.metadata, now.timestamp, now.causality)
                last = now.version
            except StateDeletedError as error:
                shown[id, 0] = ("deleted", error.version)
                last = error.version
            for version in range(1, last + 1):
                try:
                    then = await persister.load(id, at_version=version)
                except StateDeletedError:
                    shown[id, version] = "deleted"
                except VersionNotFoundError:
                    continue
                else:
                    shown[id, version] = (then.data, then.action, then.metadata, then.timestamp, then.causality)
        return shown

    async def _bases(self, store: Store) -> dict[str, int]:
        """Where each stream begins."""
        page = await store.scan("head", GOVERNOR)
        tips = [decode_head(document)[0].tip for document in page.documents]
        return {tip.id: tip.base.version if tip.base else 0 for tip in tips}

    async def _entries(self, store: Store, id: str) -> list[int]:
        return [document.key.n for document in (await store.scan(ENTRY, GOVERNOR, id=id)).documents]

    def _agrees(self, before: Shown, after: Shown, bases: dict[str, int] | None = None) -> None:
        """Fail unless what is shown is what was, but for versions that were pruned and not archived."""
        for (id, version), value in before.items():
            base = bases[id] if bases is not None else 0
            if version == 0 or version > base:
                assert after[id, version] == value, f"{id} at version {version}"
            elif version == base:  # its state is kept, its event is not
                assert after[id, version][0] == value[0], f"{id} at its base {version}"
            else:
                assert (id, version) not in after, f"{id} at version {version} is served though it was pruned"

    # Alone

    @case
    async def test_what_stays_is_as_it_was_and_what_goes_comes_from_the_archive(self) -> None:
        for policy in (TWO, OLD, RetentionPolicy(keep_snapshots=1), RetentionPolicy(keep_last=6)):
            store = self.open()
            before = await self._shown(await self._log(store))
            archive = MemoryArchive()
            report = await self.manager(store, archive).prune(policy)
            assert not report.problems, report.problems
            assert report.total.pruned_events > 0
            await self.consistent(self.persister(store))
            bases = await self._bases(store)
            assert sum(bases.values()) == report.total.pruned_events
            for id, base in bases.items():
                assert all(n > base for n in await self._entries(store, id)), "entries before the base are left"
            self._agrees(before, await self._shown(self.persister(store)), bases)
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
            await self._remove_all(store)

    async def _remove_all(self, store: Store) -> None:
        for kind in ("head", ENTRY, "snapshot", "pin"):
            for document in (await store.scan(kind, GOVERNOR)).documents:
                await remove(store, document.key)

    @case
    async def test_histories_and_times_reach_into_the_archive(self) -> None:
        store = self.open()
        persister = await self._log(store)
        history = {id: await persister.history(id) for id in ("tally-1", "note", "tally-again")}
        archive = MemoryArchive()
        await self.manager(store, archive).prune(TWO)
        bases = await self._bases(store)
        for id, steps in history.items():
            assert await self.persister(store, archive=archive).history(id) == steps
            alone = await self.persister(store).history(id)
            assert [step.version for step in alone] == list(range(bases[id] + 1, len(steps) + 1))
            assert alone == steps[bases[id] :]
            for step in steps[:3]:
                then = await self.persister(store, archive=archive).load(id, at_time=step.timestamp)
                assert then.timestamp == step.timestamp
        part = await self.persister(store, archive=archive).history("tally-1", from_version=3, to_version=9)
        assert part == history["tally-1"][2:9]

    @case
    async def test_a_pruned_stream_goes_on_and_is_pruned_again(self) -> None:
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))
        for round in range(3):
            persister = self.persister(store, snapshot_every=3, keep_snapshots=2)
            version = (await persister.load(TALLIES, "1")).version
            with raises(VersionConflictError):
                await persister.append(TALLIES, "1", Added("late"), expected=version - 1)
            await persister.append(TALLIES, "1", Added(f"r{round}"), expected=version)
            await persister.append(TALLIES, "1", Added(f"s{round}"), Added(f"t{round}"), expected=version + 1)
            before |= {
                key: value
                for key, value in (await self._shown(self.persister(store, archive=archive))).items()
                if key[0] == "tally-1"
            }
            report = await self.manager(store, archive).prune(TWO)
            assert report.total.pruned_events > 0
            assert not report.problems
            await self.consistent(self.persister(store))
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
        steps = await self.persister(store, archive=archive).history(TALLIES, "1")
        assert [step.version for step in steps] == list(range(1, 25))

    @case
    async def test_a_plan_writes_nothing_and_says_what_a_prune_does(self) -> None:
        store = self.open()
        await self._log(store)
        quiet = FaultyStore(store)
        planned = await self.manager(quiet).plan(TWO)
        assert not quiet.sent
        done = await self.manager(store).prune(TWO)
        assert planned.by_machine == done.by_machine
        assert set(done.by_machine) == {"tally", ""}
        assert done.total.pruned_bytes > 0
        again = await self.manager(store).prune(TWO)
        assert again.total.pruned_events == again.deleted_entries == 0

    @case
    async def test_rules_hold_together(self) -> None:
        store = self.open()
        await self._log(store)
        manager = self.manager(store)
        for policy in (
            None,
            RetentionPolicy(),
            RetentionPolicy(max_age=timedelta(days=1)),
            RetentionPolicy(max_age=timedelta(days=1), keep_last=1),
            RetentionPolicy(max_age=timedelta(microseconds=1), keep_last=100),
            RetentionPolicy(keep_snapshots=3),
        ):
            assert (await manager.plan(policy)).total.pruned_events == 0, policy
        plan = await manager.plan(None, machines={"tally": OLD})
        assert plan.by_machine["tally"].pruned_events > 0
        assert plan.by_machine[""].pruned_events == 0
        plan = await manager.plan(OLD, machines={"tally": RetentionPolicy()})
        assert plan.by_machine["tally"].pruned_events == 0
        for wrong in (
            lambda: RetentionPolicy(keep_last=0),
            lambda: RetentionPolicy(keep_snapshots=-1),
            lambda: RetentionPolicy(keep_last=True),
            lambda: RetentionPolicy(max_age=timedelta()),
        ):
            with raises(ConfigurationError):
                wrong()

    @case
    async def test_a_typed_stream_without_its_machine_stays_and_is_named(self) -> None:
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))
        report = await self.manager(store, archive, machines=[]).prune(RetentionPolicy(keep_last=1))
        assert {problem.state_id for problem in report.problems} >= {"tally-again"}
        assert report.by_machine[""].pruned_events > 0
        self._agrees(before, await self._shown(self.persister(store, archive=archive)))
        await self.consistent(self.persister(store))

    @case
    async def test_a_damaged_stream_stays_and_the_others_go_on(self) -> None:
        store = self.open()
        await self._log(store)
        await alter(store, entry_key("tally-1", 1), b'"mark":"0"', b'"mark":"9"')
        await alter(store, head_key("note"), b'"n":6', b'"n":7')
        report = await self.manager(store, MemoryArchive()).prune(TWO)
        assert {problem.state_id for problem in report.problems} == {"tally-1", "note"}
        assert await self._entries(store, "tally-1") == [1, 4, 5, 7, 11, 12, 13, 15]
        assert await self._entries(store, "note") == [1, 2, 3, 4, 5, 6]
        assert await self._entries(store, "tally-2") == [15]

    @case
    async def test_a_bad_head_of_a_pruned_stream_is_made_anew_from_its_base(self) -> None:
        store = self.open()
        before = await self._shown(await self._log(store))
        await self.manager(store).prune(TWO)
        bases = await self._bases(store)
        heads = {id: await stored(store, head_key(id)) for id in bases}
        for id in ("tally-1", "note", "tally-again"):
            await alter(store, head_key(id), b'"chain"', b'"chaim"')
            self._agrees(before, await self._shown(self.persister(store)), bases)
            await self.persister(store).rebuild(id)
            mended = decode_head(await stored(store, head_key(id)))[0].tip
            assert mended._replace(revision=None) == decode_head(heads[id])[0].tip._replace(revision=None)
        await self.consistent(self.persister(store))

    @case
    async def test_a_base_that_is_not_as_it_was_is_found(self) -> None:
        store = self.open()
        await self._log(store)
        await self.manager(store).prune(TWO)
        base = (await self._bases(store))["tally-1"]
        key = snapshot_key("tally-1", base)
        good = (await stored(store, key)).body
        other = (await stored(store, snapshot_key("tally-2", base))).body
        for bad in (good.replace(b'"total":', b'"total":1', 1), other, None):
            await (remove(store, key) if bad is None else replace(store, key, bad))
            report = await self.persister(store).validate_consistency()
            assert [finding.where for finding in report.findings] == [str(key)]
            with raises(CorruptionError):
                await self.persister(store).load("tally-1", at_version=base)

    @case
    async def test_a_token_of_a_pruned_entry_is_expired(self) -> None:
        store = self.open()
        persister = await self._log(store)
        first = TokenRef(id="t" * 22, owner=GOVERNOR, stream="tally-1", version=1, minted=0)
        assert not await persister.settle(str(first))
        await self.manager(store).prune(TWO)
        with raises(TokenExpiredError):
            await persister.settle(str(first))

    @case
    async def test_a_repeated_command_whose_version_was_pruned_has_no_second_effect(self) -> None:
        store, archive = self.open(), MemoryArchive()
        persister = self.persister(store)
        first = await persister.append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        for n in range(1, 5):
            await persister.append(TALLIES, "1", Added(f"{n}"), expected=n)
        await self.manager(store, archive).prune(TWO)
        again = await self.persister(store, archive=archive).append(
            TALLIES, "1", Added("a"), expected=0, idempotency_key="k"
        )
        assert (again.data, again.version) == (first.data, 1)
        with raises(VersionNotFoundError):
            await self.persister(store).append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        assert (await persister.load(TALLIES, "1")).version == 5

    # Idempotency keys

    @case
    async def test_an_old_key_is_refused_once_it_may_be_forgotten(self) -> None:
        store = self.open()
        persister = self.persister(store)
        now = utc_of(store.runtime.now())
        keys = {days: timed_key("pay", now - timedelta(days=days)) for days in (0, 3, 9, 20)}
        for n, key in enumerate([*keys.values(), "plain"]):
            await persister.append(TALLIES, "1", Added(key), expected=n, idempotency_key=key)
        manager = self.manager(store)
        with raises(ConfigurationError):
            await manager.forget_keys(timedelta(days=1))
        assert await manager.forget_keys(timedelta(days=30)) == 0
        assert await manager.forget_keys(timedelta(days=9, hours=-1)) == 1
        assert await manager.forget_keys(timedelta(days=9, hours=-1)) == 0
        for key in (keys[0], keys[3], keys[9], "plain"):  # kept, or refused but not deleted yet
            again = await persister.append(TALLIES, "1", Added(key), expected=ANY, idempotency_key=key)
            assert again.version <= 5
        with raises(TokenExpiredError):
            await persister.append(TALLIES, "1", Added(keys[20]), expected=ANY, idempotency_key=keys[20])
        with raises(TokenExpiredError):
            await persister.append(
                TALLIES, "1", Added("x"), expected=ANY, idempotency_key=timed_key("new", now - timedelta(days=20))
            )
        assert (await persister.load(TALLIES, "1")).version == 5
        await manager.prune(RetentionPolicy(keep_last=1))
        assert await manager.pins() == []

    @case
    async def test_a_transaction_with_an_old_key_never_runs_again(self) -> None:
        store = self.open()
        manager = self._transactions(store)
        key = timed_key("pay", utc_of(store.runtime.now()) - timedelta(days=20))
        await manager.execute_transaction(self._paying(), idempotency_key=key)
        await self.manager(store).forget_keys(timedelta(days=5))
        with raises(TokenExpiredError):
            await manager.execute_transaction(self._paying(), idempotency_key=key)

    def _transactions(self, store: Store) -> Face:
        made: Any = TransactionManager if self.world.name == "sync" else AsyncTransactionManager
        return Face(made(store, governor=GOVERNOR))

    def _paying(self) -> Callable[..., Any]:
        def pay(transaction: Any) -> None:
            transaction.put_document("bills", "1", "paid")

        async def pay_async(transaction: Any) -> None:
            await transaction.put_document("bills", "1", "paid")

        return pay if self.world.name == "sync" else pay_async

    # Pins

    @case
    async def test_pins_come_before_policies(self) -> None:
        store = self.open()
        await self._log(store)
        manager = self.manager(store)
        await manager.hold("case", "tally-1", reason="a court asks", by="kim")
        await manager.hold("part", "tally-2", from_version=6)
        report = await manager.prune(OLD)
        assert report.held_by == {"hold:case": 1, "hold:part": 1}
        bases = await self._bases(store)
        assert (bases["tally-1"], bases["tally-2"]) == (0, 5)
        assert bases["note"] > 0
        assert [pin.name for pin in await manager.pins()] == ["case", "part"]
        (case_, _) = await manager.pins()
        assert (case_.state_id, case_.from_version, case_.reason, case_.by) == ("tally-1", 1, "a court asks", "kim")
        assert await manager.release("case")
        assert not await manager.release("case")
        await manager.prune(OLD)
        assert (await self._bases(store))["tally-1"] > 0
        await self.consistent(self.persister(store))

    @case
    async def test_a_machine_or_all_can_be_held(self) -> None:
        store = self.open()
        await self._log(store)
        manager = self.manager(store)
        await manager.hold("machine", machine="tally")
        assert (await manager.plan(OLD)).by_machine["tally"].pruned_events == 0
        assert (await manager.plan(OLD)).by_machine[""].pruned_events > 0
        await manager.hold("all")
        assert (await manager.plan(OLD)).total.pruned_events == 0

    @case
    async def test_what_a_subscription_has_not_read_stays(self) -> None:
        store = self.open()
        persister = await self._log(store)
        subscription = self._subscription(persister, "reader", state_id="tally-1")
        events = await subscription.deliveries(until_caught_up=True)
        await subscription.ack(events[6])
        for _ in range(2):
            report = await self.manager(store).prune(OLD)
            assert report.held_by == {"subscriptions": 1}
            assert (await self._bases(store))["tally-1"] == 7
        await subscription.ack(events[-1])
        assert (await self.manager(store).prune(OLD)).held_by == {}
        assert (await self._bases(store))["tally-1"] > 7

    def _subscription(self, persister: Face, name: str, **options: Any) -> Face:
        made: Any = Subscription if self.world.name == "sync" else AsyncSubscription
        return Face(made(persister.inner, name, **options))

    @case
    async def test_what_a_fork_needs_stays(self) -> None:
        store = self.open()
        await self._log(store)
        travel = TimeTravel if self.world.name == "sync" else AsyncTimeTravel
        await Face(travel(store, governor=GOVERNOR, machines=[TALLIES])).fork("tally-1", to="tally-9", at_version=6)
        await self.manager(store).prune(OLD)
        assert (await self._bases(store))["tally-1"] < 6
        assert (await self._bases(store))["tally-2"] > 6

    @case
    async def test_a_hold_that_makes_no_sense_is_refused(self) -> None:
        store = self.open()
        await self._log(store)
        manager = self.manager(store)
        await manager.hold("a", "tally-1", from_version=3)
        await manager.hold("a", "tally-1", from_version=3)
        for wrong in (
            {"name": "a", "state_id": "tally-1"},
            {"name": "b", "state_id": "tally-1", "machine": "tally"},
            {"name": "b", "from_version": 3},
            {"name": "", "state_id": "tally-1"},
            {"name": "b", "state_id": "tally-1", "from_version": 0},
        ):
            with raises(InvalidInputError):
                await manager.hold(**wrong)
        with raises(StateNotFoundError):
            await manager.hold("b", "nobody")
        with raises(VersionNotFoundError):
            await manager.hold("b", "tally-1", from_version=99)
        await manager.release("a")
        await manager.prune(OLD)
        with raises(VersionNotFoundError):
            await manager.hold("b", "tally-1", from_version=3)
        assert await manager.pins() == []

    @case
    async def test_a_hold_made_during_a_prune_holds_or_is_refused(self) -> None:
        """Whatever commit of the prune it comes before: what a hold was given for stays."""
        step = 0
        while True:
            step += 1
            store = self.open()
            await self._log(store)
            faulty = FaultyStore(store, runtime=self.world.steered())
            held: list[int | None] = []

            async def hold(store: Store = store, held: list[int | None] = held) -> None:
                for name, version in (("early", 3), ("all", None)):
                    try:
                        await self.manager(store).hold(name, "tally-1", from_version=version)
                        held.append(version or 1)
                    except VersionNotFoundError:
                        held.append(None)

            faulty.before_commit = on_call(step, hold)
            await self.manager(faulty).prune(OLD)
            if not held:
                break
            first, base = held[0], (await self._bases(store))["tally-1"]
            assert (first is None) == (base >= 3), f"step {step}"
            if first is not None:
                assert [n for n in await self._entries(store, "tally-1") if n >= first], f"step {step}"
                assert base == 0
            await self.manager(store).prune(OLD)
            assert (await self._bases(store))["tally-1"] == base, "a hold of all was passed over"
            await self.consistent(self.persister(store))
            await self._remove_all(store)
        assert step > 2

    # Disturbed

    @case
    async def test_it_can_end_before_any_commit_and_the_next_run_ends_the_work(self) -> None:
        whole = step = 0
        while True:
            store, archive = self.open(), MemoryArchive()
            before = await self._shown(await self._log(store))
            faulty = FaultyStore(store, [Fault.NONE] * step + [Fault.UNAVAILABLE])
            try:
                with patch.object(pruning, "GROUP_OPERATIONS", 9):  # so that it can end amid the deletes of a stream
                    await self.manager(faulty, archive).prune(OLD)
                is_done = True
            except StoreUnavailableError:
                is_done = False
            await self.consistent(self.persister(store))
            self._agrees(before, await self._shown(self.persister(store)), await self._bases(store))
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
            for id in ("tally-1", "note"):  # with a head that is lost just then
                await alter(store, head_key(id), b'"chain"', b'"chaim"')
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
            await self.persister(store).recover()
            await self.persister(store).append(TALLIES, "2", Added("more"), expected=ANY)
            await self.manager(store, archive).prune(OLD)
            bases = await self._bases(store)
            for id, base in bases.items():
                assert all(n > base for n in await self._entries(store, id)), f"{id} is not pruned to the end"
            await self.consistent(self.persister(store))
            del before["tally-2", 0]
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
            await self._remove_all(store)
            if is_done:
                break
            whole += 1
            step += 1 if store.capabilities.feed_order == "store" else 2  # where each round trip takes long
        assert whole >= 2

    @case
    async def test_an_archive_that_fails_leaves_everything(self) -> None:
        def refuse(_name: str) -> None:
            raise StoreUnavailableError(store="archive", detail="no connection")

        for when in ("before_put", "after_put"):
            store, archive = self.open(), MemoryArchive()
            before = await self._shown(await self._log(store))
            setattr(archive, when, refuse)
            with raises(StoreUnavailableError):
                await self.manager(store, archive).prune(OLD)
            self._agrees(before, await self._shown(self.persister(store)))
            setattr(archive, when, None)
            await self.manager(store, archive).prune(OLD)
            self._agrees(before, await self._shown(self.persister(store, archive=archive)))
            await self._remove_all(store)

    @case
    async def test_nothing_is_deleted_that_the_archive_does_not_give_back(self) -> None:
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))

        def damage(name: str) -> None:
            body = archive.blobs[name]
            archive.blobs[name] = body[:100] + bytes([body[100] ^ 1]) + body[101:]

        archive.after_put = damage
        with raises(CorruptionError):
            await self.manager(store, archive).prune(OLD)
        self._agrees(before, await self._shown(self.persister(store)))

    @case
    async def test_lost_answers_change_nothing(self) -> None:
        for fault in (Fault.LOST_ANSWER, Fault.LOST_REQUEST):
            for step in range(4):
                store, archive = self.open(), MemoryArchive()
                before = await self._shown(await self._log(store))
                faulty = FaultyStore(store, [Fault.NONE] * step + [fault], runtime=self.world.steered())
                report = await self.manager(faulty, archive).prune(OLD)
                assert not report.problems
                await self.consistent(self.persister(store))
                self._agrees(before, await self._shown(self.persister(store, archive=archive)))
                await self._remove_all(store)

    @case
    async def test_writers_go_on_meanwhile(self) -> None:
        """An append before each commit of the prune: none is lost, and the prune comes to its end."""
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))
        writer = self.persister(store, snapshot_every=2, keep_snapshots=1)
        faulty = FaultyStore(store, runtime=self.world.steered())
        written = 0

        async def write(_batch: Batch) -> None:
            nonlocal written
            if written < 10:
                await writer.append(TALLIES, "1", Added(f"w{written}"), expected=ANY)
                written += 1

        faulty.before_commit = write
        report = await self.manager(faulty, archive).prune(TWO)
        assert written > 1
        loaded = await self.persister(store).load(TALLIES, "1")
        assert loaded.version == 15 + written
        assert [mark for mark in loaded.data.marks if mark.startswith("w")] == [f"w{n}" for n in range(written)]
        assert report.total.pruned_events > 0
        await self.consistent(self.persister(store))
        after = await self._shown(self.persister(store, archive=archive))
        del before["tally-1", 0]
        self._agrees(before, after)

    @case
    async def test_readers_and_writers_do_not_notice_it(self) -> None:
        """At once: writers, readers of all versions, and prunes, one after the other."""
        store, archive = self.open(), MemoryArchive()
        ids = ("1", "2")
        for id in ids:
            await filled(self.persister(store, snapshot_every=4, keep_snapshots=2), id)
        writing = 2

        async def write(id: str) -> None:
            nonlocal writing
            persister = self.persister(store, snapshot_every=3, keep_snapshots=1)
            for n in range(8):
                await persister.append(TALLIES, id, Added(f"w{n}"), expected=ANY)
            writing -= 1

        async def read() -> None:
            persister = self.persister(store, archive=archive)
            while writing:
                for id in ids:
                    last = (await persister.load(TALLIES, id)).version
                    for version in (1, last // 2, last):
                        found = await persister.load(TALLIES, id, at_version=version)
                        assert len(found.data.marks) == version
                    steps = await persister.history(TALLIES, id)
                    assert [step.version for step in steps] == list(range(1, len(steps) + 1))

        async def prune() -> None:
            while writing:
                report = await self.manager(store, archive).prune(OLD)
                assert not [found for found in report.problems if "next run" not in found.problem], report.problems

        await self.together([lambda: write("1"), lambda: write("2"), read, prune, prune])
        await self.manager(store, archive).prune(OLD)
        await self.consistent(self.persister(store))
        for id in ids:
            assert (await self.persister(store).load(TALLIES, id)).version == 23
            assert len(await self.marks(self.persister(store, archive=archive), id)) == 23

    @case
    async def test_entries_go_oldest_first_and_never_the_last(self) -> None:
        store = self.open()
        await self._log(store)
        faulty = FaultyStore(store)
        await self.manager(faulty).prune(OLD)
        deleted: dict[str, list[int]] = {}
        for batch in faulty.sent:
            for operation in batch.operations:
                if isinstance(operation, Delete) and operation.key.kind == ENTRY:
                    deleted.setdefault(operation.key.id, []).append(operation.key.n)
        assert deleted
        assert all(versions == sorted(versions) for versions in deleted.values())
        for id in deleted:
            assert await self._entries(store, id), "the last entry is gone"

    @case
    async def test_nothing_goes_whose_base_is_not_there(self) -> None:
        """The snapshot that a stream is to begin at is lost before its entries are deleted: they stay."""
        store = self.open()
        await self._log(store)
        faulty = FaultyStore(store, [Fault.NONE, Fault.UNAVAILABLE])
        with raises(StoreUnavailableError):
            await self.manager(faulty).prune(OLD)
        base = (await self._bases(store))["tally-1"]
        entries = await self._entries(store, "tally-1")
        assert entries[0] == 1
        await remove(store, snapshot_key("tally-1", base))
        report = await self.manager(store).prune(OLD)
        assert [problem.state_id for problem in report.problems] == ["tally-1"]
        assert await self._entries(store, "tally-1") == entries

    # Archives

    @case
    async def test_a_damaged_archive_is_told_and_never_served(self) -> None:
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))
        await self.manager(store, archive).prune(OLD)
        ((name, body),) = archive.blobs.items()
        checked = await self.manager(store, archive).check_archive()
        assert checked.is_complete, checked.findings
        assert (checked.packs, checked.streams, checked.partial_streams) == (1, 5, 0)
        assert checked.events == sum((await self._bases(store)).values())
        served = told = 0
        for position in range(0, len(body), max(len(body) // 60, 1)):
            archive.blobs[name] = body[:position] + bytes([body[position] ^ 2]) + body[position + 1 :]
            assert (await self.manager(store, archive).check_archive()).findings
            reader = self.persister(store, archive=archive)
            for version in (1, 5, 9):
                try:
                    found = await reader.load("tally-1", at_version=version)
                except (CorruptionError, VersionNotFoundError):
                    told += 1
                else:
                    served += 1
                    assert found.data == before["tally-1", version][0]
        assert served
        assert told
        del archive.blobs[name]
        assert len((await self.manager(store, archive).check_archive()).findings) == 5
        with raises(ConfigurationError):
            await self.manager(store).check_archive()

    @case
    async def test_the_archive_of_another_history_is_passed_over(self) -> None:
        """As after a backup was restored: the archive holds what the stream has never been."""
        store, archive = self.open(), MemoryArchive()
        other = self.persister(store)
        for n in range(14):
            await other.append(TALLIES, "1", Added(f"other {n}"), expected=n)
        await self.manager(store, archive).prune(OLD)
        await self._remove_all(store)
        before = await self._shown(await self._log(store))
        await self.manager(store, archive).prune(OLD)
        self._agrees(before, await self._shown(self.persister(store, archive=archive)))

    @case
    async def test_an_archive_that_begins_later_serves_what_it_has(self) -> None:
        store, archive = self.open(), MemoryArchive()
        before = await self._shown(await self._log(store))
        await self.manager(store).prune(RetentionPolicy(keep_last=10))
        gone = (await self._bases(store))["tally-1"]
        await self.manager(store, archive).prune(TWO)
        after = await self._shown(self.persister(store, archive=archive))
        assert gone > 1
        for version in range(gone + 1, 16):
            assert after["tally-1", version] == before["tally-1", version]
        assert after["tally-1", gone][0] == before["tally-1", gone][0]
        assert ("tally-1", gone - 1) not in after
        checked = await self.manager(store, archive).check_archive()
        assert not checked.findings
        assert not checked.is_complete, "whether a pack was lost or never there can't be told"
        assert checked.partial_streams > 0

    @case
    async def test_archived_bytes_are_those_that_were_stored(self) -> None:
        store, archive = self.open(), MemoryArchive()
        await self._log(store)
        bodies = {document.key: document.body for document in (await store.scan(ENTRY, GOVERNOR)).documents}
        await self.manager(store, archive).prune(OLD)
        left = {document.key for document in (await store.scan(ENTRY, GOVERNOR)).documents}
        archived = b"".join(archive.blobs.values()).split(b"\n")
        for key, body in bodies.items():
            assert (key in left) != (body in archived), key
            assert stored_digest(body)
