"""Taking seals: every stream of a governor as it is now, held against the seal before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eventstate.core.backoff import full_jitter
from eventstate.core.chain import stored_digest
from eventstate.core.documents import (
    ENTRY,
    HEAD,
    SEAL,
    Batch,
    Check,
    Committed,
    Delete,
    Document,
    Key,
    Operation,
    Put,
    Require,
)
from eventstate.core.format import Tip, decode_head
from eventstate.core.ids import MAX_VERSION
from eventstate.core.pins import pin_operations, unpin_operations
from eventstate.core.seals import (
    LISTS,
    PART_BYTES,
    ROLL,
    Root,
    Seal,
    SealedTip,
    decode_seal,
    encode_part,
    encode_seal,
    part_key,
    problem_with,
    seal_key,
    sealed_tip,
)
from eventstate.errors import CorruptionError, InvalidInputError, TransactionConflictError
from eventstate.log.sealing.lists import SealedList, StoredPages
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

KEEP_LISTS = 10
"""Seals whose lists are kept; without its list a seal proves nothing but the seals before it."""

ATTEMPTS = 20
LOOKS = 10
"""How often a stream is looked at that others keep writing."""

HEADS = 500
ENTRIES = 50
"""Entries read at a time: each may be 900 KiB."""

ABANDONED_MICROS = 24 * 3600 * 1_000_000
"""A list of this age that no seal names was left behind by somebody who died."""

Progress = Callable[[int], None]


FIRST = "seal:first"
"""The pin of a first seal that is being taken."""


class Roll(NamedTuple):
    """The seals of a governor: the newest one, and the names of all lists, oldest first."""

    newest: Seal | None
    lists: Sequence[str]


@dataclass(slots=True)
class _Draft:
    """A list that is being written."""

    name: str
    root: Root
    streams: int = 0
    events: int = 0
    parts: int = 0


class Sealer:
    """Takes the seals of one governor."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._committer = Committer(store, owner)

    async def page(self, previous: Seal | None) -> tuple[list[Seal], bool]:
        """The seals that follow one, each checked against the one before, and whether there may be more.

        Raises:
            CorruptionError: a seal is changed or missing.
        """
        after = previous.key if previous is not None else seal_key(self._owner, 0)
        page = await self._store.scan(SEAL, self._owner, id=ROLL, after=after)
        found: list[Seal] = []
        for document in page.documents:
            previous = decode_seal(document, previous)
            found.append(previous)
        return found, page.next is not None

    async def roll(self) -> Roll:
        """All seals, checked. Raises like `page`."""
        newest: Seal | None = None
        lists: list[str] = []
        more = True
        while more:
            found, more = await self.page(newest)
            lists.extend(sealed.listed for sealed in found)
            newest = found[-1] if found else newest
        return Roll(newest, lists)

    async def numbered(self, number: int | None) -> Seal:
        """The seal of a number, or the newest.

        Raises:
            InvalidInputError: there is none.
            CorruptionError: a seal is changed or missing.
        """
        newest: Seal | None = None
        more = True
        while more:
            found, more = await self.page(newest)
            for newest in found:
                if newest.number == number:
                    return newest
        if newest is None or number is not None:
            which = "no seal" if number is None else f"no seal {number}"
            raise InvalidInputError(f"governor {self._owner!r} has {which}; 'eventstate seal' takes one")
        return newest

    def listed(self, sealed: Seal) -> SealedList:
        """What a seal saw, by the list in the store."""
        return SealedList(sealed, StoredPages(self._store, sealed))

    async def take(self, *, anew: bool, keep: int, progress: Progress | None) -> Seal:
        """Seal every stream as it is now.

        Raises:
            CorruptionError: a stream is not what the seal before saw, or a head is corrupt. Nothing is sealed.
            TransactionConflictError: others took a seal each time.
            StoreError: the store did not take it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            roll = await self.roll()
            draft = _Draft(LISTS + self._store.runtime.unique(), Root(self._owner))
            started = self._store.runtime.now()
            if roll.newest is None:
                await self._pin()
            try:
                await self._write_list(draft, roll.newest if not anew else None, progress)
            except (CorruptionError, TransactionConflictError):
                await self._remove(draft.name, ())
                if roll.newest is None:
                    await self._unpin()
                raise
            sealed = self._seal(draft, roll.newest, started, anew=anew)
            if await self._commit(sealed, draft):
                await self._tidy(Roll(sealed, [*roll.lists, sealed.listed]), keep)
                return sealed
            await self._remove(draft.name, ())
            await self._store.runtime.sleep(full_jitter(attempt, self._store.runtime.random()))
        key = str(seal_key(self._owner, 1))
        raise TransactionConflictError(keys=(key,), detail="others took a seal every time")

    def _seal(self, draft: _Draft, previous: Seal | None, started: int, *, anew: bool) -> Seal:
        runtime = self._store.runtime
        return Seal(
            governor=self._owner,
            number=previous.number + 1 if previous is not None else 1,
            started=started,
            at=max(runtime.now(), started),
            streams=draft.streams,
            events=draft.events,
            root=draft.root.digest,
            previous=previous.digest if previous is not None else "",
            anew=anew and previous is not None,
            listed=draft.name,
            token=runtime.unique(),
        )

    async def _pin(self) -> None:
        """Hold back all prunes until the first seal is taken: what they may take is what the last seal saw."""
        runtime = self._store.runtime
        token = runtime.unique()
        pin, register = pin_operations(self._owner, FIRST, {"kind": "seal", "from": 1, "at": runtime.now()}, token)
        await self._committer.commit_guarded(Batch(token, [pin._replace(when=Require.ANY), register]))

    async def _unpin(self) -> None:
        batch = Batch(self._store.runtime.unique(), unpin_operations(self._owner, FIRST))
        await self._committer.commit_guarded(batch)

    async def _commit(self, sealed: Seal, draft: _Draft) -> bool:
        operations: list[Operation] = [Put(sealed.key, encode_seal(sealed)[0], Require.ABSENT)]
        if sealed.number == 1:
            operations.extend(unpin_operations(self._owner, FIRST))
        if draft.parts:  # whoever tidies up begins with the first part
            operations.append(Check(part_key(self._owner, draft.name, 1), Require.EXISTS))
        return isinstance(await self._committer.commit_guarded(Batch(sealed.token, operations)), Committed)

    # The list

    async def _write_list(self, draft: _Draft, previous: Seal | None, progress: Progress | None) -> None:
        before = self.listed(previous) if previous is not None else None
        if before is not None:
            await before.check()
        lines: list[bytes] = []
        size = 0
        after: Key | None = None
        while True:
            page = await self._store.scan(HEAD, self._owner, after=after, limit=HEADS)
            last = page.documents[-1].key.id if page.documents and page.next is not None else None
            seen = {tip.id: tip for tip in await before.upto(last)} if before is not None else {}
            for tip in await self._tips(page.documents, seen, previous):
                line = tip.line()
                if size + len(line) > PART_BYTES:
                    await self._write_part(draft, lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line) + 1
                draft.root.add((tip,))
                draft.streams += 1
                draft.events += tip.version - tip.base
            if progress is not None:
                progress(draft.streams)
            after = page.next
            if after is None:
                break
        if lines:
            await self._write_part(draft, lines)

    async def _write_part(self, draft: _Draft, lines: Sequence[bytes]) -> None:
        draft.parts += 1
        key = part_key(self._owner, draft.name, draft.parts)
        token = self._store.runtime.unique()
        put = Put(key, encode_part(key, lines, token), Require.ABSENT)
        await self._committer.commit_guarded(Batch(token, (put,)))

    async def _tips(
        self, heads: Sequence[Document], seen: Mapping[str, SealedTip], previous: Seal | None
    ) -> list[SealedTip]:
        """What to seal of these streams, once they are what the seal before saw."""
        number = previous.number if previous is not None else 0
        tips = {tip.id: tip for tip in (decode_head(document)[0].tip for document in heads)}
        gone = [id for id in seen if id not in tips]
        if gone:
            problem = f"seal {number} saw version {seen[gone[0]].version}, and its head is gone"
            raise CorruptionError(where=str(Key(HEAD, self._owner, gone[0])), problem=problem)
        changed = [tip for tip in tips.values() if tip.version and not _is_as_sealed(tip, seen.get(tip.id))]
        entries = await self._digests([key for tip in changed for key in _witnesses(tip, seen.get(tip.id))])
        for tip in changed:
            sealed = seen.get(tip.id)
            if self._problem(tip, sealed, number, entries) is not None:
                tips[tip.id] = await self._looked_again(tip, sealed, number)
        return [sealed_tip(tip) for tip in tips.values() if tip.version]

    async def _digests(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        found: dict[Key, bytes] = {}
        for begin in range(0, len(keys), ENTRIES):
            documents = (await self._store.get(keys[begin : begin + ENTRIES])).documents
            found.update((key, stored_digest(document.body)) for key, document in documents.items())
        return found

    def _problem(
        self, tip: Tip, sealed: SealedTip | None, number: int, entries: Mapping[Key, bytes]
    ) -> tuple[str, str] | None:
        """Where a stream is not what it should be, and what is wrong there."""
        head = str(tip.key)
        if sealed is not None:
            problem = problem_with(sealed, number, tip)
            if problem is not None:
                return head, problem
            boundary = Key(ENTRY, self._owner, tip.id, sealed.version)
            is_there = tip.base is None or tip.base.version < sealed.version
            if is_there and entries.get(boundary) != sealed.digest:
                return str(boundary), f"it is not the entry that seal {number} saw"
        last = Key(ENTRY, self._owner, tip.id, tip.last)
        if entries.get(last) != tip.digest:
            return head, "its chain digest is not that of its last entry"
        return None

    async def _looked_again(self, tip: Tip, sealed: SealedTip | None, number: int) -> Tip:
        """The tip of a stream that others may be writing; what is wrong counts once its head stays the same."""
        for _ in range(LOOKS):
            document = (await self._store.get([tip.key])).documents.get(tip.key)
            if document is None:
                raise CorruptionError(where=str(tip.key), problem="the head is gone")
            now = decode_head(document)[0].tip
            problem = self._problem(now, sealed, number, await self._digests(_witnesses(now, sealed)))
            if problem is None:
                return now
            if now.revision == tip.revision:
                raise CorruptionError(where=problem[0], problem=problem[1])
            tip = now
        raise TransactionConflictError(keys=(str(tip.key),), detail="it was written at every look")

    # Lists that are not needed

    async def _tidy(self, roll: Roll, keep: int) -> None:
        """Remove the lists of older seals, and those of sealers that died."""
        assert roll.newest is not None
        kept = set(roll.lists[-keep:])
        older = set(roll.lists) - kept
        guard = (Check(seal_key(self._owner, roll.newest.number + 1), Require.ABSENT),)
        after: Key | None = None
        while True:
            page = await self._store.scan(SEAL, self._owner, prefix=LISTS, after=after, limit=1)
            if not page.documents:
                return
            document = page.documents[0]
            name = document.key.id
            abandoned = name not in kept and page.read_at - document.written_at > ABANDONED_MICROS
            if (name in older or abandoned) and not await self._remove(name, guard):
                return  # there is a newer seal, and whoever took it tidies up
            after = Key(SEAL, self._owner, name, MAX_VERSION)

    async def _remove(self, name: str, guard: Sequence[Check]) -> bool:
        """Remove a list, its first part first; False if it was refused."""
        while True:
            page = await self._store.scan(SEAL, self._owner, id=name, limit=10)
            if not page.documents:
                return True
            deletes = [Delete(document.key, Require.ANY) for document in page.documents]
            batch = Batch(self._store.runtime.unique(), (*deletes, *guard))
            if not isinstance(await self._committer.commit_guarded(batch), Committed):
                return False


def _is_as_sealed(tip: Tip, sealed: SealedTip | None) -> bool:
    return sealed is not None and (tip.version, tip.digest) == (sealed.version, sealed.digest)


def _witnesses(tip: Tip, sealed: SealedTip | None) -> list[Key]:
    """The entries that must carry known digests."""
    keys = [Key(ENTRY, tip.owner, tip.id, tip.last)]
    if sealed is not None and sealed.version != tip.last and (tip.base is None or tip.base.version < sealed.version):
        keys.append(Key(ENTRY, tip.owner, tip.id, sealed.version))
    return keys
