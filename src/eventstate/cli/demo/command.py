"""``eventstate demo``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.demo.report import Report

Tick = Callable[[str, float], None]


def demo(
    options: Globals,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="Import this event log under kills instead: .csv[.gz], .jsonl[.gz]."
        ),
    ] = None,
    state_id: Annotated[
        str | None, typer.Option("--state-id", metavar="COLUMN", help="With --data; else 'case'.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="COLUMN", help="With --data; else 'concept:name'.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COLUMN", help="With --data; else 'time:timestamp'.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, metavar="N", help="How long processes are killed.")
    ] = 40,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with the store and say where it is.")] = False,
) -> int:
    """Kill processes that write, again and again, and prove that nothing is lost or doubled.

    Three processes append to the orders of one SQLite store. Each writes down, outside the store, what it is
    about to append and what was acknowledged. Meanwhile they are killed with SIGKILL and started again. In the
    end every order is rebuilt from its first event and compared with what was acknowledged. Exit code 1 if
    anything is wrong. It works in a temporary folder of its own: --url and --governor have no effect.
    """
    from eventstate.cli.demo.report import print_report
    from eventstate.cli.output import note

    folder = Path(tempfile.mkdtemp(prefix="eventstate-demo-"))
    try:
        report = _with_progress(seconds, lambda tick: _run(folder, data, (state_id, action, time), seconds, tick))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print_report(report, as_json=options.as_json)
    if keep:
        note(f"kept in {folder}")
    return ExitCode.OK if report.is_good else ExitCode.FINDING


def _run(
    folder: Path, data: Path | None, columns: tuple[str | None, str | None, str | None], seconds: float, tick: Tick
) -> Report:
    if data is None:
        from eventstate.cli.demo.crashes import crash_writers

        return crash_writers(folder, seconds, Random(), tick)
    from eventstate.cli.demo.replay import crash_import, guess_columns
    from eventstate.cli.importing.files import EventFile

    file = EventFile(data.absolute())
    state_id, action, time = columns
    chosen = guess_columns(file, state_id=state_id, action=action, time=time)
    return crash_import(folder, file, chosen, seconds, Random(), tick)


def _with_progress(seconds: float, run: Callable[[Tick], Report]) -> Report:
    from eventstate.cli.output import countdown

    with countdown() as shown:
        task = shown.add_task("starting", total=seconds)

        def tick(doing: str, gone: float) -> None:
            shown.update(task, description=doing, completed=min(gone, seconds))

        return run(tick)
