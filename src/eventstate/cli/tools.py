"""Tools from ``--tools package.module:name``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from eventstate.cli.machines import named
from eventstate.errors import ConfigurationError

if TYPE_CHECKING:
    from eventstate.jobs.orchestrator.tool import Tool, Tools


def load_tools(texts: Sequence[str]) -> Tools:
    """The tools that ``module:name`` texts name: mappings of tools by name, or single tools and functions.

    A single one is known by its name in the module.

    Raises:
        ConfigurationError: the module can't be imported, or there is no tool under the name.
    """
    from eventstate.jobs.orchestrator.tool import Tools

    tools = Tools()
    for text in texts:
        found = named(text, f"--tools {text!r}")
        if isinstance(found, Mapping):
            members = cast("Mapping[str, Tool | Callable[..., Any]]", found)
        else:
            members = {text.rpartition(".")[2].rpartition(":")[2]: cast("Tool", found)}
        for name, tool in members.items():
            try:
                tools.register(name, tool)
            except ConfigurationError as error:
                raise ConfigurationError(f"--tools {text!r}: {error}") from None
    return tools
