"""``eventstate run-job``: do the job of a file now."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.jobs.runs.results import JobResult


def run_job(
    options: Globals,
    job_file: Annotated[Path, typer.Option("--job-file", metavar="FILE", help="The job, as JSON.")],
    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", metavar="MODULE:NAME", help="Your own tools: a dict of them, or one. Repeatable."),
    ] = None,
) -> ExitCode:
    """Do a job now, keep track of it, and print how it ended.

    Without --tools a job of the tools aider, codex, tests and git runs the program that it names.
    """
    from eventstate.cli.interrupting import interrupted_by_signals
    from eventstate.cli.jobs import job_store
    from eventstate.cli.output import print_json
    from eventstate.cli.tools import load_tools
    from eventstate.jobs.orchestrator.orchestrator import Orchestrator

    chosen = load_tools(tools) if tools else None
    with interrupted_by_signals(), job_store(options, "create") as store:
        result = Orchestrator(store, chosen).run_job(job_file)
    if options.as_json:
        print_json(asdict(result))
    else:
        _print(result)
    return _code(result)


def _print(result: JobResult) -> None:
    from eventstate.cli.output import note, print_text

    if result.stdout:
        print_text(result.stdout.rstrip("\n"))
    if result.stderr:
        note(result.stderr.rstrip("\n"))
    late = "; it came too late and does not count" if result.metadata.get("late") else ""
    note(f"{result.outcome} with exit code {result.exit_code} in {result.duration_s:.2f} s{late}")


def _code(result: JobResult) -> ExitCode:
    from eventstate.jobs.runs.results import NO_JOB_FILE, UNKNOWN_TOOL

    if result.success:
        return ExitCode.CONFLICT if result.metadata.get("late") else ExitCode.OK
    return {NO_JOB_FILE: ExitCode.NOT_FOUND, UNKNOWN_TOOL: ExitCode.USAGE}.get(result.exit_code, ExitCode.FINDING)
