"""A history on disk that survives the death of its writers: one file of JSON lines for each process.

A transaction is two lines: what it means to append, written before it begins, and what came of it. A process that is
killed in between leaves the first line alone, so the outcome is unknown. Each line is given to the kernel with one
write, which is enough for the death of the process; only the death of the machine could lose it.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import orjson

from eventstate.errors import InvalidInputError
from eventstate.testing.serializability.history import Append, Operation, Outcome, Read, Transaction

_SUFFIX: Final = ".history.jsonl"


class Recorder:
    """Writes the history of one process; its threads may share it. Open it after a fork, not before.

    Args:
        folder: where the histories of all processes of a test are; made if it is missing.
        process: a name that no other recorder of this folder has, fit for a file; by default one is made up.

    Raises:
        FileExistsError: the name is taken. A process that is started again needs a new one.
    """

    def __init__(self, folder: Path, process: str | None = None) -> None:
        self.process = process or f"{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(folder / (self.process + _SUFFIX), flags, 0o644)
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def begin(self, appends: Sequence[Append]) -> str:
        """Note what a transaction is going to append, before it begins; the id for `end`.

        If its outcome stays unknown and one of these values is seen, all of them must be there. So give neither less
        nor more; a transaction that is tried again appends the same values again.
        """
        id = f"{self.process}:{next(self._numbers)}"
        started = time.monotonic_ns()
        self._write({"id": id, "started": started, "appends": appends})
        return id

    def end(self, id: str, outcome: Outcome, operations: Sequence[Operation] | None = None) -> None:
        """Note what came of it, after it ended.

        ``operations`` is all that it did, in order and with what it read (in its last attempt, where it took several);
        None stands for the appends it began with.
        """
        line: dict[str, Any] = {"id": id, "ended": time.monotonic_ns(), "outcome": outcome}
        if operations is not None:
            line["operations"] = operations
        self._write(line)

    def close(self) -> None:
        """Close the file; transactions that have not ended stay unknown."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE, default=list)
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


def read_histories(folder: Path) -> list[Transaction]:
    """The transactions of all processes, by their start. A last line that was cut short counts as not written.

    Raises:
        InvalidInputError: a file is no history.
    """
    # Each number is parsed again in every list it is in; kept once, lists cost 8 bytes a value instead of 40.
    numbers: dict[int, int] = {}
    transactions = [
        transaction
        for path in sorted(folder.glob(f"*{_SUFFIX}"))
        for transaction in _transactions(path, lambda number: numbers.setdefault(number, number))
    ]
    return sorted(transactions, key=lambda transaction: transaction.started)


def _transactions(path: Path, kept: Callable[[int], int]) -> Iterator[Transaction]:
    process = path.name.removesuffix(_SUFFIX)
    begun: dict[str, tuple[int, list[Operation]]] = {}
    with path.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.endswith(b"\n"):
                break
            try:
                line = orjson.loads(text)
                if "started" in line:
                    begun[line["id"]] = line["started"], [Append(key, value) for key, value in line["appends"]]
                    continue
                started, operations = begun.pop(line["id"])
                if "operations" in line:
                    operations = [_operation(key, what, kept) for key, what in line["operations"]]
                yield Transaction(
                    id=line["id"],
                    process=process,
                    operations=operations,
                    outcome=Outcome(line["outcome"]),
                    started=started,
                    ended=line["ended"],
                )
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInputError(f"line {number} of {path} is not of a recorder: {error!r}") from error
    for id, (started, operations) in begun.items():
        yield Transaction(
            id=id, process=process, operations=operations, outcome=Outcome.UNKNOWN, started=started, ended=None
        )


def _operation(key: str, what: Any, kept: Callable[[int], int]) -> Operation:
    return Read(key, tuple(map(kept, cast("list[int]", what)))) if isinstance(what, list) else Append(key, what)
