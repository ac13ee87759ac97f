"""A process that reports jobs until it is killed: ``python -m tests.jobs.runs.job_reporter FILE NAME JOBS``."""

from __future__ import annotations

import sys

from eventstate import JobResult, JobStateStore


def main(file: str, name: str, count: int) -> None:
    with JobStateStore(file) as store:
        for number in range(count):
            id = f"{name}-{number}"
            attempt = store.mark_job_running(id, run_id="run", tool="git")
            store.record_event("note", {"run_id": "run", "job_id": id})
            store.update_job_result(id, JobResult(number % 2), attempt=attempt)
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
