"""The commands, put together."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from eventstate.cli.backup import backup
from eventstate.cli.check_archive import check_archive
from eventstate.cli.copying import copy
from eventstate.cli.demo.command import demo
from eventstate.cli.diff import diff
from eventstate.cli.doctor.command import doctor
from eventstate.cli.erase import erase
from eventstate.cli.exits import EXIT_CODES, is_debugging
from eventstate.cli.export import export
from eventstate.cli.firestore.emulator import emulator
from eventstate.cli.firestore.indexes import indexes
from eventstate.cli.firestore.init import init
from eventstate.cli.forget_keys import forget_keys
from eventstate.cli.fork import fork, lineage
from eventstate.cli.governors import governors
from eventstate.cli.history import history
from eventstate.cli.import_stream import import_stream
from eventstate.cli.importing.command import import_file
from eventstate.cli.jobs import jobs, runs, show_job
from eventstate.cli.keys import keys
from eventstate.cli.listing import list_states
from eventstate.cli.load import load
from eventstate.cli.locks import break_lock, locks
from eventstate.cli.migrate import migrate
from eventstate.cli.options import (
    AsJson,
    Command,
    Governor,
    Keyring,
    Machines,
    Url,
    add_command,
    add_default,
    globals_of,
)
from eventstate.cli.pins import hold, pins, release
from eventstate.cli.projections import (
    delete_projection,
    projections,
    rebuild_projection,
    run_projection,
    show_projection,
)
from eventstate.cli.prune import prune
from eventstate.cli.queue import add_job, answer_job, cancel_job, limit_jobs, revive_job, show_queue
from eventstate.cli.recover import recover
from eventstate.cli.replay_check import replay_check
from eventstate.cli.restore import restore
from eventstate.cli.run_job import run_job
from eventstate.cli.seal import seal
from eventstate.cli.seals import seals
from eventstate.cli.show import show
from eventstate.cli.stats import stats
from eventstate.cli.subscriptions import delete_subscription, show_parked, subscriptions
from eventstate.cli.tail import tail
from eventstate.cli.tasks import tasks
from eventstate.cli.transactions import transactions
from eventstate.cli.verify import verify
from eventstate.cli.watch import watch
from eventstate.cli.worker import worker

COMMANDS: dict[str, Command] = {
    "demo": demo,
    "import": import_file,
    "show": show,
    "history": history,
    "load": load,
    "diff": diff,
    "fork": fork,
    "lineage": lineage,
    "tail": tail,
    "subscriptions": subscriptions,
    "projections": projections,
    "runs": runs,
    "jobs": jobs,
    "tasks": tasks,
    "run-job": run_job,
    "worker": worker,
    "watch": watch,
    "list": list_states,
    "stats": stats,
    "governors": governors,
    "transactions": transactions,
    "locks": locks,
    "recover": recover,
    "verify": verify,
    "replay-check": replay_check,
    "seal": seal,
    "seals": seals,
    "export": export,
    "import-stream": import_stream,
    "copy": copy,
    "prune": prune,
    "check-archive": check_archive,
    "pins": pins,
    "hold": hold,
    "release": release,
    "forget-keys": forget_keys,
    "migrate": migrate,
    "erase": erase,
    "keys": keys,
    "backup": backup,
    "restore": restore,
    "doctor": doctor,
}

app = typer.Typer(
    help="Look into, prove and move the durable state machines of a store.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
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
    keyring: Keyring = None,
    as_json: AsJson = False,
    version: Version = False,  # noqa: ARG001 its callback has left by now
) -> None:
    ctx.obj = globals_of(url, governor, machines, keyring, as_json)
    if not is_debugging():
        # What goes wrong is told once, by the command; the library's own warnings would tell it many times.
        logging.getLogger("eventstate").addHandler(logging.NullHandler())


for name, function in COMMANDS.items():
    add_command(app, name, function)

lock = typer.Typer(help="Work on one lock.", no_args_is_help=True)
add_command(lock, "break", break_lock)
app.add_typer(lock, name="lock")

subscription = typer.Typer(help="Work on one subscription.", no_args_is_help=True)
add_command(subscription, "parked", show_parked)
add_command(subscription, "delete", delete_subscription)
app.add_typer(subscription, name="subscription")

job = typer.Typer(help="Look at one job.", no_args_is_help=True)
add_command(job, "show", show_job)
app.add_typer(job, name="job")

queue = typer.Typer(help="Look at the queues of jobs, and decide about jobs.")
add_default(queue, show_queue)
add_command(queue, "add", add_job)
add_command(queue, "cancel", cancel_job)
add_command(queue, "revive", revive_job)
add_command(queue, "answer", answer_job)
add_command(queue, "limit", limit_jobs)
app.add_typer(queue, name="queue")

projection = typer.Typer(help="Work on one projection.", no_args_is_help=True)
add_command(projection, "show", show_projection)
add_command(projection, "run", run_projection)
add_command(projection, "rebuild", rebuild_projection)
add_command(projection, "delete", delete_projection)
app.add_typer(projection, name="projection")

firestore = typer.Typer(help="Set a Firestore database up, by the Google Cloud CLI.", no_args_is_help=True)
add_command(firestore, "init", init)
add_command(firestore, "indexes", indexes)
add_command(firestore, "emulator", emulator)
app.add_typer(firestore, name="firestore")
