"""Bugs in retention: each of them loses something once a prune ends early, or meets a pin or another history."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Batch, Committed, Key, Operation
from eventstate.core.format import Tip, encode_snapshot
from eventstate.core.packs import Section
from eventstate.core.retention import RetentionPolicy, kept_snapshots
from eventstate.log import archiving, pruning
from eventstate.log.archiving import ArchiveReader, PackSink
from eventstate.log.pruning import Bounds, Doomed, Planned, Pruner, PruneReport
from eventstate.testing.conformance.retention import RetentionCases
from eventstate.testing.planted.plant import Patch, Plant

_delete = Pruner._delete
_finish = Pruner._finish
_limit = RetentionPolicy.limit


def _pins_looked_at_once() -> list[Patch]:
    async def committed(self: Pruner, token: str, operations: Sequence[Operation], _bounds: Bounds) -> bool:
        return isinstance(await self._committer.commit_guarded(Batch(token, tuple(operations))), Committed)

    return [(Pruner, "_committed", committed)]


def _deleted_before_the_base() -> list[Patch]:
    async def founded(_self: Pruner, _one: Doomed, _report: PruneReport) -> bool:
        return True

    async def finish(
        self: Pruner,
        planned: Sequence[Planned],
        left: Sequence[Doomed],
        sink: PackSink | None,
        bounds: Bounds,
        report: PruneReport,
    ) -> None:
        if sink is not None:
            await sink.flush()
        await _delete(self, [Doomed(one.tip.id, one.base) for one in planned], bounds, report)
        await _finish(self, planned, left, None, bounds, report)

    return [(Pruner, "_finish", finish), (Pruner, "_is_founded", founded)]


def _archived_at_the_end() -> list[Patch]:
    async def finish(
        self: Pruner,
        planned: Sequence[Planned],
        left: Sequence[Doomed],
        sink: PackSink | None,
        bounds: Bounds,
        report: PruneReport,
    ) -> None:
        await _finish(self, planned, left, None, bounds, report)
        if sink is not None:
            await sink.flush()

    return [(Pruner, "_finish", finish)]


def _not_read_back() -> list[Patch]:
    def believed(_name: str, _body: bytes) -> bool:
        return True

    return [(archiving, "is_pack", believed)]


def _any_archive_will_do() -> list[Patch]:
    def lineage(self: ArchiveReader, tip: Tip) -> list[Section]:
        assert tip.base is not None
        found: dict[int, Section] = {}
        own = tip.base.digest.decode("ascii")
        for section in sorted(self._sections(tip.id)[0], key=lambda section: section.last_chain == own):
            found.setdefault(section.last, section)
        leading: list[Section] = []
        place = tip.base.version
        while place > 0 and place in found:
            leading.append(found[place])
            place = found[place].after
        return leading[::-1]

    return [(ArchiveReader, "_lineage", lineage)]


def _unmarked_base() -> list[Patch]:
    def encode(*args: Any, **options: Any) -> bytes:
        return encode_snapshot(*args, **{**options, "is_base": False})

    return [(pruning, "encode_snapshot", encode)]


def _last_entry_too() -> list[Patch]:
    def limit(self: RetentionPolicy, tip: Tip) -> int:
        return tip.version if _limit(self, tip) == tip.version - 1 else _limit(self, tip)

    return [(RetentionPolicy, "limit", limit)]


def _newest_first() -> list[Patch]:
    async def delete(self: Pruner, doomed: Sequence[Doomed], bounds: Bounds, report: PruneReport) -> None:
        keys: list[Key] = []
        for one in doomed:
            documents, _ = await self._reader.entries(one.id, 0)
            keys += [document.key for document in documents if document.key.n <= one.base.version]
        await self._delete_entries(keys[::-1], bounds, report)

    return [(Pruner, "_delete", delete)]


def _base_not_looked_at() -> list[Patch]:
    async def founded(_self: Pruner, _one: Doomed, _report: PruneReport) -> bool:
        return True

    return [(Pruner, "_is_founded", founded)]


def _snapshots_left_listed() -> list[Patch]:
    def kept(snapshots: Sequence[int], base: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        _, dropped = kept_snapshots(snapshots, base)
        return tuple(sorted({*snapshots, base})), dropped

    return [(pruning, "kept_snapshots", kept)]


def _leftovers_forgotten() -> list[Patch]:
    async def left(_self: Pruner, _document: object) -> None:
        return None

    return [(Pruner, "_left_behind", left)]


RETENTION_PLANTS: Final = [
    Plant(
        name="pins-looked-at-once",
        story="the pins were read a moment ago, so they need not be checked in the commit",
        patches=_pins_looked_at_once,
        suite=RetentionCases,
        cases=["test_a_hold_made_during_a_prune_holds_or_is_refused"],
    ),
    Plant(
        name="deleted-before-the-base",
        story="entries can be deleted first: the base follows in the next commit",
        patches=_deleted_before_the_base,
        suite=RetentionCases,
        cases=["test_it_can_end_before_any_commit_and_the_next_run_ends_the_work"],
    ),
    Plant(
        name="archived-at-the-end",
        story="one large pack at the end is faster than many",
        patches=_archived_at_the_end,
        suite=RetentionCases,
        cases=["test_an_archive_that_fails_leaves_everything"],
    ),
    Plant(
        name="archive-not-read-back",
        story="what was written without an error is there",
        patches=_not_read_back,
        suite=RetentionCases,
        cases=["test_nothing_is_deleted_that_the_archive_does_not_give_back"],
    ),
    Plant(
        name="any-archive-will-do",
        story="a section is the right one if it is of this stream and ends at this version",
        patches=_any_archive_will_do,
        suite=RetentionCases,
        cases=["test_the_archive_of_another_history_is_passed_over"],
    ),
    Plant(
        name="base-without-a-mark",
        story="the head says where the stream begins, so the snapshot there need not",
        patches=_unmarked_base,
        suite=RetentionCases,
        cases=["test_it_can_end_before_any_commit_and_the_next_run_ends_the_work"],
    ),
    Plant(
        name="last-entry-pruned",
        story="the base has the state, so no entry is needed",
        patches=_last_entry_too,
        suite=RetentionCases,
        cases=["test_entries_go_oldest_first_and_never_the_last"],
    ),
    Plant(
        name="newest-deleted-first",
        story="the order of deletes does not matter: all of them go",
        patches=_newest_first,
        suite=RetentionCases,
        cases=["test_entries_go_oldest_first_and_never_the_last"],
    ),
    Plant(
        name="base-not-looked-at",
        story="the commit that moved the base wrote its snapshot too, so it is there",
        patches=_base_not_looked_at,
        suite=RetentionCases,
        cases=["test_nothing_goes_whose_base_is_not_there"],
    ),
    Plant(
        name="dropped-snapshots-stay-listed",
        story="a snapshot that the head lists and that is missing is passed over anyway",
        patches=_snapshots_left_listed,
        suite=RetentionCases,
        cases=["test_what_stays_is_as_it_was_and_what_goes_comes_from_the_archive"],
    ),
    Plant(
        name="leftovers-forgotten",
        story="a stream whose base is where it should be has been pruned",
        patches=_leftovers_forgotten,
        suite=RetentionCases,
        cases=["test_it_can_end_before_any_commit_and_the_next_run_ends_the_work"],
    ),
]
