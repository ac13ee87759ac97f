"""A process that reports, killed at any time: ``task_reporter.py URL JOB TASK STOP_FILE LOG_FILE``.

Each acknowledged report is a line of the log.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eventstate import JobTasks, open_store


def main(url: str, job: str, task: int, stop: Path, log: Path) -> None:
    with open_store(url) as store, log.open("a", encoding="utf-8") as lines:
        reporter = JobTasks(store, job).reporter(task)
        number = 0
        while not stop.exists():
            number += 1
            status = reporter.report(number, payload={"task": task})
            lines.write(f"{status.version} {status.status}\n")
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
