"""Bugs in transfers of streams: in what is checked on the way, and in what a write is conditional on."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from eventstate.core.chain import stored_digest
from eventstate.core.documents import Put, Require
from eventstate.core.format import Tip
from eventstate.log.transfer.loose import LooseTarget
from eventstate.log.transfer.source import StoreSource
from eventstate.log.transfer.streams import StreamHead, StreamPart, Walk
from eventstate.log.transfer.target import StreamTarget
from eventstate.log.transfer.transferring import Transferring
from eventstate.testing.conformance.transferring import TransferCases
from eventstate.testing.planted.plant import Patch, Plant


def _heads_unconditional() -> list[Patch]:
    def when(_self: StreamTarget, _stream: object) -> Require:
        return Require.ANY

    return [(StreamTarget, "_head_when", when)]


def _beginning_not_compared() -> list[Patch]:
    def prove(_self: StreamTarget, stream: Any) -> None:
        stream.is_proven = True

    return [(StreamTarget, "_prove", prove)]


def _longer_is_complete() -> list[Patch]:
    begin = StreamTarget.begin

    async def lenient(self: StreamTarget, head: StreamHead) -> bool:
        document = await self._heads.of(head.id)
        if document is not None and orjson.loads(document.body)["n"] > head.version:
            self._report.streams_there += 1
            return False
        return await begin(self, head)

    def is_there(*_: Any) -> bool:
        return True

    return [(StreamTarget, "begin", lenient), (Transferring, "_is_there", is_there)]


def _pruned_digests_taken_over() -> list[Patch]:
    def follow(_self: StreamTarget, _stream: object) -> None:
        """The chain goes on from the digest that the source's base has."""

    return [(StreamTarget, "_follow_anchor", follow)]


def _chain_not_checked() -> list[Patch]:
    def entry(self: Walk, part: StreamPart) -> bytes:
        members = orjson.loads(part.body)
        self.version, self.digest, self.last = members["n"], stored_digest(part.body), members
        self.made_digest = self.digest
        return part.body

    return [(Walk, "entry", entry)]


def _lost_heads_unseen() -> list[Patch]:
    async def known(_self: StoreSource, _key: Any) -> None:
        """Not looked at."""

    return [(StoreSource, "_check_known", known)]


def _base_forgotten() -> list[Patch]:
    body = StreamTarget._head_body

    def without_base(self: StreamTarget, stream: Any) -> bytes:
        found, stream.found = stream.found, stream.found or _unpruned(stream.head)
        try:
            return body(self, stream)
        finally:
            stream.found = found

    def _unpruned(head: StreamHead) -> Tip:
        return Tip(owner="", id=head.id, revision=None, version=0, digest=b"")

    return [(StreamTarget, "_head_body", without_base)]


def _mark_left_out() -> list[Patch]:
    async def flush(self: StreamTarget) -> None:
        stream = self._stream
        if stream is not None:
            self._stream = None  # its head comes last, with nothing before it
        try:
            await _flush(self)
        finally:
            self._stream = stream

    return [(StreamTarget, "flush", flush)]


def _documents_overwritten() -> list[Patch]:
    async def missing(_self: LooseTarget, puts: Sequence[Put]) -> list[Put]:
        return [put._replace(when=Require.ANY) for put in puts]

    return [(LooseTarget, "_missing", missing)]


_flush = StreamTarget.flush


def _plant(name: str, story: str, patches: Any, *cases: str) -> Plant:
    return Plant(name=name, story=story, patches=patches, suite=TransferCases, cases=cases)


TRANSFER_PLANTS: Final[Sequence[Plant]] = (
    _plant(
        "copied-heads-unconditional",
        "the entries are guarded by being absent; the head can simply be written",
        _heads_unconditional,
        "test_who_writes_during_a_copy_is_noticed",
    ),
    _plant(
        "beginning-not-compared",
        "a shorter stream of this name can only be the beginning of this one",
        _beginning_not_compared,
        "test_another_history_that_is_shorter_or_longer",
    ),
    _plant(
        "longer-is-complete",
        "a target that has more has all there is to copy",
        _longer_is_complete,
        "test_a_target_that_went_on_by_itself",
    ),
    _plant(
        "copy-does-not-check-the-chain",
        "verify will find it in the target",
        _chain_not_checked,
        "test_a_changed_entry_is_not_copied",
    ),
    _plant(
        "copy-misses-streams-without-a-head",
        "the heads are the list of streams",
        _lost_heads_unseen,
        "test_a_missing_entry_or_head_is_told",
    ),
    _plant(
        "copy-forgets-the-base",
        "where a stream begins follows from its entries",
        _base_forgotten,
        "test_a_pruned_stream_arrives_pruned",
    ),
    _plant(
        "new-chain-from-a-foreign-base",
        "the digest at a base is where the chain goes on, whoever made it",
        _pruned_digests_taken_over,
        "test_new_chains_go_on_after_a_prune_of_the_source",
    ),
    _plant(
        "heads-only-at-the-end",
        "a stream is not there until its head is, so entries can come in any number of commits before it",
        _mark_left_out,
        "test_a_copy_that_ends_anywhere_leaves_sound_streams_and_goes_on",
    ),
    _plant(
        "documents-overwritten",
        "the source is right",
        _documents_overwritten,
        "test_a_document_that_is_there_stays",
    ),
)
