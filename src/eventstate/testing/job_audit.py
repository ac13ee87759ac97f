"""Whether what is stored of runs, workstreams and jobs is what their events say: nothing more, nothing less."""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

from eventstate.core.documents import DOCUMENT
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import CorruptionError, StateDeletedError
from eventstate.jobs.job import JOBS, TRANSITIONS, Job, evolve
from eventstate.jobs.runs import index
from eventstate.jobs.runs.progress import (
    JOB_MACHINES,
    RUN_TRANSITIONS,
    RUNS,
    WORKSTREAM_TRANSITIONS,
    WORKSTREAMS,
    Run,
    Workstream,
    evolve_run,
    evolve_workstream,
)
from eventstate.machines.core import PersisterCore
from eventstate.machines.past import Transition
from eventstate.stores.base import Store

_RULES: Final[dict[str, tuple[Any, Any, frozenset[tuple[str, str, str]]]]] = {
    JOBS.name: (Job(), evolve, frozenset(TRANSITIONS)),
    RUNS.name: (Run(), evolve_run, frozenset(RUN_TRANSITIONS)),
    WORKSTREAMS.name: (Workstream(), evolve_workstream, frozenset(WORKSTREAM_TRANSITIONS)),
}


async def audit_jobs(store: Store, governor: str = "jobs") -> list[str]:
    """What is wrong, in words; empty if all is as it must be.

    Each stored status is the fold of all events of its stream, each step is in the table, and whatever names a run or
    a workstream is found by it, and nothing else is.
    """
    core = PersisterCore(store, governor, JOB_MACHINES, SnapshotPolicy(every=0))
    problems: list[str] = []
    expected: set[str] = set()
    after: str | None = ""
    while after is not None:
        items, after = await core.upkeep.recover_page(after)
        for item in items:
            machine, _, id = item.id.partition("-")
            if machine not in _RULES:
                continue
            problems += await _stream(core, item.id, machine, item.data)
            if item.status in ("rebuilt", "lost"):
                problems.append(f"{item.id}: its head was {item.status}")
            if item.data is not None:
                expected |= _found_by(machine, id, item.data)
    found = await _indexed(store, governor)
    problems += [f"{key} points to nothing" for key in sorted(found - expected)]
    problems += [f"{key} is missing" for key in sorted(expected - found)]
    return problems


async def _stream(core: PersisterCore, state_id: str, machine: str, stored: Any) -> list[str]:
    initial, evolving, table = _RULES[machine]
    try:
        steps, _ = await core.past.history_page(state_id, 1, None, limit=1_000_000)
    except CorruptionError as error:
        return [f"{state_id}: {error}"]
    own = [step for step in steps if not step.action.startswith("$")]
    problems = [f"{state_id}: {label}" for label in _illegal(initial, evolving, own, table)]
    try:
        current = (await core.load(state_id)).data
    except StateDeletedError:
        current = None
    told = reduce(evolving, (step.data for step in own), initial) if len(own) == len(steps) else None
    if not told == current == stored:
        problems.append(f"{state_id}: its events come to {told}, stored is {stored}, loaded {current}")
    return problems


def _illegal(initial: Any, evolving: Any, steps: list[Transition], table: frozenset[tuple[str, str, str]]) -> list[str]:
    found: list[str] = []
    state = initial
    for step in steps:
        after = evolving(state, step.data)
        if (state.status, step.action, after.status) not in table:
            found.append(f"{step.action} led from {state.status} to {after.status}")
        state = after
    return found


def _found_by(machine: str, id: str, state: Any) -> set[str]:
    if machine == RUNS.name:
        return {f"{index.RECENT_RUNS}/{index.recent_run(id, state.created_at)}"}
    if machine == WORKSTREAMS.name:
        return set() if state.run_id is None else {f"{index.RUN_WORKSTREAMS}/{state.run_id}/{id}"}
    found: set[str] = set()
    if state.run_id is not None:
        found.add(f"{index.RUN_JOBS}/{state.run_id}/{id}")
    if state.workstream_id is not None:
        found.add(f"{index.WORKSTREAM_JOBS}/{state.workstream_id}/{id}")
    return found


async def _indexed(store: Store, governor: str) -> set[str]:
    found: set[str] = set()
    for collection in (index.RECENT_RUNS, index.RUN_WORKSTREAMS, index.RUN_JOBS, index.WORKSTREAM_JOBS):
        after = None
        while True:
            page = await store.scan(DOCUMENT, governor, prefix=f"{collection}/", after=after)
            found |= {document.key.id for document in page.documents}
            after = page.next
            if after is None:
                break
    return found
