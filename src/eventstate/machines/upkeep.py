"""What keeps a persister's streams quick and sound: snapshots, recovery, verification, numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from eventstate.core.backoff import full_jitter
from eventstate.core.documents import HEAD, SNAPSHOT, Committed, Document, Key
from eventstate.core.fold import Fold, same_state
from eventstate.core.format import (
    NO_STATE,
    Image,
    Tip,
    decode_head,
    decode_snapshot,
    entry_key,
)
from eventstate.core.ids import machine_of
from eventstate.core.instants import utc_of
from eventstate.core.planner import plan_head, plan_snapshot
from eventstate.errors import (
    CorruptionError,
    EventStateError,
    StateDeletedError,
    StateNotFoundError,
    StoreError,
    StoreReadOnlyError,
    TransactionConflictError,
)
from eventstate.log.appending import ATTEMPTS
from eventstate.log.reading import Known, kept_state, usable
from eventstate.log.sealing.files import SealFile
from eventstate.log.verification import Verification
from eventstate.log.verify import ConsistencyReport
from eventstate.machines.reports import RecoveredState, StoreStats, current
from eventstate.machines.scope import Scope
from eventstate.machines.states import StateSnapshot


class Upkeep:
    """The upkeep of a persister's streams."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def create_snapshot(self, state_id: str) -> int:
        """Keep the current state as a snapshot; its version."""
        fold = self._scope.fold_of(state_id)
        for attempt in range(1, ATTEMPTS + 1):
            known = await self._scope.appender.planner.current(state_id)
            if known is None:
                raise StateNotFoundError(governor=self._scope.governor, state_id=state_id)
            head, state, _ = await self._scope.reader.state_of(known, fold)
            self._scope.check_there(head.tip)
            image = Image(fold.dump(state), fold.version, fold.schema, fold.label(state))
            token = self._scope.store.runtime.unique()
            plan = plan_snapshot(head.tip, image, head.action, head.metadata, self._scope.policy, token=token)
            result = await self._scope.appender.committer.commit_guarded(plan.batch)
            self._scope.appender.forget(state_id)
            if isinstance(result, Committed):
                return head.tip.version
            entry = entry_key(head.tip, head.tip.last)
            if not (await self._scope.store.get([entry])).documents:
                raise CorruptionError(where=str(entry), problem="the entry is missing, the head is beyond it")
            await self._scope.store.runtime.sleep(full_jitter(attempt, self._scope.store.runtime.random()))
        raise TransactionConflictError(
            keys=(str(self._scope.reader.key(state_id)),), detail="others were faster every time"
        )

    async def load_snapshot(self, state_id: str, version: int | None) -> StateSnapshot[Any] | None:
        """The newest kept snapshot (at or below ``version``), or None."""
        tip = await self._scope.tip_of(state_id)
        fold = self._scope.fold_of(state_id)
        for kept in reversed(tip.snapshots):
            if version is not None and kept > version:
                continue
            key = Key(SNAPSHOT, self._scope.governor, state_id, kept)
            document = (await self._scope.store.get([key])).documents.get(key)
            if document is None:
                continue
            try:
                snapshot, plain = decode_snapshot(document)
            except CorruptionError:
                continue
            if usable(snapshot.image, fold, str(key), plain, kept):
                state = fold.load(plain, snapshot.image.schema, str(key))
                return StateSnapshot(id=state_id, data=state, version=kept, timestamp=utc_of(snapshot.at))
        return None

    async def rebuild(self, state_id: str, *, full: bool) -> StateSnapshot[Any]:
        """Replay a stream and write its head anew where that does not agree."""
        tip = (await self._scope.reader.repaired(state_id)).tip
        fold = self._scope.fold_of(state_id)
        if tip.deleted:
            await self._mend_deleted(state_id)
            raise StateDeletedError(state_id=state_id, version=tip.version)
        source = _without_snapshots(tip) if full else tip
        at = await self._scope.reader.rebuild(source, fold, tip.version)
        action = at.event.type if at.event else ""
        metadata: Mapping[str, Any] = at.event.metadata if at.event else {}
        if not await self._agrees(tip, fold, at.state):
            image = Image(fold.dump(at.state), fold.version, fold.schema, fold.label(at.state))
            plan = plan_head(tip, image, action, metadata, token=self._scope.store.runtime.unique())
            with suppress(StoreReadOnlyError):  # the state is known all the same
                await self._scope.appender.committer.commit_guarded(plan.batch)
            self._scope.appender.forget(state_id)
        return self._scope.snapshot(tip, at.state, action, metadata, tip.version - 1, None, recovered=True)

    async def _mend_deleted(self, state_id: str) -> None:
        key = self._scope.reader.key(state_id)
        document = (await self._scope.store.get([key])).documents.get(key)
        try:
            if document is not None:
                decode_head(document)
                return
        except CorruptionError:
            pass
        await self._scope.appender.planner.mend(state_id)

    async def _agrees(self, tip: Tip, fold: Fold, state: Any) -> bool:
        document = (await self._scope.store.get([tip.key])).documents.get(tip.key)
        if document is None:
            return False
        try:
            head, plain = decode_head(document)
            if (
                head.image is None
                or plain is NO_STATE
                or not usable(head.image, fold, str(tip.key), plain, tip.version)
            ):
                return False
            same = same_state(fold, fold.load(plain, head.image.schema, str(tip.key)), state)
        except CorruptionError:
            return False
        return same and head.tip.digest == tip.digest

    async def recover_page(self, after: str, limit: int = 500) -> tuple[list[RecoveredState], str | None]:
        """Some streams, each from its head, or rebuilt from the log where the head can't be trusted."""
        page = await self._scope.store.scan(HEAD, self._scope.governor, after=self._scope.after(after), limit=limit)
        items: list[RecoveredState] = []
        for document in page.documents:
            id = document.key.id
            try:
                version, state = kept_state(document, self._scope.fold_of(id))
            except Exception:  # noqa: BLE001 - whatever it is, the careful way meets it again
                version, state = 0, NO_STATE
            item = await self._recovered(document) if state is NO_STATE else current(id, version, state)
            if item is not None:
                items.append(item)
        return items, page.next.id if page.next else None

    async def _recovered(self, document: Document) -> RecoveredState | None:
        id = document.key.id
        fold = self._scope.fold_of(id)
        problem = None
        try:
            head, state, rebuilt = await self._scope.reader.state_of(Known(document), fold)
            if head.tip.version == 0:
                return None
            if head.tip.deleted:
                return RecoveredState(id, head.tip.version, None, "deleted")
            return RecoveredState(id, head.tip.version, state, "rebuilt" if rebuilt else "current")
        except CorruptionError as error:
            problem = str(error)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - of evolve; one stream must not keep the others from recovery
            return _lost(id, error)
        try:
            found = await self.rebuild(id, full=False)
            return RecoveredState(id, found.version, found.data, "rebuilt", problem)
        except StateDeletedError as error:
            return RecoveredState(id, error.version, None, "deleted", problem)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return _lost(id, error)

    def verification(self, seal: SealFile | None, resume: ConsistencyReport | None) -> Verification:
        """A run over all streams, page by page."""
        return Verification(self._scope.store, self._scope.governor, self._scope.fold_of, against=seal, earlier=resume)

    async def stats(self) -> StoreStats:
        """Numbers of this governor, from one scan of its heads."""
        states = deleted = events = versions = highest = snapshots = 0
        by_machine: dict[str, int] = {}
        written = set(self._scope.machines)
        key: Key | None = None
        while True:
            page = await self._scope.store.scan(HEAD, self._scope.governor, after=key)
            for document in page.documents:
                try:
                    head = decode_head(document)[0]
                    tip, image = head.tip, head.image
                except CorruptionError:
                    tip, image = (await self._scope.reader.repaired(document.key.id)).tip, None
                if tip.version == 0:
                    continue
                states += not tip.deleted
                deleted += tip.deleted
                events += tip.version - (tip.base.version if tip.base else 0)
                versions += tip.version
                highest = max(highest, tip.version)
                snapshots += len(tip.snapshots)
                name = machine_of(tip.id)
                by_machine[name] = by_machine.get(name, 0) + 1
                if image is not None and image.fold:
                    written.add(name)
            key = page.next
            if key is None:
                return StoreStats(
                    total_states=states,
                    deleted_states=deleted,
                    total_events=events,
                    total_versions=versions,
                    max_version=highest,
                    total_snapshots=snapshots,
                    states_by_machine=_of_machines(by_machine, written),
                )


def _of_machines(counts: Mapping[str, int], machines: Collection[str]) -> dict[str, int]:
    """Counts by what ids begin with, those under '' whose beginning names no machine."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        owner = name if name in machines else ""
        found[owner] = found.get(owner, 0) + count
    return found


def _without_snapshots(tip: Tip) -> Tip:
    return tip._replace(snapshots=(tip.base.version,) if tip.base else ())


def _lost(id: str, error: Exception) -> RecoveredState:
    text = str(error) if isinstance(error, EventStateError) else f"{id}: {type(error).__name__}: {error}"
    text = "; ".join([text, *getattr(error, "__notes__", ())])
    return RecoveredState(id, 0, None, "lost", text)
