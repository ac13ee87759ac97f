"""How events become a state: the seam between stored streams and machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from eventstate.core.codec import encode
from eventstate.core.delta import apply, patch
from eventstate.core.documents import Key
from eventstate.core.format import DELETED, NO_STATE, REOPENED, RESERVED, Entry, StoredEvent
from eventstate.errors import ConfigurationError, CorruptionError, SchemaError


class Fold(Protocol):
    """Turns stored events into states. Pure: no side effects, however often it is run.

    ``version`` names the rules: states kept under another version are rebuilt, not trusted.
    """

    @property
    def version(self) -> int: ...

    @property
    def schema(self) -> int: ...

    @property
    def is_plain(self) -> bool:
        """Whether states are JSON data themselves, so that what was dumped can always be loaded."""
        ...

    @property
    def protects(self) -> bool:
        """Whether what it reads and writes is encrypted."""
        ...

    @property
    def bare(self) -> Fold:
        """The same rules without encryption, for states that stay in memory."""
        ...

    def opens(self, plain: Any, version: int) -> bool:
        """Whether a state kept for a version can be read; if not, it is rebuilt from events.

        Raises:
            KeyLostError: it is encrypted under a key that the keyring does not know.
        """
        ...

    def begin_erased(self, plain: Any, where: str) -> Any:
        """The state in the place of a kept one that was erased; `NO_STATE` if it was not."""
        ...

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

    def replay(self, state: Any, entries: Iterable[Entry], last: int, where: Callable[[int], str]) -> Any:
        """The state after the events of entries that follow each other, as far as the version ``last``.

        The same as many a `step`, but the state and the entries are used up: parts of them go on in the result.
        ``where`` names the event of a version in errors.
        """
        ...

    def dump(self, state: Any) -> bytes:
        """The state as JSON text."""
        ...

    def accepts(self, schema: int, where: Key | str) -> bool:
        """Whether a state kept under ``schema`` can be loaded; if not, it is rebuilt from events.

        Raises:
            SchemaNewerError: newer code wrote it.
        """
        ...

    def load(self, plain: Any, schema: int, where: Key | str) -> Any:
        """The state of decoded JSON that was dumped under ``schema``."""
        ...

    def label(self, state: Any) -> str | None:
        """The name of the declared state it is in, if the machine declares any."""
        ...


def step_recorded(state: Any, event: StoredEvent, where: str) -> Any:
    """The plain state after an event that carries the state or a delta; `NO_STATE` if it carries neither."""
    try:
        return _recorded(event.body, state, apply)
    except _MISFITS as error:
        raise _misfit(where, error) from None


_MISFITS: Final = (ValueError, TypeError, KeyError, IndexError)


def _misfit(where: str, error: Exception) -> CorruptionError:
    return CorruptionError(where=where, problem=f"its delta does not fit ({error})")


def _recorded(body: Mapping[str, Any], state: Any, changed: Callable[[Any, Any], Any]) -> Any:
    if "state" in body:
        return body["state"]
    if "delta" in body:
        return changed(body["delta"], state)
    return NO_STATE


def check_reserved(type_: str, where: str) -> None:
    """Refuse an event of the library's own that a later release has written.

    Raises:
        SchemaError: it is one.
    """
    if type_.startswith(RESERVED):
        raise SchemaError(where=where, problem=f"{type_!r} is an event of a newer eventstate: upgrade it")


def same_state(fold: Fold, left: Any, right: Any) -> bool:
    """Whether two states are the same. Equal text says so at once; sets may differ in the order of their text."""
    fold = fold.bare
    return fold.dump(left) == fold.dump(right) or left == right


class PlainFold:
    """Streams without a machine: each event carries its state, or the difference to the one before."""

    version = 0
    schema = 1
    is_plain = True
    protects = False

    @property
    def bare(self) -> PlainFold:
        return self

    def opens(self, plain: Any, version: int) -> bool:
        return True

    def begin_erased(self, plain: Any, where: str) -> Any:
        return NO_STATE

    def initial(self) -> Any:
        return None

    def step(self, state: Any, event: StoredEvent, where: str) -> Any:
        after = step_recorded(state, event, where)
        return self._without_state(event.type, where) if after is NO_STATE else after

    def replay(self, state: Any, entries: Iterable[Entry], last: int, where: Callable[[int], str]) -> Any:
        for entry in entries:
            version = entry.first
            for body in entry.events:
                if version > last:
                    return state
                try:
                    state = _recorded(body, state, patch)
                except _MISFITS as error:
                    raise _misfit(where(version), error) from None
                if state is NO_STATE:
                    state = self._without_state(body["type"], where(version))
                version += 1
        return state

    def _without_state(self, type_: str, where: str) -> None:
        """The state after an event that carries none."""
        if type_ not in (DELETED, REOPENED):
            check_reserved(type_, where)
            raise ConfigurationError(
                f"{where} is a typed event: pass its Machine in machines=[...] (--machines on the command line) to"
                " rebuild states; only its latest recorded state and its raw events can be read without"
            )

    def step_new(self, state: Any, event: StoredEvent, where: str) -> Any:
        return self.step(state, event, where)

    def dump(self, state: Any) -> bytes:
        return encode(state)

    def accepts(self, schema: int, where: Key | str) -> bool:
        return True

    def load(self, plain: Any, schema: int, where: Key | str) -> Any:
        return plain

    def label(self, state: Any) -> str | None:
        return None


PLAIN = PlainFold()
