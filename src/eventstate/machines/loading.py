"""What a persister reads: states as they are, one by one and in lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventstate.core.documents import HEAD, Document
from eventstate.core.fold import PLAIN
from eventstate.core.format import decode_head
from eventstate.core.ids import machine_of
from eventstate.errors import CorruptionError, InvalidInputError, StateDeletedError, StateNotFoundError
from eventstate.log.reading import Known
from eventstate.machines.scope import Scope
from eventstate.machines.states import StatePage, StateSnapshot

if TYPE_CHECKING:
    from eventstate.machines.past import Past


class Loading(Scope):
    """The reading half of a persister."""

    @property
    def past(self) -> Past:
        """What was: earlier states, and histories."""
        from eventstate.machines.past import Past  # many look at nothing but the present

        return Past(self)

    async def load(
        self, state_id: str, *, at_version: int | None = None, at_time: datetime | None = None
    ) -> StateSnapshot[Any]:
        if at_version is not None and at_time is not None:
            raise InvalidInputError("pass at_version or at_time, not both")
        if at_version is not None:
            return await self.past.at_version(state_id, at_version)
        if at_time is not None:
            return await self.past.at_time(state_id, at_time)
        known, recovered = await self.known(state_id)
        fold = self.fold_of(state_id)
        try:
            head, state, rebuilt = await self.reader.state_of(known, fold)
        except CorruptionError as error:
            if error.where != str(known.document.key):
                if not recovered and await self.has_moved(decode_head(known.document)[0].tip):
                    return await self.load(state_id)
                raise
            known, recovered = await self._known_from_log(state_id), True
            head, state, rebuilt = await self.reader.state_of(known, fold)
        self.check_there(head.tip)
        if rebuilt:
            known = Known(known.document, fold.dump(state))
        if known.document.revision:
            self.appender.remember(state_id, known)
        return self.current(head, state, known, recovered or (rebuilt and head.image is not None))

    async def list_page(
        self, *, prefix: str, machine: str | None, state: str | None, after: str, limit: int
    ) -> StatePage:
        """Some of the states that exist, in id order."""
        if limit < 1:
            raise InvalidInputError(f"limit={limit}: ask for at least one")
        if machine is not None:
            prefix = prefix or f"{machine}-"
        states: list[StateSnapshot[Any]] = []
        key = self.after(after)
        while True:
            page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=key, limit=limit)
            for document in page.documents:
                found = await self._listed(document, machine, state)
                if found is not None:
                    states.append(found)
                if len(states) == limit:
                    more = page.next is not None or document is not page.documents[-1]
                    return StatePage(states, document.key.id if more else None)
            key = page.next
            if key is None:
                return StatePage(states, None)

    async def _listed(self, document: Document, machine: str | None, state: str | None) -> StateSnapshot[Any] | None:
        id = document.key.id
        if machine is not None and machine_of(id) != machine:
            return None
        fold = self.fold_of(id)
        try:
            head, data, rebuilt = await self.reader.state_of(Known(document), fold)
        except CorruptionError:
            try:
                found = await self.load(id)
            except (StateDeletedError, StateNotFoundError):
                return None
            return found if state is None or fold.label(found.data) == state else None
        if head.tip.version == 0 or head.tip.deleted:
            return None
        label = head.action if fold is PLAIN else fold.label(data)
        if state is not None and label != state:
            return None
        return self.current(head, data, Known(document), rebuilt)

    async def present(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any]]:
        """Those of these states that exist, in this order: read together, at one time each."""
        keys = [self.reader.key(id) for id in state_ids]
        documents = (await self.store.get(keys)).documents
        found: dict[str, StateSnapshot[Any]] = {}
        for key in keys:
            document = documents.get(key)
            listed = None if document is None else await self._listed(document, None, None)
            if listed is not None:
                found[key.id] = listed
        return found

    async def governors(self) -> list[str]:
        found: list[str] = []
        while True:
            page = await self.store.owners(after=found[-1] if found else "")
            if not page:
                return found
            found.extend(page)

    async def exists(self, state_id: str) -> bool:
        try:
            tip = await self.tip_of(state_id)
        except StateNotFoundError:
            return False
        return not tip.deleted

    async def batch_get(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any] | None]:
        found: dict[str, StateSnapshot[Any] | None] = {}
        for id in state_ids:
            try:
                found[id] = await self.load(id)
            except (StateNotFoundError, StateDeletedError):
                found[id] = None
        return found
