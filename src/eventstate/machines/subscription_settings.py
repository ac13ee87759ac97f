"""What a subscription is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple, cast

from eventstate.core.ids import check_id, check_machine_name
from eventstate.errors import ConfigurationError, InvalidInputError
from eventstate.log.following import Place, Selection
from eventstate.log.positions import check_subscription_name

PATIENCE_SECONDS: Final = 300.0

OnPoison = Literal["park", "hold", "stop"]
Start = Place | int | str


class Settings(NamedTuple):
    """What a subscription is asked for; see `Subscription`."""

    name: str | None
    selection: Selection
    start: Start
    shared: bool
    attempts: int
    on_poison: OnPoison
    save_every: int
    patience: float


def check_settings(settings: Settings) -> None:
    """Raise unless the settings go together.

    Raises:
        ConfigurationError: they contradict each other.
        InvalidInputError: one of them can't be used.
    """
    if settings.name is None:
        if settings.shared:
            raise ConfigurationError("a shared subscription needs a name: its members find each other by it")
    else:
        check_subscription_name(settings.name)
    if settings.on_poison not in ("park", "hold", "stop"):
        raise InvalidInputError(f"on_poison={settings.on_poison!r}: 'park', 'hold' or 'stop'")
    if settings.attempts < 1 or settings.save_every < 1:
        raise InvalidInputError("attempts= and save_every= begin at 1")
    if settings.shared and settings.selection.state_id is not None:
        raise ConfigurationError("one state can't be shared: its events are handled in order, by one")
    start = settings.start
    if isinstance(start, bool) or not isinstance(start, Place | int | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"start={start!r}: 'beginning', 'now', a position, or a place of a subscription")


def selection_of(governor: str | None, state_id: str | None, machines: object, actions: object) -> Selection:
    """What a caller wants to follow.

    Raises:
        InvalidInputError, InvalidIdError: it can't be.
    """
    if state_id is not None and machines is not None:
        raise InvalidInputError("a subscription to one state follows no others: leave machines= out")
    names, types = _names("machines", machines), _names("actions", actions)
    for name in names or ():
        check_machine_name(name)
    for type_ in types or ():
        check_id("action", type_)
    return Selection(governor, state_id, names, types)


def _names(what: str, given: object) -> frozenset[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise InvalidInputError(f"{what}={given!r}: pass a list")
    names = frozenset(getattr(item, "name", item) for item in cast("Iterable[Any]", given))
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(f"{what}={given!r}: pass at least one name, or leave it out")
    return names
