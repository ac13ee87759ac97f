"""Jobs of one run, done by a program and by a function of this file; what became of each, and the trail they leave.

Tracked in jobs.db, beside you. Look at it with `eventstate jobs --url sqlite:///jobs.db`.
"""

from __future__ import annotations

import sys
import time

from eventstate import JobResult, JobSpec, JobStateStore, Orchestrator, SubprocessTool, ToolContext

PAGES = {"1": "short lines\nonly", "2": "fine", "3": "x" * 200}


def lint(job: JobSpec, _context: ToolContext) -> JobResult:
    """A tool that is a function. What it raises would be a failure too."""
    long = sum(len(line) > 80 for line in PAGES[job.metadata["page"]].splitlines())
    if long:
        return JobResult(1, stderr=f"{long} line is too long\n")
    return JobResult(0, metadata={"checked": job.metadata["page"]})


def sleep(_job: JobSpec, context: ToolContext) -> None:
    """A tool that takes long, and looks now and then whether it is to end."""
    while True:
        context.check()
        time.sleep(0.05)


TOOLS = {"lint": lint, "sleep": sleep, "python": SubprocessTool(timeout=60)}


def main() -> None:
    with JobStateStore("jobs.db") as store:
        orchestrator = Orchestrator(store, TOOLS)
        run = store.create_run(metadata={"by": "job_tools.py"})
        store.update_run_status(run, "running")
        mark = run.removeprefix("run-")  # a job is done once: each run of this program has jobs of its own
        jobs = [JobSpec(f"{mark}.lint-{page}", tool="lint", metadata={"page": page}) for page in PAGES]
        jobs.append(JobSpec(f"{mark}.slow-1", tool="sleep", metadata={"timeout_seconds": 1}))
        command = {"exe": sys.executable, "args": ["-c", "print('hello')"]}
        jobs.append(JobSpec(f"{mark}.hello-1", tool="python", command=command))
        results = []
        for job in jobs:
            job.run_id = run
            results.append(orchestrator.run(job))
        store.update_run_status(run, "completed" if all(result.success for result in results) else "failed")

        for job in reversed(store.list_jobs(run)):
            error = f": {job['error_message']}" if job["error_message"] else ""
            print(f"{job['job_id'].partition('.')[2]} {job['status']}{error}")
        events = store.list_events(run)
        print(f"{len(jobs)} jobs, {len(events)} events, the run {store.get_run(run)['status']}")


if __name__ == "__main__":
    main()
