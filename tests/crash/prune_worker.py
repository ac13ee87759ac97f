"""Prunes a store, and kills itself at a certain step: ``prune_worker URL ARCHIVE PLACE COUNT``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from eventstate import DirectoryArchive, RetentionManager, RetentionPolicy, open_store
from eventstate.log import archiving, pruning
from eventstate.stores import directory
from eventstate.stores.sqlite.store import SqliteStore
from tests.crash.tally import GOVERNOR, tallies

POLICY = RetentionPolicy(keep_last=2)
PLACES = ("before commit", "after commit", "before sync", "before rename", "after rename")


class Dying:
    """Counts the times that a place is passed, and dies at one of them."""

    def __init__(self, place: str, count: int) -> None:
        self.place = place
        self.left = count

    def at(self, place: str) -> None:
        if place == self.place:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class DyingOs:
    """The module ``os`` as the archive sees it."""

    def __init__(self, dying: Dying) -> None:
        self._dying = dying

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self._dying.at("before sync")
        os.fsync(descriptor)

    def replace(self, source: str, target: object) -> None:
        self._dying.at("before rename")
        os.replace(source, str(target))
        self._dying.at("after rename")


def plant(dying: Dying) -> None:
    """Have the store and the archive die, and take small steps."""
    commit = SqliteStore.commit

    async def dying_commit(self: SqliteStore, batch: Any) -> Any:
        dying.at("before commit")
        result = await commit(self, batch)
        dying.at("after commit")
        return result

    SqliteStore.commit = dying_commit
    directory.os = DyingOs(dying)
    pruning.HEADS, pruning.GROUP_OPERATIONS, archiving.PACK_BYTES = 7, 9, 3_000


def prune(url: str, archive: str) -> None:
    with open_store(url) as store:
        manager = RetentionManager(store, governor=GOVERNOR, machines=[tallies], archive=DirectoryArchive(archive))
        report = manager.prune(POLICY)
    assert not report.problems, report.problems


if __name__ == "__main__":
    plant(Dying(sys.argv[3], int(sys.argv[4])))
    prune(sys.argv[1], sys.argv[2])
