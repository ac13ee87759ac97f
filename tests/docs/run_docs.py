"""Runs the code of the documentation with a given interpreter: `python tests/docs/run_docs.py --python PATH`.

Every Markdown page is one program. Its ```python blocks run in order, in one namespace and an empty
directory. A ```console or ```text block right after one is the output it must print; `...` there stands
for any text. In a ```console block with `$ ` lines, the commands that begin with `eventstate` or `python`
run as well. `<!-- not run: reason -->` before a block leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("page_driver.py")
PAGE_SECONDS = 300
COMMANDS = ("eventstate", "python")

_FENCE = re.compile(r"^\s*(?P<ticks>`{3,})\s*(?P<language>[\w+-]*)")
_NOT_RUN = re.compile(r"^\s*<!--\s*not run\b:?\s*(?P<reason>.*?)\s*-->\s*$")


class PageError(Exception):
    """A page can't be run as it is written, or its code does not do what it shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. ``line`` is that of its first line of text, ``follows`` whether a block ends right above."""

    language: str
    text: str
    line: int
    follows: bool
    skipped: bool


@dataclass(slots=True, kw_only=True)
class Step:
    """Code or a command to run, and what it must print (None: not looked at)."""

    kind: Literal["python", "command"]
    code: str
    line: int
    expected: str | None = None


@dataclass(slots=True, kw_only=True)
class Page:
    """A page's steps in order, and how many blocks and commands are left out."""

    path: Path
    steps: list[Step] = field(default_factory=list)
    not_run: int = 0

    def __str__(self) -> str:
        compared = sum(step.expected is not None for step in self.steps)
        shown = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{shown}: {len(self.steps)} ran, {compared} outputs compared, {self.not_run} not run"


def find_pages(root: Path = ROOT) -> list[Path]:
    """README.md and everything below docs/ that holds code."""
    found = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [path for path in found if path.exists() and read_page(path).steps]


def read_page(path: Path) -> Page:
    """What there is to run on a page.

    Raises:
        PageError: a block is left out without a reason, or never ends.
    """
    page = Page(path=path)
    last: Step | None = None
    for block in _blocks(path):
        transcript = block.language == "console" and re.search(r"^\$ ", block.text, re.MULTILINE)
        if block.language == "python" and not block.skipped:
            last = Step(kind="python", code=block.text, line=block.line)
            page.steps.append(last)
        elif transcript and not block.skipped:
            _add_commands(page, block)
            last = None
        elif block.language in ("console", "text") and block.follows and last is not None and not block.skipped:
            last.expected = block.text
            last = None
        else:
            page.not_run += block.language == "python" or bool(transcript)
            last = None
    return page


def _blocks(path: Path) -> Iterator[Block]:
    lines = path.read_text(encoding="utf-8").splitlines()
    follows = skipped = False
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        fence = _FENCE.match(line)
        mark = _NOT_RUN.match(line)
        if fence is not None:
            start = at
            while at < len(lines) and lines[at].strip() != fence["ticks"]:
                at += 1
            if at == len(lines):
                raise PageError(f"{path}:{start}: this block never ends")
            text = textwrap.dedent("\n".join(lines[start:at])) + "\n"
            yield Block(language=fence["language"], text=text, line=start + 1, follows=follows, skipped=skipped)
            at += 1
            follows, skipped = True, False
        elif mark is not None:
            if not mark["reason"]:
                raise PageError(f"{path}:{at}: say why: <!-- not run: reason -->")
            skipped = True
        elif line.strip():
            follows = skipped = False


def _add_commands(page: Page, block: Block) -> None:
    """Split a transcript at its ``$ `` lines; a command goes on after a backslash at the end of its line."""
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
        if not part.startswith("$ "):
            continue
        command, _, output = part[2:].replace("\\\n", " ").partition("\n")
        if command.split()[0] in COMMANDS:
            line = block.line + block.text[: block.text.index(part)].count("\n")
            expected = output if output.strip() else None
            page.steps.append(Step(kind="command", code=command, line=line, expected=expected))
        else:
            page.not_run += 1


def run_page(page: Page, python: str) -> None:
    """Run one page in an empty directory.

    Raises:
        PageError: its code failed, printed something else than it shows, or took longer than `PAGE_SECONDS`.
    """
    program = Path(python).absolute()  # not resolved: the link is what makes it the environment's interpreter
    with tempfile.TemporaryDirectory(prefix="eventstate-docs-") as folder:
        try:
            done = subprocess.run(
                [str(program), "-P", str(DRIVER), str(page.path)],
                input=json.dumps([asdict(step) for step in page.steps]),
                capture_output=True,
                text=True,
                cwd=folder,
                env=_environment(program, folder),
                timeout=PAGE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PageError(f"{page.path}: still running after {PAGE_SECONDS} seconds") from None
    if done.returncode != 0:
        raise PageError(done.stderr or f"{page.path}: ended with exit code {done.returncode}")


def _environment(program: Path, folder: str) -> dict[str, str]:
    """The caller's, without what would let the source tree or the terminal change what is printed."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FORCE_COLOR")}
    return kept | {
        "PATH": os.pathsep.join([str(program.parent), kept.get("PATH", "")]),
        "HOME": folder,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def main() -> int:
    """Run all pages, or those named; the exit code is 1 if one fails."""
    parser = argparse.ArgumentParser(description="Run the code of the documentation.")
    parser.add_argument("--python", default=sys.executable, help="the interpreter whose installed eventstate is used")
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files; default: README.md and docs/")
    options = parser.parse_args()
    failed = 0
    paths: list[Path] = [path.resolve() for path in options.pages] or find_pages()
    if not paths:
        print("docs: no page has code to run", file=sys.stderr)
        return 1
    for path in paths:
        try:
            page = read_page(path)
            run_page(page, options.python)
        except PageError as error:
            failed += 1
            print(error, file=sys.stderr)
        else:
            print(page)
    print(f"docs: {len(paths) - failed} pages passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
