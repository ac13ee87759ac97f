"""Runs and workstreams as they are created, moved, annotated and deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from eventstate.core.codec import check_plain
from eventstate.core.ids import check_id
from eventstate.core.instants import utc_of
from eventstate.errors import (
    AlreadyExistsError,
    IllegalTransitionError,
    InvalidInputError,
    RunNotFoundError,
    StateDeletedError,
    WorkstreamNotFoundError,
)
from eventstate.jobs.runs import index
from eventstate.jobs.runs.names import check_name
from eventstate.jobs.runs.progress import (
    JOURNALS,
    RUN_STATUSES,
    RUNS,
    WORKSTREAMS,
    Noted,
    Run,
    RunCreated,
    RunNoted,
    Workstream,
    WorkstreamCreated,
    WorkstreamNoted,
    run_event,
    workstream_event,
)
from eventstate.jobs.runs.scope import Parents, Scope, append, members_of
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.transactions.fencing import Fences


class Keeping(Scope):
    """What happens to runs and workstreams."""

    # Runs

    async def create_run(
        self,
        ws_id: str | None,
        run_id: str | None,
        metadata: Mapping[str, Any] | None,
        more: Mapping[str, Any],
        fence: Fences,
    ) -> str:
        """As `JobStateStore.create_run`."""
        at = self.now()
        id = check_name("run id", self.new_id("run", at) if run_id is None else run_id)
        members = {**members_of("metadata", metadata), **({} if ws_id is None else {"ws_id": ws_id}), **more}
        check_plain(members, "$.metadata")

        async def create(transaction: TransactionCore) -> None:
            await _create(transaction, RUNS, id, RunCreated(at, members))
            await index.put_run(transaction, id, at)

        await self.commit(create, fence)
        return id

    async def update_run_status(self, run_id: str, status: str, fence: Fences) -> None:
        """As `JobStateStore.update_run_status`."""
        at = self.now()
        id, event = check_name("run id", run_id), run_event(_status(status), at)

        async def update(transaction: TransactionCore) -> None:
            run = await self._run(transaction, id)
            if run.status != status:
                await append(transaction, RUNS, id, event or _no_way_back(RUNS, run, status))

        await self.commit(update, fence)

    async def delete_run(self, run_id: str, fence: Fences) -> None:
        """As `JobStateStore.delete_run`."""
        id = check_name("run id", run_id)

        async def delete(transaction: TransactionCore) -> None:
            run = await self._run(transaction, id)
            await transaction.delete(RUNS.state_id(id), {})
            await index.delete_run(transaction, id, run.created_at)

        await self.commit(delete, fence)

    async def _run(self, transaction: TransactionCore, run_id: str) -> Run:
        found = await transaction.find(RUNS.state_id(run_id))
        if found is None:
            raise RunNotFoundError(governor=self.governor, run_id=run_id)
        return found.data

    # Workstreams

    async def create_workstream(
        self,
        run_id: str | None,
        ws_id: str | None,
        depends_on: Iterable[str],
        metadata: Mapping[str, Any] | None,
        more: Mapping[str, Any],
        fence: Fences,
    ) -> str:
        """As `JobStateStore.create_workstream`."""
        at = self.now()
        id = check_name("workstream id", self.new_id("ws", at) if ws_id is None else ws_id)
        if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError("depends_on: pass a list of workstream ids")
        before = [check_name("workstream id", other) for other in depends_on]
        members = {**members_of("metadata", metadata), **more}
        check_plain(members, "$.metadata")
        await self.check_parents(Parents(run_id).check())

        async def create(transaction: TransactionCore) -> None:
            await _create(transaction, WORKSTREAMS, id, WorkstreamCreated(at, run_id, before, members))
            await index.put_workstream(transaction, id, run_id)

        await self.commit(create, fence)
        return id

    async def update_workstream_status(self, ws_id: str, status: str, fence: Fences) -> None:
        """As `JobStateStore.update_workstream_status`."""
        at = self.now()
        id, event = check_name("workstream id", ws_id), workstream_event(_status(status), at)

        async def update(transaction: TransactionCore) -> None:
            workstream = await self._workstream(transaction, id)
            if workstream.status != status:
                await append(transaction, WORKSTREAMS, id, event or _no_way_back(WORKSTREAMS, workstream, status))

        await self.commit(update, fence)

    async def _workstream(self, transaction: TransactionCore, ws_id: str) -> Workstream:
        found = await transaction.find(WORKSTREAMS.state_id(ws_id))
        if found is None:
            raise WorkstreamNotFoundError(governor=self.governor, workstream_id=ws_id)
        return found.data

    # Events

    async def record_event(self, event_type: str, payload: Mapping[str, Any], fence: Fences) -> None:
        """As `JobStateStore.record_event`."""
        at = self.now()
        name, members = check_id("event type", event_type), members_of("payload", payload)
        check_plain(members, "$.payload")
        run_id, ws_id = members.get("run_id"), members.get("ws_id")
        if ws_id is None:
            ws_id = members.get("workstream_id")
        await self.check_parents(Parents(run_id, ws_id).check())

        async def record(transaction: TransactionCore) -> None:
            if run_id is not None:
                await self._run(transaction, run_id)
                await append(transaction, RUNS, run_id, RunNoted(at, name, members))
            elif ws_id is not None:
                await self._workstream(transaction, ws_id)
                await append(transaction, WORKSTREAMS, ws_id, WorkstreamNoted(at, name, members))
            else:
                await append(transaction, JOURNALS, f"{utc_of(at):%Y-%m-%d}", Noted(at, name, members))

        await self.commit(record, fence)


async def _create(transaction: TransactionCore, machine: Machine[Any, Any], id: str, event: object) -> None:
    """Append the first event of a stream.

    Raises:
        AlreadyExistsError: the id is used, or was: the events of what was deleted are still there.
    """
    try:
        is_there = await transaction.find(machine.state_id(id)) is not None
        if not is_there:
            await append(transaction, machine, id, event)
    except StateDeletedError:
        is_there = True
    if is_there:
        raise AlreadyExistsError(what=machine.name, id=id)


def _status(status: object) -> str:
    if not isinstance(status, str) or status not in RUN_STATUSES:
        raise InvalidInputError(f"{status!r} is no status: use {', '.join(RUN_STATUSES)}")
    return status


def _no_way_back(machine: Machine[Any, Any], state: Any, status: str) -> NoReturn:
    """Refuse a status that nothing leads to but the beginning."""
    action = f"{machine.name}.{status}"
    raise IllegalTransitionError(machine=machine.name, state=state.status, action=action, legal=machine.actions(state))
