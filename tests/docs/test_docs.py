"""The documentation's code runs and prints what the pages show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.run_docs import ROOT, PageError, find_pages, read_page, run_page

PAGES = find_pages()


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_page(path: Path) -> None:
    problem = None
    try:
        run_page(read_page(path), sys.executable)
    except PageError as error:
        problem = str(error)
    if problem is not None:
        pytest.fail(problem, pytrace=False)  # the page's own lines are what matters, not the runner's
