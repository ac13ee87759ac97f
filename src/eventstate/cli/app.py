"""The commands, put together."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from eventstate.cli.backup import backup
from eventstate.cli.demo.command import demo
from eventstate.cli.doctor.command import doctor
from eventstate.cli.exits import EXIT_CODES, is_debugging
from eventstate.cli.governors import governors
from eventstate.cli.history import history
from eventstate.cli.importing.command import import_file
from eventstate.cli.listing import list_states
from eventstate.cli.load import load
from eventstate.cli.locks import break_lock, locks
from eventstate.cli.options import AsJson, Command, Governor, Machines, Url, add_command, globals_of
from eventstate.cli.recover import recover
from eventstate.cli.restore import restore
from eventstate.cli.show import show
from eventstate.cli.stats import stats
from eventstate.cli.transactions import transactions
from eventstate.cli.verify import verify

COMMANDS: dict[str, Command] = {
    "demo": demo,
    "import": import_file,
    "show": show,
    "history": history,
    "load": load,
    "list": list_states,
    "stats": stats,
    "governors": governors,
    "transactions": transactions,
    "locks": locks,
    "recover": recover,
    "verify": verify,
    "backup": backup,
    "restore": restore,
    "doctor": doctor,
}

app = typer.Typer(
    help="Look into, prove and move the durable state machines of a store.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=is_debugging(),
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from eventstate import __version__

        print(f"eventstate {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
]


@app.callback()
def keep_globals(
    ctx: typer.Context,
    url: Url = None,
    governor: Governor = None,
    machines: Machines = None,
    as_json: AsJson = False,
    version: Version = False,  # noqa: ARG001 its callback has left by now
) -> None:
    ctx.obj = globals_of(url, governor, machines, as_json)
    if not is_debugging():
        # What goes wrong is told once, by the command; the library's own warnings would tell it many times.
        logging.getLogger("eventstate").addHandler(logging.NullHandler())


for name, function in COMMANDS.items():
    add_command(app, name, function)

lock = typer.Typer(help="Work on one lock.", no_args_is_help=True)
add_command(lock, "break", break_lock)
app.add_typer(lock, name="lock")
