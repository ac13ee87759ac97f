"""The runner of the documentation sees what is wrong with a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.run_docs import Page, PageError, read_page, run_page


def write(folder: Path, text: str) -> Page:
    path = folder / "page.md"
    path.write_text(text.replace("'''", "```"), encoding="utf-8")
    return read_page(path)


def run(folder: Path, text: str) -> Page:
    page = write(folder, text)
    run_page(page, sys.executable)
    return page


def test_blocks_share_a_namespace_and_outputs_are_compared(tmp_path: Path) -> None:
    page = run(
        tmp_path,
        "# Title\n'''python\nfrom __future__ import annotations\nx = 20\n'''\nwords\n"
        "'''python\ndef f(y: Nowhere): return x + y\nprint(f(1))\nprint('id', 77)\n'''\n\n'''text\n21\nid ...\n'''\n",
    )
    assert [step.expected for step in page.steps] == [None, "21\nid ...\n"]


def test_types_of_a_page_are_found_again(tmp_path: Path) -> None:
    run(
        tmp_path,
        "'''python\nfrom __future__ import annotations\nimport typing\nclass A: ...\nclass B:\n    a: A\n"
        "print(typing.get_type_hints(B)['a'] is A)\n'''\n'''console\nTrue\n'''\n",
    )


def test_other_output_is_a_failure_that_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"(?s)page\.md:3: prints something else.*- 2.*\+ 3"):
        run(tmp_path, "words\n'''python\nprint(3)\n'''\n'''text\n2\n'''\n")


def test_an_exception_is_a_failure_with_the_pages_own_line(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r'(?s)page\.md", line 5, in <module>.*ZeroDivisionError'):
        run(tmp_path, "words\n\n'''python\nprint(3)\n1 / 0\n'''\n")


def test_a_page_runs_in_an_empty_directory(tmp_path: Path) -> None:
    run(tmp_path, "'''python\nimport os\nprint(os.listdir())\n'''\n'''text\n[]\n'''\n")


def test_commands_of_a_transcript_run_and_setup_is_left_out(tmp_path: Path) -> None:
    page = run(tmp_path, "'''console\n$ pip install nothing\n$ python -c 'print(1 + \\\n 1)'\n2\n'''\n")
    assert (len(page.steps), page.not_run, page.steps[0].line) == (1, 1, 3)


def test_a_failing_command_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="exit code 3"):
        run(tmp_path, "'''console\n$ python -c 'raise SystemExit(3)'\n'''\n")


def test_a_block_is_left_out_for_a_reason_with_its_output(tmp_path: Path) -> None:
    page = run(
        tmp_path,
        "'''python\nprint(1)\n'''\n<!-- not run: needs a server -->\n\n'''python\n1 / 0\n'''\n'''text\nnever\n'''\n",
    )
    assert (len(page.steps), page.not_run, page.steps[0].expected) == (1, 1, None)


def test_leaving_out_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="say why"):
        write(tmp_path, "<!-- not run: -->\n'''python\n1 / 0\n'''\n")


def test_a_block_without_end_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"page\.md:1: this block never ends"):
        write(tmp_path, "'''python\n1 / 0\n")
