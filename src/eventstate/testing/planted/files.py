"""Bugs in the SQLite store."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Committed, Put, Refused
from eventstate.stores.sqlite import writing
from eventstate.stores.sqlite.engine import Engine
from eventstate.stores.sqlite.group import Member
from eventstate.stores.sqlite.writing import Writing
from eventstate.testing.conformance.contention import ContentionCases
from eventstate.testing.conformance.documents import DocumentCases
from eventstate.testing.conformance.feeding import FeedCases, LifecycleCases
from eventstate.testing.planted.plant import Patch, Plant

_begin = Engine._begin
_commit_group = Engine._commit_group


def _acknowledged_first() -> list[Patch]:
    def finish(
        self: Engine, _writer: Any, writing: Writing, group: Sequence[Member], results: list[Committed | Refused]
    ) -> None:
        self._known.update(writing.fresh)
        for member, result in zip(group, results, strict=True):
            member.result = result

    def begin(self: Engine) -> Any:
        if self._writer is not None and self._writer.in_transaction:
            self._writer.execute("COMMIT")
        return _begin(self)

    return [(Engine, "_finish", finish), (Engine, "_begin", begin)]


def _deferred() -> list[Patch]:
    def begin(self: Engine) -> Any:
        writer = _begin(self)
        writer.execute("ROLLBACK")
        writer.execute("BEGIN DEFERRED")
        # What a slow machine may do between the first look and the first write.
        writer.execute("SELECT count(*) FROM meta").fetchall()
        time.sleep(0.002)
        return writer

    return [(Engine, "_begin", begin)]


def _member_lost() -> list[Patch]:
    def commit_group(self: Engine, group: Sequence[Member]) -> None:
        if len(group) < 2:
            _commit_group(self, group)
            return
        *others, last = group
        _commit_group(self, others)
        puts = {op.key: last.batch.token for op in last.batch.operations if isinstance(op, Put)}
        last.result = Committed(puts, self.clock.now(), 0)

    return [(Engine, "_commit_group", commit_group)]


def _preconditions_ignored() -> list[Patch]:
    def holds(_self: Writing, _key: Any, _when: Any) -> bool:
        return True

    return [(Writing, "_holds", holds)]


def _positions_again() -> list[Patch]:
    nothing = "SELECT 1 WHERE ? = -1 AND ? = -1"
    return [(writing, "_KEEP_HIGHEST_POSITION", nothing)]


FILE_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="ack-before-commit",
        story="callers are told while the disk is still busy: it will surely work out",
        patches=_acknowledged_first,
        suite=LifecycleCases,
        cases=["test_an_acknowledged_commit_is_seen_by_everyone_at_once"],
        backend="sqlite",
    ),
    Plant(
        name="deferred-begin",
        story="the write lock is taken by the first write, as BEGIN does by itself",
        patches=_deferred,
        suite=ContentionCases,
        cases=["test_of_several_who_replace_a_revision_one_wins", "test_no_increment_is_lost"],
        backend="sqlite",
    ),
    Plant(
        name="group-member-lost",
        story="a group is cut one short, and all of it is told that it is committed",
        patches=_member_lost,
        suite=ContentionCases,
        cases=["test_every_acknowledged_write_is_there"],
        backend="sqlite",
        world="asyncio",
    ),
    Plant(
        name="preconditions-ignored",
        story="nothing is judged",
        patches=_preconditions_ignored,
        suite=DocumentCases,
        cases=["test_every_precondition_with_every_operation"],
        backend="sqlite",
    ),
    Plant(
        name="position-given-out-again",
        story="the row id of a deleted entry is free",
        patches=_positions_again,
        suite=FeedCases,
        cases=["test_a_position_is_not_given_out_again"],
        backend="sqlite",
    ),
)
