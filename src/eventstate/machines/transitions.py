"""Declared states and the transitions that are legal between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from eventstate.errors import ConfigurationError, IllegalTransitionError


class Transitions:
    """The table of a machine, and how to tell which declared state a state is in."""

    def __init__(
        self,
        machine: str,
        table: Sequence[tuple[str, str, str]] | None,
        state_of: str | Callable[[Any], str] | None,
    ) -> None:
        if state_of is None:
            raise ConfigurationError(f"machine {machine!r}: transitions need state_of=, an attribute or a function")
        self._machine = machine
        self._state_of = state_of
        self.table = table
        self._targets: dict[tuple[str, str], set[str]] = {}
        for row in table or ():
            if len(row) != 3 or not all(isinstance(part, str) for part in row):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(f"machine {machine!r}: {row!r} is no transition; write (from, action, to)")
            source, action, target = row
            self._targets.setdefault((source, action), set()).add(target)

    def label(self, state: Any) -> str:
        """The declared state that a state is in."""
        name = self._state_of
        try:
            if callable(name):
                label = name(state)
            elif isinstance(state, Mapping):
                label = cast("Mapping[str, Any]", state)[name]
            else:
                label = getattr(state, name)
        except (AttributeError, KeyError):
            if callable(name):
                raise
            raise ConfigurationError(
                f"machine {self._machine!r}: state_of={name!r}, but its states have none"
            ) from None
        value: object = getattr(label, "value", label)
        if not isinstance(value, str):
            raise ConfigurationError(f"machine {self._machine!r}: state_of gave {label!r}, which is no text")
        return value

    def actions(self, label: str) -> tuple[str, ...]:
        """The actions legal in a declared state, in the order declared."""
        return tuple(dict.fromkeys(action for source, action, _ in self.table or () if source == label))

    def check(self, label: str, action: str) -> None:
        """Raise an IllegalTransitionError unless the action is legal in a declared state."""
        if self.table is not None and (label, action) not in self._targets:
            legal = self.actions(label)
            raise IllegalTransitionError(machine=self._machine, state=label, action=action, legal=legal)

    def check_led_to(self, source: str, action: str, target: str) -> None:
        """Raise an IllegalTransitionError unless an action that is legal led where it is declared to."""
        if self.table is not None and target not in self._targets[source, action]:
            legal = self.actions(source)
            raise IllegalTransitionError(machine=self._machine, state=source, action=action, legal=legal, target=target)

    def diagram(self, initial: Any, state: Any | None) -> str:
        """Mermaid text of the table; the state that ``state`` is in is marked."""
        labels = list(dict.fromkeys(name for source, _, target in self.table or () for name in (source, target)))
        ids = {label: f"s{index}" for index, label in enumerate(labels)}
        lines = ["stateDiagram-v2"]
        lines += [f'    state "{_quoted(label)}" as {ids[label]}' for label in labels]
        first = self.label(initial)
        if first in ids:
            lines.append(f"    [*] --> {ids[first]}")
        lines += [f"    {ids[s]} --> {ids[t]}: {_quoted(action)}" for s, action, t in self.table or ()]
        sources = {source for source, _, _ in self.table or ()}
        lines += [f"    {ids[label]} --> [*]" for label in labels if label not in sources]
        if state is not None and self.label(state) in ids:
            lines += [
                "    classDef current font-weight:bold,stroke-width:4px",
                f"    class {ids[self.label(state)]} current",
            ]
        return "\n".join(lines)


_SPECIAL = str.maketrans({'"': "#quot;", ":": "#colon;", ";": "#59;", "#": "#35;", "\n": " "})


def _quoted(text: str) -> str:
    return text.translate(_SPECIAL)
