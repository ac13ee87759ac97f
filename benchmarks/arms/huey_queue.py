"""Workers of huey on SQLite, for `benchmarks.queue`: `FILE seed COUNT`, or `FILE work`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from huey import SqliteHuey  # type: ignore[import-not-found]

huey: Any = SqliteHuey("bench", filename=sys.argv[1], fsync=True, journal_mode="wal")


@huey.task()
def nothing(_number: int) -> int:
    return 1


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def main() -> None:
    if sys.argv[2] == "seed":
        for number in range(int(sys.argv[3])):
            nothing(number)
        print(json.dumps("done"), flush=True)
        return
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    began, done = now(), 0
    while (task := huey.dequeue()) is not None:
        huey.execute(task)
        done += 1
    print(json.dumps({"done": done, "began": began, "ended": now()}), flush=True)


if __name__ == "__main__":
    main()
