"""Records a history until it is killed: ``FOLDER PROCESS COUNT``.

It does COUNT transactions and kills itself in the middle of the next; with 0 it goes on until somebody else does it.
Its store is a list of its own, so that what it records is serial.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from eventstate.testing.serializability import Append, Outcome, Read, Recorder


def main(folder: str, process: str, count: int) -> None:
    recorder = Recorder(Path(folder), process)
    values: list[int] = []
    for number in itertools.count(1):
        key = f"{process}-{number // 100}"
        if number % 100 == 0:
            values = []
        id = recorder.begin([Append(key, number)])
        before = Read(key, tuple(values))
        values.append(number)
        if number == count + 1 and count:
            os.kill(os.getpid(), signal.SIGKILL)
        recorder.end(id, Outcome.COMMITTED, [before, Append(key, number), Read(key, tuple(values))])
        if number == 1:
            print("ready", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
