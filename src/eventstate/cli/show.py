"""``eventstate show``: one state as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.machines.machine import Machine
    from eventstate.machines.states import StateSnapshot


def show(
    options: Globals,
    id: Annotated[str, typer.Argument(metavar="ID", help="The full state id, such as order-42.")],
    diagram: Annotated[
        bool, typer.Option("--diagram", help="The declared transitions as Mermaid, the current state marked.")
    ] = False,
) -> None:
    """The current state: version, data, who changed it and why, and which actions are legal.

    Legal actions and the diagram need the machine's declaration: --machines.
    """
    from eventstate.cli.hints import hinting
    from eventstate.cli.machines import machine_for
    from eventstate.cli.output import print_json
    from eventstate.cli.session import persister

    with persister(options, "read") as opened, hinting(opened, id):
        state = opened.load(id)
    record = described(state, machine_for(options.machines, state.id), diagram=diagram)
    if options.as_json:
        print_json(record)
    else:
        print_state(record)


def described(state: StateSnapshot[Any], machine: Machine[Any, Any] | None, *, diagram: bool = False) -> dict[str, Any]:
    """The record of a state with what its machine says about it.

    Raises:
        ConfigurationError: a diagram without a machine that declares transitions.
    """
    from eventstate.cli.records import legal_actions, state_record
    from eventstate.errors import ConfigurationError

    record = state_record(state)
    actions = legal_actions(machine, state.data) if machine is not None else None
    if actions is not None:
        record["legal_actions"] = actions
    if diagram:
        if machine is None:
            raise ConfigurationError(f"a diagram of {state.id!r} needs its machine: pass --machines module:name")
        record["diagram"] = machine.diagram(state.data)
    return record


def print_state(record: dict[str, Any]) -> None:
    """A state for people."""
    from eventstate.cli.output import compact, pretty, print_fields, print_text

    fields = [
        ("state", record["state_id"]),
        ("version", f"{record['version']:,}"),
        ("action", record["action"]),
        ("recorded", record["timestamp"]),
    ]
    if record["occurred_at"]:
        fields.append(("occurred", record["occurred_at"]))
    fields += [
        (name.replace("_", " "), value if isinstance(value, str) else compact(value))
        for name, value in record["metadata"].items()
    ]
    if "legal_actions" in record:
        fields.append(("legal actions", ", ".join(record["legal_actions"]) or "none"))
    fields.append(("data", pretty(record["data"])))
    print_fields(fields)
    if "diagram" in record:
        print_text("\n" + record["diagram"])
