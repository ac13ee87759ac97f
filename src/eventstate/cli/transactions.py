"""``eventstate transactions``: what transactions did, or why they did not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from eventstate.cli.options import MAX_LIMIT, Globals

if TYPE_CHECKING:
    from eventstate.transactions.records import TransactionRecord


def transactions(
    options: Globals,
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this one, with all that is known of it.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on; ISO 8601.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="NAME", help="'committed', 'rolled back' or 'failed'.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="The last so many.")] = 20,
) -> None:
    """The log of transactions, newest last. Those that only read leave no record.

    With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.records import parse_instant
    from eventstate.cli.session import opened
    from eventstate.errors import ConfigurationError
    from eventstate.machines.transaction_manager import TransactionManager

    try:
        moment = parse_instant(since) if since is not None else None
    except ValueError as error:
        raise ConfigurationError(f"--since: {error}") from None
    with opened(options, "read") as store:
        manager = TransactionManager(store, governor=options.resolved_governor)
        if id is not None:
            _show(options, manager.get_transaction(id), id)
            return
        log = manager.get_transaction_log(since=moment, status=_status(status))
        records = deque(log, maxlen=limit)
    if options.as_json:
        for record in records:
            print_json(_plain(record))
        return
    columns = ("transaction", "ended", "status", "attempts", "reads", "writes", "reason")
    rows = [
        (
            record.transaction_id,
            record.end_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            record.status.value,
            str(record.attempts),
            str(len(record.reads)),
            str(len(record.writes)),
            record.reason or "",
        )
        for record in records
    ]
    print_table(columns, rows, right=("attempts", "reads", "writes"))


def _show(options: Globals, record: TransactionRecord | None, id: str) -> None:
    from eventstate.cli.output import compact, print_fields, print_json
    from eventstate.errors import NotFoundError

    if record is None:
        raise NotFoundError(
            f"governor {options.resolved_governor!r} has no record of transaction {id!r}: pruned, or none"
        )
    plain = _plain(record)
    if options.as_json:
        print_json(plain)
        return
    print_fields((name.replace("_", " "), _cell(value, compact)) for name, value in plain.items() if value is not None)


def _cell(value: Any, compact: Any) -> str:
    if isinstance(value, list):
        return "\n".join(cast("list[str]", value)) or "none"
    return value if isinstance(value, str) else compact(value)


def _plain(record: TransactionRecord) -> dict[str, Any]:
    return {
        "transaction_id": record.transaction_id,
        "status": record.status.value,
        "start_time": record.start_time.isoformat(),
        "end_time": record.end_time.isoformat(),
        "attempts": record.attempts,
        "reads": list(record.reads),
        "writes": list(record.writes),
        "reason": record.reason,
        "result": record.result,
    }


def _status(name: str | None) -> Any:
    from eventstate.errors import InvalidInputError
    from eventstate.transactions.records import TransactionStatus

    if name is None:
        return None
    try:
        return TransactionStatus(name.replace("_", " ").replace("-", " ").lower())
    except ValueError:
        known = ", ".join(repr(status.value) for status in TransactionStatus)
        raise InvalidInputError(f"--status {name!r}: one of {known}") from None
