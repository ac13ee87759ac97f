"""What somebody may have meant: ids and machines that exist, found in a few looks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from eventstate.core.ids import machine_of
from eventstate.errors import EventStateError, StateNotFoundError

if TYPE_CHECKING:
    from eventstate.cli.machines import AnyMachine
    from eventstate.machines.persister import StateMachinePersister

LOOKS: Final = 50
"""Names looked at, so that a hint costs little in a store of any size."""

_LAST: Final = "\U0010ffff"


@contextmanager
def hinting(persister: StateMachinePersister, id: str) -> Generator[None]:
    """Inside, a state that does not exist is told with those that may be meant.

    Raises:
        StateNotFoundError: with what there is instead, if there is anything.
    """
    try:
        yield
    except StateNotFoundError as error:
        found: list[str] = []
        with suppress(EventStateError):  # the hint must not hide what happened
            found = [other for name in names(persister) if persister.exists(other := f"{name}-{id}")]
        if error.state_id != id or not found:
            raise
        detail = f"there is {' and '.join(map(repr, found[:3]))}"
        raise StateNotFoundError(governor=error.governor, state_id=id, detail=detail) from None


def names(persister: StateMachinePersister) -> Iterator[str]:
    """What ids begin with before their dash, in order, each found by one look."""
    after = ""
    for _ in range(LOOKS):
        page = persister.list_states(after=after, limit=1)
        if not page.states:
            return
        name = machine_of(page.states[0].id)
        if name:
            yield name
        after = f"{name}-{_LAST}" if name else page.states[0].id


def why_empty(
    persister: StateMachinePersister, declared: Sequence[AnyMachine], machine: str | None, state: str | None
) -> str:
    """What to say of a list in which nothing is."""
    known = sorted({*names(persister), *(one.name for one in declared)})
    if machine is not None and machine not in known:
        others = f"there is {_listed(known)}" if known else "the governor has none, and --machines names none"
        return f"there is no machine {machine!r}; {others}"
    chosen = [one for one in declared if machine in (None, one.name)]
    labels = list(dict.fromkeys(label for one in chosen for label in one.declared_states))
    if state is not None and labels and state not in labels:
        return f"no machine declares a state {state!r}; declared: {_listed(labels)}"
    if state is not None:
        return f"no state is in {state!r}, and none had it as its last action"
    return "no state matches"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "") if names else "none"
