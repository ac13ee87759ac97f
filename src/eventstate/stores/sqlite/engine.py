"""One store file in one process: a writer connection, reader connections, and what a failure does to them."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from eventstate.core.documents import Committed, Refused, Unknown
from eventstate.errors import ConfigurationError, EventStateError, StoreClosedError, StoreForkedError
from eventstate.stores.sqlite import schema
from eventstate.stores.sqlite.checkpoint import Checkpointer
from eventstate.stores.sqlite.clock import StoreClock, stored_offset, write_offset
from eventstate.stores.sqlite.connection import Settings, connect, create_file
from eventstate.stores.sqlite.faults import mapped
from eventstate.stores.sqlite.group import GroupCommit, Member
from eventstate.stores.sqlite.writing import StreamNumbers, Writing

log = logging.getLogger("eventstate.sqlite")

MAX_IDLE_READERS = 8
MAX_KNOWN_STREAMS = 100_000


class Engine:
    """Shared by all stores of this process on one file; see `shared_engine`."""

    def __init__(self, settings: Settings, new_node: Callable[[], str]) -> None:
        self.settings = settings
        self.users = 0
        self._pid = os.getpid()
        self._closed = False
        self._mutex = threading.Lock()
        self._known: StreamNumbers = {}
        self._readers: deque[apsw.Connection] = deque()
        self._writer: apsw.Connection | None = None
        self._checkpointer = Checkpointer(settings)
        self.group = GroupCommit(self._commit_group, self._upkeep)
        create_file(settings)
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
        except BaseException:
            connection.close(True)
            raise
        if self.settings.read_only:
            self._readers.append(connection)
        else:
            self._adopt_writer(connection)
        return StoreClock(offset), rows["node"], rows["epoch"]

    def _prepare_writable(self, connection: apsw.Connection, new_node: Callable[[], str]) -> int | None:
        ready = schema.check_format(connection, self.settings.url)
        if ready:
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

    @contextmanager
    def reader(self) -> Generator[apsw.Connection]:
        """A connection for one short read."""
        self.check_usable()
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = connect(self.settings, writable=False)
        try:
            yield connection
        except apsw.Error as error:
            raise mapped(error, self.settings.url) from error
        finally:
            if len(self._readers) < MAX_IDLE_READERS and not self._closed:
                self._readers.append(connection)
            else:
                connection.close(True)

    # Writing: called by the group's leader, one at a time

    def _commit_group(self, group: Sequence[Member]) -> None:
        try:
            writer = self._begin()
        except EventStateError as error:
            for member in group:
                member.error = error
            return
        writing = Writing(writer, self.known, self.clock.now)
        results: list[Committed | Refused] = []
        try:
            results.extend(writing.apply(member.batch) for member in group)
        except apsw.Error as error:
            self._roll_back(writer)
            self._retry_alone(group, error)
            return
        except BaseException:
            self._roll_back(writer)
            raise
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
        self._known.update(writing.fresh)
        # Conflicts too are told only now: they were judged against writes that could still have failed.
        for member, result in zip(group, results, strict=True):
            member.result = result

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

    def _retry_alone(self, group: Sequence[Member], error: apsw.Error) -> None:
        """A statement failed and all was rolled back: one member's fault must not become the others'."""
        if len(group) == 1:
            group[0].error = mapped(error, self.settings.url)
            return
        for member in group:
            self._commit_group([member])

    def _begin(self) -> apsw.Connection:
        self.check_usable()
        if self._writer is None:
            self._adopt_writer(connect(self.settings, writable=True))
        writer = self._writer
        assert writer is not None
        try:
            writer.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            if not isinstance(error, apsw.BusyError):
                self._poison(error)
            raise mapped(error, self.settings.url) from error
        return writer

    def _roll_back(self, writer: apsw.Connection) -> None:
        # SQLite may have rolled back by itself; a ROLLBACK that fails leaves a connection not to be trusted.
        if writer.in_transaction:
            try:
                writer.execute("ROLLBACK")
            except apsw.Error as error:
                self._poison(error)

    def _poison(self, error: apsw.Error | None) -> None:
        """Never use a connection again whose COMMIT or sync failed: the kernel may have dropped its pages."""
        log.warning("%s: a commit failed (%s); its connection is replaced", self.settings.url, error)
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(apsw.Error):
                writer.close(True)

    def _adopt_writer(self, connection: apsw.Connection) -> None:
        self._writer = connection
        self._checkpointer.watch(connection)

    def _upkeep(self) -> None:
        writer = self._writer
        if writer is not None:
            self._checkpointer.run_if_due(writer)

    @contextmanager
    def exclusive_writer(self) -> Generator[apsw.Connection]:
        """The writer connection for upkeep such as backups; the caller must not overlap commits of this process."""
        self.check_usable()
        if self._writer is None:
            self._adopt_writer(connect(self.settings, writable=True))
        assert self._writer is not None
        with _errors_mapped(self.settings.url):
            yield self._writer

    def close(self) -> None:
        """Copy the log back into the file and let go of it."""
        with self._mutex:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        while self._readers:
            self._readers.pop().close(True)
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(apsw.Error):
                writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            writer.close(True)

    def abandon(self) -> None:
        """In a forked child: keep the parent's connections for ever, since closing one here could harm its file."""
        for connection in (*self._readers, self._writer):
            if connection is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


@contextmanager
def _errors_mapped(url: str) -> Generator[None]:
    try:
        yield
    except apsw.Error as error:
        raise mapped(error, url) from error


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_shared: dict[tuple[int, int, bool], Engine] = {}
_sharing = threading.Lock()


def shared_engine(settings: Settings, new_node: Callable[[], str]) -> Engine:
    """The engine of this process for a file: one writer connection, whatever the number of stores."""
    with _sharing:
        engine = _shared.get(_identity(settings)) if settings.path.exists() else None
        if engine is None:
            engine = Engine(settings, new_node)
            _shared[_identity(settings)] = engine
        elif engine.settings.durability != settings.durability:
            already = engine.settings.durability
            raise ConfigurationError(f"{settings.url} is open in this process with durability={already}; use the same")
        engine.users += 1
        return engine


def release_engine(engine: Engine) -> None:
    """Give an engine back; the last user closes it."""
    with _sharing:
        engine.users -= 1
        if engine.users == 0:
            for identity, shared in list(_shared.items()):
                if shared is engine:
                    del _shared[identity]
            engine.close()


def _identity(settings: Settings) -> tuple[int, int, bool]:
    stat = Path(settings.path).stat()
    return stat.st_dev, stat.st_ino, settings.read_only


def _after_fork_in_child() -> None:
    global _sharing
    for engine in list(_engines):
        engine.abandon()
    _shared.clear()
    _sharing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
