"""A process that subscribes, and notes what it is told until the job ends: ``task_watcher.py URL JOB LOG_FILE``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from eventstate import JobTasks, open_store


def main(url: str, job: str, log: Path) -> None:
    with open_store(url) as store, log.open("w", encoding="utf-8") as lines:
        with JobTasks(store, job).subscribe() as updates:
            lines.write("subscribed\n")
            lines.flush()
            for update in updates:
                status = update.status
                lines.write(f"{status.task} {status.version} {status.status} {update.replay}\n")
                lines.flush()
        lines.write(f"ended {time.time()}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
