"""Bugs in the log: in what an append is conditional on, and in what a load trusts."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from eventstate.core import chain, planner
from eventstate.core import format as storage_format
from eventstate.core.chain import stored_digest, verified
from eventstate.core.documents import COMMAND, ENTRY, HEAD, SNAPSHOT, Batch, Document, Key, Put, Require
from eventstate.core.fold import Fold
from eventstate.core.format import Tip, decode_snapshot, snapshot_key
from eventstate.core.planner import Plan, plan_appends
from eventstate.errors import CorruptionError
from eventstate.log import appending, commands
from eventstate.log.appending import Appender, Receipt
from eventstate.log.planning import Change
from eventstate.log.reading import Start, StateAt, StreamReader
from eventstate.testing.conformance.appends import AppendCases
from eventstate.testing.conformance.commands import KeyCases
from eventstate.testing.conformance.damage import DamageCases
from eventstate.testing.conformance.repeating import DeletionCases, IdempotencyCases
from eventstate.testing.planted.plant import Patch, Plant

_append = Appender.append
_digest = chain.digest
_replay_from_snapshot = StreamReader._replay_from_snapshot


def _entry_alone() -> list[Patch]:
    def plan(*args: Any, **kwargs: Any) -> Plan:
        made = plan_appends(*args, **kwargs)
        operations = [
            op._replace(when=Require.ANY) if isinstance(op, Put) and op.key.kind == HEAD else op
            for op in made.batch.operations
        ]
        return made._replace(batch=made.batch._replace(operations=tuple(operations)))

    return [(appending, "plan_appends", plan)]


def _one_stream_at_a_time() -> list[Patch]:
    async def append(self: Appender, changes: Sequence[Change], **options: Any) -> Receipt:
        receipts = [await _append(self, [change], **options) for change in changes]
        return receipts[-1]._replace(streams=[stream for receipt in receipts for stream in receipt.streams])

    return [(Appender, "append", append)]


def _tombstone_ignored() -> list[Patch]:
    async def append(self: Appender, changes: Sequence[Change], **options: Any) -> Receipt:
        return await _append(self, [c._replace(reopen=not c.tolerate_deleted) for c in changes], **options)

    return [(Appender, "append", append)]


def _wall_clock() -> list[Patch]:
    def latest(_before: int, now: int) -> int:
        return now

    return [(planner, "max", latest)]


def _key_apart() -> list[Patch]:
    async def append(
        self: Appender, changes: Sequence[Change], *, idempotency_key: str | None = None, **options: Any
    ) -> Receipt:
        fingerprint: bytes = options.get("fingerprint", b"")
        earlier = await self._earlier(idempotency_key, fingerprint)
        if earlier is not None:
            return Receipt((), earlier, None)
        receipt = await _append(self, changes, **options)
        if idempotency_key is not None:
            versions = {stream.tip.id: stream.tip.version for stream in receipt.streams}
            record = {"fingerprint": commands.digest_of(fingerprint), "versions": versions}
            key = Key(COMMAND, self._owner, idempotency_key)
            put = Put(key, orjson.dumps(record), Require.ANY)
            await self._store.commit(Batch(self._store.runtime.unique(), (put,)))
        return receipt

    return [(Appender, "append", append)]


def _any_arguments() -> list[Patch]:
    return [(commands, "digest_of", lambda _fingerprint: "")]  # pyright: ignore[reportUnknownLambdaType]


def _parsed_chain() -> list[Patch]:
    def digest(context: bytes, rest: bytes) -> bytes:
        try:
            rest = orjson.dumps(orjson.loads(b"{" + rest), option=orjson.OPT_SORT_KEYS)
        except ValueError:
            pass
        return _digest(context, rest)

    return [(chain, "digest", digest)]


def _unchecked(kind: str) -> Any:
    def patches() -> list[Patch]:
        def trusting(context: bytes, body: bytes, where: Key | str) -> bytes:
            if context.startswith(kind.encode() + b"\0"):
                return stored_digest(body)
            return verified(context, body, where)

        return [(storage_format, "verified", trusting)]

    return patches


def _snapshot_of_any_chain() -> list[Patch]:
    async def replay(self: StreamReader, tip: Tip, fold: Fold, candidate: int, version: int) -> StateAt:
        snapshot, plain = await _snapshot(self, tip, candidate)
        entry = Key(ENTRY, tip.owner, tip.id, candidate)
        found = (await self._store.get([entry])).documents[entry]
        start = Start(fold.load(plain, snapshot.image.schema, ""), candidate, stored_digest(found.body))
        return (
            await self._replay(tip, fold, start, version)
            if version > candidate
            else StateAt(start.state, version, None)
        )

    return [(StreamReader, "_replay_from_snapshot", replay)]


def _empty_state_and_tail() -> list[Patch]:
    async def replay(self: StreamReader, tip: Tip, fold: Fold, candidate: int, version: int) -> StateAt:
        try:
            return await _replay_from_snapshot(self, tip, fold, candidate, version)
        except CorruptionError:
            entry = Key(ENTRY, tip.owner, tip.id, candidate)
            found = (await self._store.get([entry])).documents[entry]
            start = Start(fold.initial(), candidate, stored_digest(found.body))
            if version == candidate:
                return StateAt(start.state, version, None)
            return await self._replay(tip, fold, start, version)

    return [(StreamReader, "_replay_from_snapshot", replay)]


async def _snapshot(reader: StreamReader, tip: Tip, version: int) -> tuple[Any, Any]:
    key = snapshot_key(tip.owner, tip.id, version)
    return decode_snapshot((await reader._store.get([key])).documents[key])


def _missing_is_absent() -> list[Patch]:
    async def head_document(self: StreamReader, id: str) -> Document | None:
        key = self.key(id)
        return (await self._store.get([key])).documents.get(key)

    return [(StreamReader, "head_document", head_document)]


STREAM_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="entry-create-is-the-only-compare-and-swap",
        story="two appends of one version create the same entry, so one of them fails",
        patches=_entry_alone,
        suite=AppendCases,
        cases=["test_one_who_remembers_an_old_tip_is_refused"],
        in_simulation=True,
    ),
    Plant(
        name="streams-one-at-a-time",
        story="an append to several streams is several appends",
        patches=_one_stream_at_a_time,
        suite=AppendCases,
        cases=["test_several_streams_are_appended_to_together_or_not_at_all"],
    ),
    Plant(
        name="tombstone-ignored",
        story="whatever the version is includes deleted",
        patches=_tombstone_ignored,
        suite=DeletionCases,
        cases=["test_nothing_is_appended_to_a_deleted_state"],
    ),
    Plant(
        name="wall-clock-timestamps",
        story="an event's time is the writer's clock",
        patches=_wall_clock,
        suite=AppendCases,
        cases=["test_timestamps_never_go_back_though_the_clock_does"],
    ),
    Plant(
        name="key-in-another-commit",
        story="the append is done, now note that it is",
        patches=_key_apart,
        suite=KeyCases,
        cases=["test_a_cancelled_command_is_found_again"],
        world="asyncio",
        in_simulation=True,
    ),
    Plant(
        name="key-without-its-arguments",
        story="a key names a command, whatever it was",
        patches=_any_arguments,
        suite=IdempotencyCases,
        cases=["test_a_key_belongs_to_its_arguments"],
    ),
    Plant(
        name="chain-over-parsed-objects",
        story="what is hashed is what the entry means",
        patches=_parsed_chain,
        suite=DamageCases,
        cases=["test_an_edit_that_means_the_same_is_found"],
    ),
    Plant(
        name="head-trusted-without-digest",
        story="the head was written by us",
        patches=_unchecked(HEAD),
        suite=DamageCases,
        cases=["test_a_head_with_other_content_is_passed_over"],
    ),
    Plant(
        name="snapshot-trusted-without-digest",
        story="the snapshot was written by us",
        patches=_unchecked(SNAPSHOT),
        suite=DamageCases,
        cases=["test_a_bad_snapshot_is_passed_over"],
    ),
    Plant(
        name="snapshot-of-any-chain",
        story="a snapshot with a good digest is a good snapshot",
        patches=_snapshot_of_any_chain,
        suite=DamageCases,
        cases=["test_a_snapshot_of_another_history_is_passed_over"],
    ),
    Plant(
        name="empty-state-and-tail",
        story="without a good snapshot the state begins empty",
        patches=_empty_state_and_tail,
        suite=DamageCases,
        cases=["test_a_bad_snapshot_is_passed_over"],
    ),
    Plant(
        name="missing-head-is-absence",
        story="no head, no state",
        patches=_missing_is_absent,
        suite=DamageCases,
        cases=["test_a_missing_head_is_not_an_absent_state"],
    ),
)
