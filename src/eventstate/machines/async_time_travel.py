"""The asyncio face of time travel: the methods of `TimeTravel`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from eventstate.core.metadata import stored_metadata
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.replaying import ReplayChecker, ReplayReport
from eventstate.machines.async_keyring import AsyncKeyring
from eventstate.machines.comparing import Place, StateDiff, compare
from eventstate.machines.core import PersisterCore
from eventstate.machines.forking import Fork, Forking, Origin
from eventstate.machines.machine import Machine
from eventstate.machines.past import HistoryPlace, Transition
from eventstate.machines.states import StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences


class AsyncTimeTravel:
    """`TimeTravel` for asyncio; its store is one of `open_async_store`."""

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        snapshot_every: int = 100,
        keep_snapshots: int = 5,
        keyring: AsyncKeyring | None = None,
        archive: Archive | None = None,
    ) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use TimeTravel with it")
        policy = SnapshotPolicy(every=snapshot_every, keep=keep_snapshots)
        keys = keyring.core if keyring is not None else None
        self._core = PersisterCore(store, governor, machines, policy, keys, archive)
        self._forking = Forking(self._core)

    async def diff(self, a: Place, b: Place) -> StateDiff:
        """As `TimeTravel.diff`."""
        return await compare(self._core, a, b)

    async def fork(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        to: str,
        at_version: int | None = None,
        at_time: datetime | None = None,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]:
        """As `TimeTravel.fork`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        core = self._core
        return await self._forking.fork(
            core.resolve(target, id),
            core.resolve(*((to, None) if id is None else (target, to))),
            at_version=at_version,
            at_time=at_time,
            metadata=metadata,
            idempotency_key=idempotency_key,
            fence=fence,
        )

    async def lineage(self, target: Machine[Any, Any] | str, id: str | None = None) -> list[Origin]:
        """As `TimeTravel.lineage`."""
        return await self._forking.lineage(self._core.resolve(target, id))

    async def forks(self, target: Machine[Any, Any] | str | None = None, id: str | None = None) -> AsyncIterator[Fork]:
        """As `TimeTravel.forks`."""
        parent = None if target is None else self._core.resolve(target, id)
        after: str | None = ""
        while after is not None:
            forks, after = await self._forking.forks_page(parent, after)
            for fork in forks:
                yield fork

    async def release_fork(self, target: Machine[Any, Any] | str, id: str | None = None) -> bool:
        """As `TimeTravel.release_fork`."""
        return await self._forking.release(self._core.resolve(target, id))

    async def history(self, target: Machine[Any, Any] | str, id: str | None = None) -> AsyncIterator[Transition]:
        """As `TimeTravel.history`."""
        for section in await self._forking.sections(self._core.resolve(target, id)):
            place: HistoryPlace | None = None
            while True:
                transitions, place = await self._forking.history_page(section, place)
                for transition in transitions:
                    yield transition
                if place is None:
                    break

    async def replay_check(
        self,
        *,
        prefix: str = "",
        resume: ReplayReport | None = None,
        judge_transitions: bool = False,
        keep: int = 1000,
        progress: Callable[[ReplayReport], None] | None = None,
    ) -> ReplayReport:
        """As `TimeTravel.replay_check`."""
        report = resume or ReplayReport(keep=keep)
        checker = ReplayChecker(
            self._core.store, self._core.governor, self._core.fold_of, judge_transitions=judge_transitions
        )
        while not report.is_finished:
            await checker.page(report, prefix=prefix)
            if progress is not None:
                progress(report)
        return report
