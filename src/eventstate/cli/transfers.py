"""What ``export``, ``import-stream`` and ``copy`` have in common: progress, and what they say in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eventstate.log.transfer.report import TransferProgress, TransferReport

Prefix = Annotated[str, typer.Option("--prefix", help="Only streams whose ids begin so.")]
MachineName = Annotated[str | None, typer.Option("--machine", metavar="NAME", help="Only this machine's streams.")]
StateIds = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only this stream. Repeatable.")]
Commands = Annotated[bool, typer.Option("--commands", help="Idempotency keys too.")]
Documents = Annotated[bool, typer.Option("--documents", help="Documents of transactions too.")]


def prefix_of(prefix: str, machine: str | None) -> str:
    """The prefix of a machine's streams, or the one that was given.

    Raises:
        ConfigurationError: both are given.
    """
    from eventstate.core.ids import check_machine_name
    from eventstate.errors import ConfigurationError

    if machine is None:
        return prefix
    if prefix:
        raise ConfigurationError("--prefix and --machine exclude each other")
    return f"{check_machine_name(machine)}-"


def transferred(what: str, work: Callable[[TransferProgress], TransferReport]) -> tuple[TransferReport, float]:
    """Run a transfer with its progress shown; its report, and the seconds it took."""
    started = time.monotonic()
    with _shown(what) as progress:
        report = work(progress)
    return report, time.monotonic() - started


@contextmanager
def _shown(what: str) -> Generator[TransferProgress]:
    from eventstate.cli.output import bar

    with bar() as shown:
        task = shown.add_task(what, total=None, rate="")
        started = time.monotonic()

        def advance(report: TransferReport) -> None:
            seconds = time.monotonic() - started
            rate = f"{report.entries:,} entries, {report.entries / seconds:,.0f}/s" if seconds > 1 else ""
            shown.update(task, completed=report.total_streams, total=report.expected_streams, rate=rate)

        yield advance


def print_report(report: TransferReport, seconds: float, *, as_json: bool, names: Mapping[str, Any], line: str) -> None:
    """What was done, as ``line`` begins it; with ``as_json`` an object with ``names`` in front."""
    from eventstate.cli.output import count, note, print_json, print_text

    if as_json:
        counts = {
            "streams": report.streams,
            "streams_there": report.streams_there,
            "streams_behind": report.streams_behind,
            "entries": report.entries,
            "events": report.events,
            "snapshots": report.snapshots,
            "commands": report.commands,
            "documents": report.documents,
        }
        print_json({**names, **counts, "seconds": round(seconds, 3)})
        return
    parts = [count(report.streams, "stream"), count(report.events, "event"), count(report.snapshots, "snapshot")]
    parts += [count(report.commands, "idempotency key")] if report.commands else []
    parts += [count(report.documents, "document")] if report.documents else []
    there = f"; {count(report.streams_there, 'stream')} there already" if report.streams_there else ""
    print_text(f"{line}{', '.join(parts)} in {seconds:.1f} s{there}")
    if report.streams_behind:
        note(f"{count(report.streams_behind, 'stream')} grew meanwhile; run it again to bring the rest over")
