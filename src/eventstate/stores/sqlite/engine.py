"""One store file in one process: a writer connection, reader connections, and what a failure does to them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

import apsw

from eventstate.core.documents import Committed, Refused, Unknown
from eventstate.errors import CorruptionError, EventStateError, InvalidInputError, StoreClosedError, StoreForkedError
from eventstate.stores.sqlite import schema
from eventstate.stores.sqlite.checkpoint import Checkpointer
from eventstate.stores.sqlite.clock import StoreClock, stored_offset, write_offset
from eventstate.stores.sqlite.connection import Settings, connect
from eventstate.stores.sqlite.faults import mapped
from eventstate.stores.sqlite.group import GroupCommit, Member
from eventstate.stores.sqlite.readers import Readers
from eventstate.stores.sqlite.reading import StreamNames
from eventstate.stores.sqlite.reporting import warn
from eventstate.stores.sqlite.watching import Watching
from eventstate.stores.sqlite.writing import StreamNumbers, Writing

MAX_KNOWN_STREAMS = 100_000


class Engine:
    """Shared by all stores of this process on one file; see `eventstate.stores.sqlite.sharing`."""

    def __init__(self, settings: Settings, new_node: Callable[[], str]) -> None:
        self.settings = settings
        self.users = 0
        self._pid = os.getpid()
        self._closed = False
        self._known: StreamNumbers = {}
        self._names: StreamNames = {}
        self._readers = Readers(settings, lambda: connect(settings, writable=False))
        self._writer: apsw.Connection | None = None
        self._checkpointer = Checkpointer(settings)
        self.group = GroupCommit(self._commit_group, self._upkeep)
        self.watching = Watching(lambda: connect(settings, writable=False))
        self.is_resting = False
        """No connection is open: the process is about to fork."""
        self.clock, self.node, self.epoch = self._prepare(new_node)
        _engines.add(self)

    def _prepare(self, new_node: Callable[[], str]) -> tuple[StoreClock, str, int]:
        """Open the file, make its tables if it is new, and read what identifies it."""
        connection = connect(self.settings, writable=not self.settings.read_only)
        try:
            with _errors_mapped(self.settings.url):
                if self.settings.read_only:
                    if not schema.check_format(connection, self.settings.url):
                        raise mapped(apsw.NotADBError(), self.settings.url)
                    offset = stored_offset(connection)
                else:
                    offset = self._prepare_writable(connection, new_node)
                rows = dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('node', 'epoch')"))
            if not {"node", "epoch"} <= rows.keys():
                raise CorruptionError(where=self.settings.url, problem="the rows that identify it are missing")
        except BaseException:
            connection.close(True)
            raise
        if self.settings.read_only:
            connection.close(True)
        else:
            self._adopt_writer(connection)
        return StoreClock(offset), rows["node"], rows["epoch"]

    def _prepare_writable(self, connection: apsw.Connection, new_node: Callable[[], str]) -> int | None:
        if schema.check_format(connection, self.settings.url):
            schema.begin_incarnation_of_backup(connection)
            offset = stored_offset(connection)
            if offset is not None:
                return offset
        connection.execute("BEGIN IMMEDIATE")
        if not schema.check_format(connection, self.settings.url):
            schema.create(connection, new_node())
        offset = write_offset(connection)
        connection.execute("COMMIT")
        return offset

    # Reading

    @property
    def is_inherited(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return os.getpid() != self._pid

    def check_usable(self) -> None:
        """Raise if the engine was closed, or inherited over a fork."""
        if os.getpid() != self._pid:
            raise StoreForkedError(store=self.settings.url)
        if self._closed:
            raise StoreClosedError(store=self.settings.url)

    @property
    def known(self) -> StreamNumbers:
        """Stream numbers read so far. Bounded: emptied when it has grown too large."""
        if len(self._known) > MAX_KNOWN_STREAMS:
            self._known = {}
        return self._known

    @property
    def names(self) -> StreamNames:
        """The same for the names of streams by their numbers."""
        if len(self._names) > MAX_KNOWN_STREAMS:
            self._names = {}
        return self._names

    @contextmanager
    def reader(self) -> Generator[apsw.Connection]:
        """A connection for one short read."""
        self.check_usable()
        connection = self._readers.take()
        try:
            yield connection
        except BaseException as error:
            # The traceback may keep a cursor alive, and with it an old snapshot: nobody may read through that again.
            self._readers.discard(connection)
            if isinstance(error, apsw.Error):
                raise mapped(error, self.settings.url) from error
            raise
        self._readers.give_back(connection)

    # Writing: called by the group's leader, one at a time

    def _commit_group(self, group: Sequence[Member]) -> None:
        try:
            self._commit_together(group)
        except BaseException:
            # An interrupt, wherever it came: the write lock must not stay behind.
            if self._writer is not None:
                self._roll_back(self._writer)
            raise

    def _commit_together(self, group: Sequence[Member], *, careful: bool = False) -> None:
        try:
            writer = self._begin()
        except EventStateError as error:
            for member in group:
                member.error = error
            return
        writing = Writing(writer, self.known, self.clock)
        try:
            results = [writing.apply(member.batch, careful) for member in group]
        except apsw.ConstraintError as error:
            self._roll_back(writer)
            if careful:
                self._retry_alone(group, error)
            else:  # somebody's entry is there though the head does not tell: every precondition is read then
                self._commit_together(group, careful=True)
            return
        except (apsw.Error, OverflowError, TypeError, ValueError) as error:
            self._roll_back(writer)
            self._retry_alone(group, error)
            return
        self._finish(writer, writing, group, results)

    def _finish(
        self, writer: apsw.Connection, writing: Writing, group: Sequence[Member], results: list[Committed | Refused]
    ) -> None:
        try:
            writer.execute("COMMIT")
        except apsw.Error as error:
            self._poison(error)
            self._tell_failed(group, results, error)
            return
        except BaseException:
            self._poison(None)
            raise
        if writing.fresh:
            self._known.update(writing.fresh)
        # Conflicts too are told only now: they were judged against writes that could still have failed.
        watched = self.watching.is_watched
        for member, result in zip(group, results, strict=True):
            member.result = result
            if watched and isinstance(result, Committed):
                self.watching.wake(member.batch)

    def _tell_failed(self, group: Sequence[Member], results: Sequence[Committed | Refused], error: apsw.Error) -> None:
        """COMMIT raised. What it was to write is unknown, or certainly lost when the disk was full."""
        for member, result in zip(group, results, strict=True):
            if isinstance(result, Refused):
                self._commit_group([member])
            elif isinstance(error, apsw.FullError):
                # The write that found no space is the commit record or one before it: the record is not there.
                member.error = mapped(error, self.settings.url)
            else:
                member.result = Unknown(str(error))

    def _retry_alone(self, group: Sequence[Member], error: Exception) -> None:
        """A statement failed and all was rolled back: one member's fault must not become the others'."""
        if len(group) > 1:
            for member in group:
                self._commit_group([member])
        elif isinstance(error, apsw.Error):
            group[0].error = mapped(error, self.settings.url)
        else:
            group[0].error = InvalidInputError(f"the batch holds what {self.settings.url} can't store: {error}")

    def _begin(self) -> apsw.Connection:
        self.check_usable()
        writer = self._writer
        if writer is None:
            writer = self._adopt_writer(connect(self.settings, writable=True))
        try:
            writer.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            if not isinstance(error, apsw.BusyError):
                self._poison(error)
            raise mapped(error, self.settings.url) from error
        return writer

    def _roll_back(self, writer: apsw.Connection) -> None:
        # SQLite may have rolled back by itself; a ROLLBACK that fails leaves a connection not to be trusted.
        try:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        except apsw.Error as error:
            self._poison(error)

    def _poison(self, error: apsw.Error | None) -> None:
        """Never use a connection again whose COMMIT or sync failed: the kernel may have dropped its pages."""
        warn("%s: a commit failed (%s); its connection is replaced", self.settings.url, error)
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(apsw.Error):
                writer.close(True)

    def _adopt_writer(self, connection: apsw.Connection) -> apsw.Connection:
        self._writer = connection
        self._checkpointer.watch(connection)
        return connection

    def _upkeep(self) -> None:
        writer = self._writer
        if writer is not None:
            self._checkpointer.run_if_due(writer)

    @contextmanager
    def exclusive_writer(self) -> Generator[apsw.Connection]:
        """The writer connection for upkeep; commits of this process wait meanwhile."""
        with self.group.quiet:
            self.check_usable()
            if self._writer is None:
                self._adopt_writer(connect(self.settings, writable=True))
            assert self._writer is not None
            with _errors_mapped(self.settings.url):
                yield self._writer

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Copy the log back into the file and let go of it, once reads and commits under way have ended."""
        if self._closed or self.is_inherited:
            return
        with self.group.quiet:
            self._closed = True
            self.watching.close()
            self._readers.close()
            writer, self._writer = self._writer, None
            if writer is not None:
                with suppress(apsw.Error):
                    writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                with _errors_mapped(self.settings.url):
                    writer.close(True)

    def rest(self, timeout: float) -> None:
        """Before a fork: close all connections, and open none until `resume`."""
        quiet = self.group.quiet.acquire(timeout=timeout)
        self._readers.rest(timeout)
        self.watching.rest()
        if quiet:
            writer, self._writer = self._writer, None
            if writer is not None:
                with suppress(apsw.Error):
                    writer.close(True)
            self.is_resting = self._readers.are_at_rest

    def resume(self) -> None:
        """After a fork, in the parent."""
        self.is_resting = False
        self._readers.resume()
        self.watching.resume()
        with suppress(RuntimeError):  # a commit did not end in time
            self.group.quiet.release()


@contextmanager
def _errors_mapped(url: str) -> Generator[None]:
    try:
        yield
    except apsw.Error as error:
        raise mapped(error, url) from error


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def all_engines() -> list[Engine]:
    """The engines of this process that are not closed."""
    return [engine for engine in _engines if not engine.is_closed]
