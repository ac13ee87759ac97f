"""Runs the steps of one page, read as JSON from standard input, with the interpreter that runs this file.

It uses the standard library alone: the interpreter is that of an environment with nothing but the package.
"""

from __future__ import annotations

import codeop
import contextlib
import doctest
import io
import json
import subprocess
import sys
import traceback
import types
from typing import Any

Step = dict[str, Any]


class Program:
    """The page as one program: one namespace, and `from __future__` imports that stay in force."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._compile = codeop.Compile()
        self._module = types.ModuleType("__main__")
        self._module.__file__ = path
        # Type hints of classes made by the page are looked up in the module that they name.
        sys.modules["__main__"] = self._module

    def run(self, step: Step) -> str:
        """What the step prints."""
        if step["kind"] == "command":
            return _run_command(step["code"])
        # Leading newlines make the line numbers of a traceback those of the page.
        code = self._compile("\n" * (step["line"] - 1) + step["code"], self._path, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self._module.__dict__)
        return printed.getvalue()


def _run_command(command: str) -> str:
    done = subprocess.run(
        command,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{command}` ended with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def _difference(expected: str, printed: str) -> str | None:
    checker = doctest.OutputChecker()
    expected, printed = _trimmed(expected), _trimmed(printed)
    if checker.check_output(expected, printed, doctest.ELLIPSIS):
        return None
    return checker.output_difference(doctest.Example("", expected), printed, doctest.ELLIPSIS | doctest.REPORT_NDIFF)


def _trimmed(text: str) -> str:
    """Spaces at the end of a line don't show, so they don't count."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


def main() -> int:
    path = sys.argv[1]
    program = Program(path)
    for step in json.load(sys.stdin):
        try:
            printed = program.run(step)
        except BaseException:
            print(f"{path}:{step['line']}: failed\n{traceback.format_exc()}", file=sys.stderr)
            return 1
        difference = None if step["expected"] is None else _difference(step["expected"], printed)
        if difference is not None:
            print(f"{path}:{step['line']}: prints something else\n{difference}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
