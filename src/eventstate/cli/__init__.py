"""The command line. Commands load what they need when they run, so that ``--help`` stays quick."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    for name in ("rich", "typer"):
        if find_spec(name) is None:
            print(f"the command line needs {name}: pip install 'eventstate[cli]'", file=sys.stderr)
            sys.exit(2)
    from eventstate.cli.app import app
    from eventstate.cli.exits import show_usage_as_json

    if "--json" not in sys.argv:
        app(prog_name="eventstate")
    else:
        with show_usage_as_json():
            sys.exit(app(prog_name="eventstate", standalone_mode=False))
