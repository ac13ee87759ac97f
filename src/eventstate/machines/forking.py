"""Forks: new streams that begin with the state of another one, and remember whose it was.

A fork's first event carries the parent's state and names the parent and the version. So a fork is one commit, however
long the parent's history is, and needs nothing of the parent afterwards. What happened before it is read in the parent,
where a pin asks retention to keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from eventstate.core.chain import genesis
from eventstate.core.documents import ENTRY, PIN, Batch, Document, Key, Operation, Require
from eventstate.core.format import FORKED, NewEvent, decode_entry
from eventstate.core.ids import machine_of
from eventstate.core.instants import utc_of
from eventstate.core.pins import pin_operations, unpin_operations
from eventstate.errors import CorruptionError, InvalidInputError, StateNotFoundError
from eventstate.log.commands import checked_key
from eventstate.log.planning import Change
from eventstate.machines.core import PersisterCore
from eventstate.machines.past import HistoryPlace, Transition
from eventstate.machines.protecting import ProtectedFold
from eventstate.machines.states import StateSnapshot, written_state
from eventstate.transactions.fencing import Fences, fences_of

_KIND: Final = "fork"
_PREFIX: Final = f"{_KIND}:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a fork comes from: the state of a stream at a version."""

    governor: str
    state_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A fork that pins the history of its parent up to a version."""

    state_id: str
    parent: str
    version: int
    forked_at: datetime


class Forking:
    """The forks of one governor."""

    def __init__(self, core: PersisterCore) -> None:
        self._core = core

    async def fork(
        self,
        parent: str,
        child: str,
        *,
        at_version: int | None,
        at_time: datetime | None,
        metadata: Mapping[str, Any],
        idempotency_key: str | None,
        fence: Fences,
    ) -> StateSnapshot[Any]:
        """Begin the stream ``child`` with the state of ``parent``; see `TimeTravel.fork`."""
        core = self._core
        if machine_of(parent) != machine_of(child) and core.fold_of(parent).bare is not core.fold_of(child).bare:
            raise InvalidInputError(f"{child!r} would be of another machine than {parent!r}: a fork is of its parent's")
        if parent == child:
            raise InvalidInputError(f"{child!r} can't be a fork of itself: give it an id of its own")
        key = checked_key(idempotency_key)
        fingerprint = orjson.dumps(["fork", parent, child, at_version, at_time]) if key is not None else b""
        if await core.appender.commands.earlier(key, fingerprint) is not None:
            return await core.load(child, at_version=1)  # whatever has become of the parent since
        state = await core.load(parent, at_version=at_version, at_time=at_time)
        receipt = await core.appender.append(
            [await self._change(state, child, metadata)],
            idempotency_key=key,
            fingerprint=fingerprint,
            fences=fences_of(fence, core.governor, core.store.epoch),
            extra=lambda token: self._pin(state, child, token),
        )
        if receipt.earlier is not None:
            return await core.load(child, at_version=1)
        stream = receipt.streams[0]
        if stream.known.tip is None:
            return await core.load(child, at_version=1)
        return written_state(stream.known, stream.tip, stream.state, stream.action, receipt.position)

    async def _change(self, state: StateSnapshot[Any], child: str, metadata: Mapping[str, Any]) -> Change:
        core = self._core
        fold = core.fold_of(child)
        origin = {"governor": core.governor, "id": state.id, "version": state.version, "fold": fold.version}
        data = await self._inherit(fold, state) if isinstance(fold, ProtectedFold) else state.data
        event = NewEvent(FORKED, data=orjson.dumps(origin), state=fold.bare.dump(data), schema=fold.schema)

        def forked(_state: Any, _version: int) -> Sequence[NewEvent]:
            return (event,)

        if isinstance(fold, ProtectedFold):
            return Change(child, fold, fold.protecting(forked), 0, metadata)
        return Change(child, fold, forked, 0, metadata)

    async def _inherit(self, fold: ProtectedFold, parent: StateSnapshot[Any]) -> Any:
        """Have the child's rules know whom the parent's state is about; that state, of the same read.

        Between two reads somebody in it could be erased: the state would still name whom the keys know no more.
        """
        core = self._core
        parents = core.fold_of(parent.id)
        at = await core.past.rebuilt(parent.id, parents, parent.version)
        assert isinstance(parents, ProtectedFold)
        fold.inherit(parents)
        return at.state

    def _pin(self, state: StateSnapshot[Any], child: str, token: str) -> Sequence[Operation]:
        # All of the parent's history up to the fork is told as the fork's own, so all of it stays.
        members = {
            "kind": _KIND,
            "stream": state.id,
            "from": 1,
            "n": state.version,
            "by": child,
            "at": self._core.store.runtime.now(),
        }
        pin, register = pin_operations(self._core.governor, _PREFIX + child, members, token)
        # That the fork's stream does not exist is what tells whether another was faster.
        return (pin._replace(when=Require.ANY), register)

    def _key(self, child: str) -> Key:
        return Key(PIN, self._core.governor, _PREFIX + child)

    async def release(self, child: str) -> bool:
        """Remove the pin of a fork; False if there was none."""
        key = self._key(child)
        store = self._core.store
        if key not in (await store.get([key])).documents:
            return False
        batch = Batch(store.runtime.unique(), unpin_operations(self._core.governor, key.id))
        await self._core.appender.committer.commit_guarded(batch)
        return True

    async def origin(self, state_id: str) -> Origin | None:
        """Where a stream was forked from; None for one that was not.

        Raises:
            CorruptionError: its first entry is not what was written.
        """
        governor = self._core.governor
        first = (await self._core.store.scan(ENTRY, governor, id=state_id, limit=1)).documents
        if not first:
            return None
        if _is_the_beginning(first[0]):
            event = decode_entry(first[0], genesis(governor, state_id)).event(1)
            if event.type != FORKED:
                return None
            data = event.body["data"]
            return Origin(governor=data["governor"], state_id=data["id"], version=data["version"])
        # The beginning is pruned. Its pin still tells, where it is not released.
        key = self._key(state_id)
        pin = (await self._core.store.get([key])).documents.get(key)
        if pin is None:
            return None
        fork = _fork_of(pin)
        return Origin(governor=governor, state_id=fork.parent, version=fork.version)

    async def lineage(self, state_id: str) -> list[Origin]:
        """The streams that a stream descends from, its parent first; empty for one that is no fork."""
        await self._core.tip_of(state_id)
        found: list[Origin] = []
        origin = await self.origin(state_id)
        while origin is not None and origin not in found:
            found.append(origin)
            origin = await self.origin(origin.state_id) if origin.governor == self._core.governor else None
        return found

    async def forks_page(self, parent: str | None, after: str, limit: int = 200) -> tuple[list[Fork], str | None]:
        """Some of the forks of a stream, or of all, in id order, and the id to go on from (None at the end)."""
        key = self._key(after) if after else None
        page = await self._core.store.scan(PIN, self._core.governor, prefix=_PREFIX, after=key, limit=limit)
        forks = [_fork_of(document) for document in page.documents]
        following = page.next.id[len(_PREFIX) :] if page.next is not None else None
        return [fork for fork in forks if parent is None or fork.parent == parent], following

    async def sections(self, state_id: str) -> list[tuple[str, int | None]]:
        """The streams that hold the whole history of a fork, oldest first, and the last version to read in each."""
        lineage = await self.lineage(state_id)
        near = [origin for origin in lineage if await self._is_here(origin)]
        return [*((origin.state_id, origin.version) for origin in reversed(near)), (state_id, None)]

    async def _is_here(self, origin: Origin) -> bool:
        """Whether a parent is in this governor and store: a fork can have been copied without it."""
        if origin.governor != self._core.governor:
            return False
        try:
            await self._core.tip_of(origin.state_id)
        except StateNotFoundError:
            return False
        return True

    async def history_page(
        self, section: tuple[str, int | None], place: HistoryPlace | None
    ) -> tuple[list[Transition], HistoryPlace | None]:
        """A page of the history of one section, and the place to go on from (None at its end)."""
        return await self._core.past.history_page(section[0], 1, section[1], resume=place)


def _is_the_beginning(entry: Document) -> bool:
    """Whether an entry holds version 1 of its stream.

    Raises:
        CorruptionError: its bytes are no entry.
    """
    try:
        members = orjson.loads(entry.body)
        return entry.key.n == len(members["e"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(entry.key), problem=f"it is no entry ({error})") from None


def _fork_of(pin: Document) -> Fork:
    try:
        members = orjson.loads(pin.body)
        at = utc_of(members["at"])
        return Fork(state_id=members["by"], parent=members["stream"], version=members["n"], forked_at=at)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(pin.key), problem=f"it is no pin of a fork ({error})") from None
