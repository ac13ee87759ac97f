"""How events become a state: the seam between stored streams and machines."""

from __future__ import annotations

from typing import Any, Protocol

from eventstate.core.codec import encode
from eventstate.core.delta import apply
from eventstate.core.format import DELETED, NO_STATE, REOPENED, StoredEvent
from eventstate.errors import ConfigurationError, CorruptionError


class Fold(Protocol):
    """Turns stored events into states. Pure: no side effects, however often it is run.

    ``version`` names the rules: states kept under another version are rebuilt, not trusted.
    """

    @property
    def version(self) -> int: ...

    @property
    def schema(self) -> int: ...

    def initial(self) -> Any:
        """A new initial state, sharing nothing with earlier ones."""
        ...

    def step(self, state: Any, event: StoredEvent, where: str) -> Any:
        """The state after an event."""
        ...

    def step_new(self, state: Any, event: StoredEvent, where: str) -> Any:
        """The state after an event that is about to be appended.

        Raises:
            IllegalTransitionError: the machine's declaration forbids it.
        """
        ...

    def dump(self, state: Any) -> bytes:
        """The state as JSON text."""
        ...

    def accepts(self, schema: int, where: str) -> bool:
        """Whether a state kept under ``schema`` can be loaded; if not, it is rebuilt from events.

        Raises:
            SchemaNewerError: newer code wrote it.
        """
        ...

    def load(self, plain: Any, schema: int, where: str) -> Any:
        """The state of decoded JSON that was dumped under ``schema``."""
        ...

    def label(self, state: Any) -> str | None:
        """The name of the declared state it is in, if the machine declares any."""
        ...


def step_recorded(state: Any, event: StoredEvent, where: str) -> Any:
    """The plain state after an event that carries the state or a delta; `NO_STATE` if it carries neither."""
    body = event.body
    if "state" in body:
        return body["state"]
    if "delta" in body:
        try:
            return apply(body["delta"], state)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CorruptionError(where=where, problem=f"its delta does not fit ({error})") from None
    return NO_STATE


def same_state(fold: Fold, left: Any, right: Any) -> bool:
    """Whether two states are the same. Equal text says so at once; sets may differ in the order of their text."""
    return fold.dump(left) == fold.dump(right) or left == right


class PlainFold:
    """Streams without a machine: each event carries its state, or the difference to the one before."""

    version = 0
    schema = 1

    def initial(self) -> Any:
        return None

    def step(self, state: Any, event: StoredEvent, where: str) -> Any:
        if event.type == DELETED or event.type == REOPENED:
            return None
        after = step_recorded(state, event, where)
        if after is NO_STATE:
            raise ConfigurationError(
                f"{where} is a typed event: pass its Machine in machines=[...] (--machines on the command line) to"
                " rebuild states; only its latest recorded state and its raw events can be read without"
            )
        return after

    def step_new(self, state: Any, event: StoredEvent, where: str) -> Any:
        return self.step(state, event, where)

    def dump(self, state: Any) -> bytes:
        return encode(state)

    def accepts(self, schema: int, where: str) -> bool:
        return True

    def load(self, plain: Any, schema: int, where: str) -> Any:
        return plain

    def label(self, state: Any) -> str | None:
        return None


PLAIN = PlainFold()
