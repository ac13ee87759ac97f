"""Is a recorded history strictly serializable? A checker for transactions that read and append to lists.

A list tells its own past: who reads ``(1, 2, 3)`` knows which appends came before, and in which order. So each
transaction of a test appends values that nobody else appends, and reads whole lists. From the reads follow the order
of the appends and what each transaction saw; where these orders and the clock go round in a circle, no serial
execution can explain the history::

    from eventstate.testing.serializability import Append, Outcome, Recorder, check, read_histories

    with Recorder(folder) as recorder:                        # in each process
        id = recorder.begin([Append("x", 7)])                 # before the transaction
        ...
        recorder.end(id, Outcome.COMMITTED, [Read("x", (1, 4)), Append("x", 7)])

    assert check(read_histories(folder), final={"x": (1, 4, 7)}) == []

The check is exact where no value is missing: it is empty if, and only if, some serial order of the transactions
gives every read, and keeps apart in time what was apart.
"""

from __future__ import annotations

from eventstate.testing.serializability.anomalies import Anomaly, Edge, Kind
from eventstate.testing.serializability.checker import check
from eventstate.testing.serializability.history import Append, Operation, Outcome, Read, Transaction
from eventstate.testing.serializability.recording import Recorder, read_histories

__all__ = [
    "Anomaly",
    "Append",
    "Edge",
    "Kind",
    "Operation",
    "Outcome",
    "Read",
    "Recorder",
    "Transaction",
    "check",
    "read_histories",
]
