"""The command line. Commands load what they need when they run, so that ``--help`` stays quick."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        import rich as _rich  # noqa: F401
        import typer as _typer  # noqa: F401
    except ModuleNotFoundError as error:
        print(f"the command line needs {error.name}: pip install 'eventstate[cli]'", file=sys.stderr)
        sys.exit(2)
    from eventstate.cli.app import app

    app(prog_name="eventstate")
