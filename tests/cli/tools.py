"""Tools of the tests; imported by the command line as ``tests.cli.tools:...``."""

from __future__ import annotations

from eventstate import JobResult, JobSpec, ToolContext


def work(job: JobSpec, context: ToolContext) -> JobResult:
    return JobResult(0, stdout=f"{job.job_id} attempt {context.attempt}\n")


def fail(_job: JobSpec, _context: ToolContext) -> JobResult:
    return JobResult(3, stderr="no luck\n", duration_s=1.5)


TOOLS = {"work": work, "fail": fail}
NO_TOOL = 42
