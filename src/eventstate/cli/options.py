"""The global options, taken before and after the command word, and what all commands have in common."""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from eventstate.cli.exits import ExitCode, is_of_output, show_failure, show_lost_output

DEFAULT_URL = "sqlite:///eventstate.db"
DEFAULT_GOVERNOR = "default"
DEFAULT_JOBS_GOVERNOR = "jobs"
_PANEL = "Global options"
MAX_LIMIT = 1_000_000_000

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        rich_help_panel=_PANEL,
        help=f"The store: sqlite:///file.db or firestore://project. Or EVENTSTATE_URL; else {DEFAULT_URL}.",
    ),
]
Governor = Annotated[
    str | None,
    typer.Option(
        "--governor",
        metavar="NAME",
        rich_help_panel=_PANEL,
        help=f"Whose machines; {DEFAULT_GOVERNOR!r} unless given, for jobs {DEFAULT_JOBS_GOVERNOR!r}.",
    ),
]
Machines = Annotated[
    list[str] | None,
    typer.Option(
        "--machines",
        metavar="MODULE:NAME",
        rich_help_panel=_PANEL,
        help="Declared machines: a Machine, or a list or dict of them, imported from here or installed. Repeatable.",
    ),
]
Keyring = Annotated[
    str | None,
    typer.Option(
        "--keyring",
        metavar="URL",
        rich_help_panel=_PANEL,
        help="The keys for machines that declare subjects: the URL of their store. Or EVENTSTATE_KEYRING.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", rich_help_panel=_PANEL, help="JSON on stdout, errors too on stderr.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """The global options as they were given at one place."""

    url: str | None = None
    governor: str | None = None
    machines: tuple[str, ...] = ()
    keyring: str | None = None
    as_json: bool = False

    def over(self, earlier: Globals) -> Globals:
        """These, and for what they leave open the earlier ones."""
        return Globals(
            url=self.url or earlier.url,
            governor=self.governor or earlier.governor,
            machines=earlier.machines + self.machines,
            keyring=self.keyring or earlier.keyring,
            as_json=self.as_json or earlier.as_json,
        )

    @property
    def resolved_url(self) -> str:
        return self.url or os.environ.get("EVENTSTATE_URL") or DEFAULT_URL

    @property
    def resolved_keyring(self) -> str | None:
        return self.keyring or os.environ.get("EVENTSTATE_KEYRING") or None

    @property
    def resolved_governor(self) -> str:
        return self.governor or DEFAULT_GOVERNOR

    @property
    def jobs_governor(self) -> str:
        """Whose runs, jobs and queues."""
        return self.governor or DEFAULT_JOBS_GOVERNOR


def globals_of(
    url: Url = None,
    governor: Governor = None,
    machines: Machines = None,
    keyring: Keyring = None,
    as_json: AsJson = False,
) -> Globals:
    """The global options from what was parsed; also the one place that declares them."""
    return Globals(url=url, governor=governor, machines=tuple(machines or ()), keyring=keyring, as_json=as_json)


Command = Callable[..., int | None]


def add_command(app: typer.Typer, name: str, function: Command) -> None:
    """Make ``function(globals, ...)`` a command that takes the global options as well as its own.

    What it returns is the exit code (None: 0); library errors become a line on stderr and their exit code.
    """
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = list(inspect.signature(globals_of).parameters.values())
    hints = {
        **typing.get_type_hints(function, include_extras=True),
        **typing.get_type_hints(globals_of, include_extras=True),
    }

    def run(ctx: typer.Context, **values: Any) -> None:
        given = globals_of(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        settled = given.over(ctx.find_root().obj)
        raise typer.Exit(_guarded(lambda: function(settled, **values), as_json=settled.as_json))

    # typer reads what a command takes from its signature; ours is put together from two.
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in (*own, *shared)]
    run.__signature__ = inspect.Signature([context, *parameters])
    run.__annotations__ = {"ctx": typer.Context, **{p.name: p.annotation for p in parameters}}
    app.command(name, help=_help_of(function))(run)


def _help_of(function: Callable[..., Any]) -> str:
    """Its docstring, a line for each paragraph: typer would keep where the lines of the source end."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def add_default(app: typer.Typer, function: Callable[[Globals], int | None]) -> None:
    """Make ``function(globals)`` what a group of commands does when none of them is named."""

    def run(
        ctx: typer.Context,
        url: Url = None,
        governor: Governor = None,
        machines: Machines = None,
        keyring: Keyring = None,
        as_json: AsJson = False,
    ) -> None:
        root = ctx.find_root()
        root.obj = settled = globals_of(url, governor, machines, keyring, as_json).over(root.obj)
        if ctx.invoked_subcommand is None:
            raise typer.Exit(_guarded(lambda: function(settled), as_json=settled.as_json))

    app.callback(invoke_without_command=True, help=_help_of(function))(run)


def _guarded(call: Callable[[], int | None], *, as_json: bool) -> int:
    try:
        code = call()
        sys.stdout.flush()
    except typer.Exit as leaving:
        return leaving.exit_code
    except (typer.Abort, KeyboardInterrupt):
        with suppress(OSError):  # with the terminal that is gone
            print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 the caller's own code runs in here too: evolve, upcasters
        if not is_of_output(error):
            return show_failure(error, as_json=as_json)
        # What is still buffered must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return show_lost_output(error, as_json=as_json)
    return code or ExitCode.OK
